"""Train and evaluate one run of a suite with mmengine's Runner, in one process or several, and record it."""

import gc
import os
import time
import traceback
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop, Runner

from mixmae_bench.compat.checkpoints import damage
from mixmae_bench.convert.encoders import for_transfer
from mixmae_bench.cost.flops import Cost, count
from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.cost.models import config_call
from mixmae_bench.datasets.identity import file_hash
from mixmae_bench.engine.config import backbone_name
from mixmae_bench.engine.curves import CurvesHook, catalogued, epoch_means
from mixmae_bench.engine.distributed import init_process_group, on_rank_0, unwrapped
from mixmae_bench.engine.online_knn import KNNLoop
from mixmae_bench.engine.outcomes import OutcomesHook, stderr
from mixmae_bench.engine.precision import computed_in
from mixmae_bench.engine.prepare import prepare, train
from mixmae_bench.engine.resume import PROCESS_COUNTS, find_on_rank_0
from mixmae_bench.errors import UserError
from mixmae_bench.results.bootstrap import RESAMPLES
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outcomes import FOLDER, Outcomes, check_values, write_outcomes
from mixmae_bench.results.record import SCHEMA, Record, append_record, read_records
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.hooks import ProgressHook
from mixmae_bench.suite.job import Job, final_checkpoint, reason
from mixmae_bench.suite.progress import failure, note_failure, try_lock
from mixmae_bench.suite.stale import is_stale, set_aside, write_note
from mixmae_bench.system.environment import code_version, hardware, packages
from mixmae_bench.system.hub import local_file, origin
from mixmae_bench.system.redirect import printing_into


def run_job(job: Job) -> Record | None:
    """Train and evaluate a run, write its output to `folder/log.txt`, and append its record.

    A run that was killed resumes from its last checkpoint. If the folder contains a run of another identity,
    it is renamed first (see `suite.stale`).

    If torchrun's variables are set (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), call it in every
    process: the processes train together. Rank 0 locks the run and writes the record; the others wait for it.
    If one process raises, the launcher must end the others.

    Returns:
        The record, also if another process made it, or None if another process works on this run.

    Raises:
        UserError: If the config, its data, the checkpoint or the number of processes does not fit.
    """
    init_process_group(_launcher())
    with try_lock(job.folder) if is_main_process() else nullcontext() as free:
        record, todo = on_rank_0(lambda: _begin(job, free))
        if not todo:
            return record
        with printing_into(job.folder / "log.txt"):
            try:
                return _run(job)
            except Exception as error:
                traceback.print_exc()  # for the log; the exception goes to the suite's process
                if failure(job.folder) is None:  # else another process failed first, and caused this failure
                    note_failure(job.folder, reason(error))
                raise
            finally:
                gc.collect()  # a Runner has reference cycles; the next run needs the memory


def _launcher() -> str:
    return "pytorch" if "RANK" in os.environ else "none"


def _begin(job: Job, free: bool) -> tuple[Record | None, bool]:
    """Return the record of the run if it is finished, and whether to run it; prepare its folder if so."""
    record = finished(job) if free else None
    todo = free and record is None
    if todo:
        _prepare(job)
    return record, todo


def finished(job: Job) -> Record | None:
    """Return the record of the run, or None if the record or the final checkpoint is missing.

    A record of an older version of the suite does not count: its result no longer holds (`suite.versions`).
    """
    same = [
        record
        for record in read_records(job.records)[0]
        if record.key == job.plan.key
        and (record.suite != job.suite or record.suite_version >= job.suite_version)
    ]
    return same[-1] if same and final_checkpoint(job.folder) else None


