"""The command `mixmae-bench finetune`: recognise data and checkpoint, write a config, and train it."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from mmengine.config import Config
from rich.console import Console

from mixmae_bench.convert.run import write_own
from mixmae_bench.engine.channels import fill_channels
from mixmae_bench.engine.prepare import prepare
from mixmae_bench.errors import UserError
from mixmae_bench.finetune.class_folders import find_classification
from mixmae_bench.finetune.coco_files import find_detection
from mixmae_bench.finetune.found import Found
from mixmae_bench.finetune.label_maps import find_segmentation
from mixmae_bench.finetune.recipes import Options, make_config
from mixmae_bench.finetune.start import Start, start_of
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import final_checkpoint
from mixmae_bench.suite.run import run_suite
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.suite.workers import Workers
from mixmae_bench.system.files import check_writable, write_atomically
from mixmae_bench.system.hub import is_local
from mixmae_bench.transfer.audit import try_checkpoint

FINDERS: dict[str, Callable[[Path], Found]] = {
    "classification": find_classification,
    "detection": find_detection,
    "segmentation": find_segmentation,
}
"""Function that finds the data of every task."""


@dataclass(frozen=True)
class Finetuning:
    """A fine-tuning that is ready to be written.

    Attributes:
        task: 'classification', 'detection' or 'segmentation'.
        data: Folder of the data.
        start: Backbone and checkpoint.
        cfg: The config, with open channels.
        facts: Lines that describe what was found and assumed.
    """

    task: str
    data: Path
    start: Start
    cfg: Config
    facts: tuple[str, ...]


def assume(
    task: str, data: Path, checkpoint: str, backbone: str | None, file: Path, options: Options
) -> Finetuning:
    """Recognise data and checkpoint, and check the config that follows from them; write nothing.

    Args:
        task: The task.
        data: Folder of the data.
        checkpoint: See `start_of`.
        backbone: See `start_of`.
        file: File that the config will be written to. A converted checkpoint is written beside it.
        options: Choices of the user.

    Raises:
        UserError: If data or checkpoint are missing or do not fit.
    """
    if not data.is_dir():
        raise UserError(f"data: folder {data} does not exist; check the path")
    root = data.resolve()
    start = start_of(checkpoint, backbone, task != "classification")
    if start.converted:
        # Another name than that of the given file, which may be in the same folder.
        path = file.resolve().with_name(f"{start.name}-converted.safetensors")
        start = replace(start, checkpoint=str(path))
    found = FINDERS[task](root)
    cfg, recipe = make_config(task, found, start, options, str(file))
    filled = fill_channels(copy.deepcopy(cfg))
    prepare(filled, file.parent, options.processes)
    if not start.converted and is_local(start.checkpoint):
        try_checkpoint(filled, start.checkpoint)
    return Finetuning(task, root, start, cfg, (*found.facts, *start.facts, *recipe))


def write(finetuning: Finetuning, file: Path) -> Path:
    """Write the config, a converted checkpoint and a suite of this one run; return the suite's file.

    Raises:
        UserError: If another config is there, or the files cannot be written.
    """
    text = config_text(finetuning)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{file} exists and differs; train it with `mixmae-bench run {file.with_suffix('.yaml')}`, "
            "or give another --work-dir"
        )
    check_writable(file.parent)
    start = finetuning.start
    if start.converted:
        write_own(start.converted, Path(start.checkpoint))
    write_atomically(file, text)
    name = re.sub(r"[^\w.+-]+", "-", finetuning.data.name).lstrip(".+-") or "data"
    suite = dict(
        name=f"finetune-{name}",
        version=1,
        dataset=name,
        seeds=[0],
        methods={start.name: dict(checkpoint=start.checkpoint, tasks={finetuning.task: file.name})},
    )
    path = file.with_suffix(".yaml")
    write_atomically(path, yaml.safe_dump(suite, allow_unicode=True, sort_keys=False))
    return path


def config_text(finetuning: Finetuning) -> str:
    """Return the text of the config: the facts as comments, then all settings."""
    facts = "".join(f"# {' '.join(fact.split())}\n" for fact in finetuning.facts)
    settings = {key: value for key, value in finetuning.cfg.to_dict().items() if not key.startswith("test_")}
    tests = "test_dataloader = val_dataloader\ntest_evaluator = val_evaluator\ntest_cfg = dict()\n"
    head = f"# {finetuning.task} of {finetuning.data.name}, written by mixmae-bench finetune.\n#\n"
    last = "#\n# Channels (in_channels=None) follow from the backbone.\n\n"
    return f"{head}{facts}{last}{Config(settings).pretty_text.rstrip()}\n{tests}"


def train(suite_file: Path, processes: int, console: Console) -> tuple[Record | None, dict[str, str]]:
    """Train and evaluate the run of a written suite; return its record, and the reason of a failure.

    Raises:
        UserError: See `run_suite`.
    """
    suite = read_suite(suite_file)
    folder = suite_file.parent
    records, failed = run_suite(suite, folder, 1, False, (), console, Workers(processes))
    return (records[-1] if records else None), failed


def result_lines(record: Record, folder: Path) -> list[str]:
    """Return the lines with the metrics of a record, their standard errors and the checkpoint."""
    lines = []
    for name, value in record.metrics.items():
        error = f" ± {record.stderr[name]:.2f} (standard error over images)" if name in record.stderr else ""
        lines.append(f"{METRICS[name].title if name in METRICS else name}: {value:.2f}{error}")
    run = folder / record.method / f"seed{record.seed}" / record.task
    return [*lines, f"result: {final_checkpoint(run) or run}; record: {folder / 'records.jsonl'}"]
