"""Running one cell of a suite by mmengine's Runner, in this process, and recording it."""

import gc
import hashlib
import os
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.config import content_hash, find_data, load_config
from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.environment import code_version, hardware, packages
from mixmae_bench.record import SCHEMA, Record, append_record
from mixmae_bench.suite.hooks import ProgressHook
from mixmae_bench.suite.spec import Cell

METRIC_NAMES = {
    "accuracy/top1": ("top1", 1),
    "coco/bbox_mAP": ("box_ap", 100),
    "coco/segm_mAP": ("mask_ap", 100),
    "mIoU": ("miou", 1),
}
"""The frameworks' names of the metrics that a record keeps, and the factor that makes them percentages."""


@dataclass(frozen=True)
class Job:
    """A cell with all that is needed to run it anywhere.

    Attributes:
        cell: What to run.
        suite: Name of the suite.
        suite_file: Its file.
        suite_version: Version of the suite.
        dataset: Name of the data.
        key: Content hash (see `Record.key`).
        folder: Where the run writes.
        records: File that the record is appended to.
        parent: Folder of the pretraining run to start from, or None.
        threads: CPU threads for torch.
    """

    cell: Cell
    suite: str
    suite_file: Path
    suite_version: int
    dataset: str
    key: str
    folder: Path
    records: Path
    parent: Path | None
    threads: int


def run_job(job: Job) -> Record:
    """Train and evaluate a cell, with all it prints in `folder/log.txt`, and append its record.

    A run that was killed goes on from its last checkpoint.

    Raises:
        UserError: Where the config, its data or the checkpoint does not fit.
    """
    _print_into(job.folder / "log.txt")
    try:
        return _run(job)
    except Exception:
        traceback.print_exc()  # for the log; what is raised goes to the suite's process
        raise
    finally:
        gc.collect()  # a Runner is full of cycles; the next cell needs its memory


def _run(job: Job) -> Record:
    started, clock = datetime.now(UTC), time.monotonic()
    reset_peak_memory()
    torch.set_num_threads(job.threads)

    raw = load_config(job.cell.config)
    checkpoint = final_checkpoint(job.parent) if job.parent else job.cell.method.checkpoint
    runner = Runner.from_cfg(_configure(find_data(raw, by_option=False), job, checkpoint))
    runner.train()

    progress = next(hook for hook in runner.hooks if isinstance(hook, ProgressHook))
    backbone = runner.model.backbone
    batch = runner.train_dataloader.batch_size
    record = Record(
        schema=SCHEMA,
        suite=job.suite,
        suite_version=job.suite_version,
        method=job.cell.method.name,
        backbone=_backbone_name(raw),
        task=job.cell.task,
        dataset=job.dataset,
        seed=job.cell.seed,
        key=job.key,
        metrics=_metrics(runner, progress),
        num_samples=len((runner.val_loop or runner.train_loop).dataloader.dataset),
        params=_count(runner.model),
        backbone_params=_count(backbone),
        config=Path(os.path.relpath(job.cell.config, job.suite_file.parent)).as_posix(),
        config_hash=content_hash(raw),
        checkpoint=file_hash(checkpoint) if checkpoint else None,
        checkpoint_filled=backbone.audit["filled"] if checkpoint else None,
        epochs=runner.max_epochs,
        effective_batch=batch,
        images_per_s=round(progress.iters * batch / progress.seconds, 2) if progress.iters else None,
        seconds=round(time.monotonic() - clock, 1),
        peak_memory_mb=round(peak_memory() / 2**20, 1),
        threads=job.threads,
        started=started.isoformat(timespec="seconds"),
        code=code_version(),
        packages=packages(),
        hardware=hardware(),
    )
    append_record(job.records, record)
    return record


def final_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint of the run in `folder`, or None."""
    last = folder / "last_checkpoint"
    if not last.is_file():
        return None
    # The note holds an absolute path; the folder may have been moved since.
    path = folder / Path(last.read_text(encoding="utf-8").strip()).name
    return path if path.is_file() else None


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _configure(cfg: Config, job: Job, checkpoint: Path | None) -> Config:
    """Add to a config what the suite decides: folder, seed, initial checkpoint, progress."""
    cfg.work_dir = str(job.folder)
    cfg.experiment_name = f"{job.suite}_{job.cell.name.replace('/', '_')}_{job.key}"
    # By name: the note that mmengine leaves holds the path of where the folder was then.
    last = final_checkpoint(job.folder)
    cfg.resume, cfg.load_from = last is not None, str(last) if last else None
    cfg.randomness = dict(seed=job.cell.seed)
    if checkpoint:
        cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint))
    cfg.custom_hooks = [
        *cfg.get("custom_hooks", []),
        dict(type="mixmae_bench.ProgressHook", file=str(job.folder / "progress.json")),
    ]
    return cfg


def _metrics(runner: Runner, progress: ProgressHook) -> dict[str, float]:
    """Return the metrics of the last validation, or of pretraining the mean loss of its last epoch."""
    if runner.val_loop is None:
        window = len(runner.train_dataloader)
        return {"loss": round(float(runner.message_hub.get_scalar("train/loss").mean(window)), 5)}
    # A run that was killed between its last checkpoint and its record has nothing left to train.
    metrics = progress.metrics or runner.val()
    return {
        name: round(float(metrics[theirs]) * factor, 4)
        for theirs, (name, factor) in METRIC_NAMES.items()
        if theirs in metrics
    }


def _backbone_name(cfg: Config) -> str:
    backbone = cfg.model.backbone
    arch = backbone.get("arch", "")
    return f"{backbone.type.rpartition('.')[2]}-{arch}" if isinstance(arch, str) and arch else backbone.type


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _print_into(file: Path) -> None:
    """Send everything that this process prints, C code included, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(file, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