def _prepare(job: Job) -> None:
    if is_stale(job.folder, job.plan):
        set_aside(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    write_note(job.folder, job.plan)
    note_failure(job.folder, None)


def _run(job: Job) -> Record:
    started, clock = datetime.now(UTC), time.monotonic()
    reset_peak_memory()
    torch.set_num_threads(job.threads)

    cfg = config_of(job.plan.run)
    cost, shape = _cost(cfg)
    checkpoint = find_on_rank_0(lambda: _initial_checkpoint(job, cfg))
    if job.parent and checkpoint is None:
        raise UserError(f"{job.parent} has no intact checkpoint; repeat the command to train it again")
    cfg = prepare(
        cfg,
        job.folder,
        get_world_size(),
        rescale=job.rescale,
        resume=True,
        seed=job.plan.run.seed,
        checkpoint=checkpoint,
        hooks=[
            dict(type="mixmae_bench.ProgressHook", file=str(job.folder / "progress.json")),
            dict(type="mixmae_bench.OutcomesHook"),
        ],
        trackers=job.trackers,
        name=(job.suite, job.plan.run.name),
    )
    cfg.experiment_name = f"{job.suite}_{job.plan.run.name.replace('/', '_')}_{job.plan.key}"
    runner = train(cfg, _launcher())

    metrics = _metrics(runner, _hook(runner, ProgressHook))
    images = len((runner.val_loop or runner.train_loop).dataloader.dataset)
    peak = torch.tensor(peak_memory())
    all_reduce(peak, "max")

    if not is_main_process():
        return on_rank_0(lambda: None)  # returns rank 0's record; the function is called on rank 0 only
    outcomes = _outcomes(_hook(runner, OutcomesHook), runner, metrics) if runner.val_loop else None
    record = Record(
        schema=SCHEMA,
        **_of_plan(job),
        **_of_training(runner),
        backbone=backbone_name(cfg),
        metrics=metrics,
        stderr=stderr(metrics, images, outcomes),
        resamples=RESAMPLES if any(METRICS[name].stderr == "bootstrap" for name in metrics) else 0,
        num_samples=images,
        params=cost.params,
        flops=cost.flops,
        image_shape=list(shape),
        checkpoint=file_hash(checkpoint) if checkpoint else None,
        checkpoint_filled=unwrapped(runner.model).backbone.audit["filled"] if checkpoint else None,
        lr=float(cfg.optim_wrapper.optimizer.lr),
        seconds=round(time.monotonic() - clock, 1),
        peak_memory_mb=round(int(peak) / 2**20, 1),
        started=started.isoformat(timespec="seconds"),
        code=code_version(),
        packages=packages(),
        hardware=hardware(),
        absent_classes=outcomes.absent_classes() if outcomes else [],
        **_written(job, outcomes),
    )
    append_record(job.records, record)
    return on_rank_0(lambda: record)


def _of_plan(job: Job) -> dict:
    """Return the fields of the record that say what was asked for, and the last checkpoint."""
    plan, run = job.plan, job.plan.run
    last = final_checkpoint(job.folder)
    return dict(
        suite=job.suite,
        suite_version=job.suite_version,
        method=run.method.name,
        task=run.task,
        dataset=job.dataset,
        seed=run.seed,
        key=plan.key,
        initialisation=plan.initialisation,
        parent=plan.parent,
        config=_relative(run.config, job),
        config_hash=plan.config_hash,
        data_hash=plan.data_hash,
        code_hash=plan.code_hash,
        checkpoint_source=_source(job),
        pretrained_by=_relative(run.method.pretrained_by, job) if run.method.pretrained_by else None,
        final_checkpoint=file_hash(last) if last else None,
        protocol=run.protocol,
        settings=dict(run.settings),
        tuning_share=run.split.share if run.split else None,
        threads=job.threads,
    )


def _of_training(runner: Runner) -> dict:
    """Return the fields of the record that the training decided."""
    progress = _hook(runner, ProgressHook)
    batch = runner.train_dataloader.batch_size * get_world_size()
    accumulation = runner.optim_wrapper._accumulative_counts
    model = unwrapped(runner.model)
    return dict(
        losses=epoch_means(runner, "train/loss", runner.iter),
        grad_norms=epoch_means(runner, "train/grad_norm", runner.iter),
        curves=_hook(runner, CurvesHook).before_last(runner),
        epoch_iterations=len(runner.train_dataloader),
        epochs=runner.max_epochs if isinstance(runner.train_loop, EpochBasedTrainLoop) else None,
        iterations=runner.max_iters,
        backbone_params=sum(p.numel() for p in model.backbone.parameters()),
        precision=computed_in(runner.optim_wrapper, model),
        processes=get_world_size(),
        process_counts=list(runner.message_hub.runtime_info.get(PROCESS_COUNTS, [get_world_size()])),
        accumulation=accumulation,
        effective_batch=batch * accumulation,
        images_per_s=round(progress.iters * batch / progress.seconds, 2) if progress.iters else None,
    )


def _source(job: Job) -> str | None:
    source = job.plan.run.method.source
    return source and (origin(source) or source)


def _relative(config: Path, job: Job) -> str:
    return Path(os.path.relpath(config, job.suite_file.parent)).as_posix()


def _outcomes(hook: OutcomesHook, runner: Runner, metrics: dict[str, float]) -> Outcomes | None:
    """Return the per-image outcomes, or None, with a warning, if the metrics do not follow from them.

    An evaluator may have options that the outcomes do not model. Its run is recorded all the same: the
    training is finished.
    """
    try:
        outcomes = hook.outcomes(runner, metrics)
        if outcomes:
            check_values(outcomes, metrics)
    except Exception as error:
        traceback.print_exc()
        MMLogger.get_current_instance().warning(f"The record has no per-image outcomes: {reason(error)}")
        return None
    return outcomes


def _written(job: Job, outcomes: Outcomes | None) -> dict[str, str]:
    """Write the per-image outcomes, and return the record's fields."""
    if outcomes is None:
        return {}
    name = f"{FOLDER}/{job.plan.key}.npz"
    return {"outcomes": name, "outcomes_hash": write_outcomes(job.records.parent / name, outcomes)}


def _initial_checkpoint(job: Job, cfg: Config) -> Path | None:
    """Return the checkpoint that the backbone starts from, or None for random weights or a damaged file.

    A backbone of another package reads the checkpoints of that package itself.
    """
    if job.parent:
        last = final_checkpoint(job.parent)
        own = cfg.model.backbone.type.startswith("mixmae_bench.")
        return for_transfer(last) if last and own else last
    checkpoint = job.plan.run.method.checkpoint
    given = local_file(checkpoint) if checkpoint else None
    if given and given.is_file():
        damage(given)  # check it once for all processes; loading it raises the error
    return given


def _metrics(runner: Runner, progress: ProgressHook) -> dict[str, float]:
    """Return the metrics of the last validation, and for pretraining the mean loss of the last epoch."""
    loss = {}
    if runner.val_loop is None or isinstance(runner.val_loop, KNNLoop):
        loss = {"loss": epoch_means(runner, "train/loss", runner.iter)[-1]}
    if runner.val_loop is None:
        return loss
    # A run that was killed between its last checkpoint and its record has nothing left to train.
    metrics = progress.metrics or runner.val()
    found = catalogued(runner, metrics)
    if not found:
        raise UserError(
            f"config {runner.cfg.filename}: none of the evaluator's metrics is in the catalog "
            f"({', '.join(metrics) or 'it returned none'}); add one (docs/add-a-metric.md), or use another "
            "val_evaluator"
        )
    return {**loss, **found}


def _cost(cfg: Config) -> tuple[Cost, tuple[int, int]]:
    """Return parameters and FLOPs of a config's model, and the image's height and width."""
    call = config_call(cfg, None, "meta")
    cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    return cost, call.inputs[0].shape[-2:]


def _hook(runner: Runner, kind: type) -> Hook:
    return next(hook for hook in runner.hooks if isinstance(hook, kind))
