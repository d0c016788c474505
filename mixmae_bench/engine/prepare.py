"""Prepare and train a config; shared by `tools/train.py`, suites and `validate`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.datasets.checks import allow_skips
from mixmae_bench.engine.batch import fit_lr
from mixmae_bench.engine.blocks import compile_blocks
from mixmae_bench.engine.boxes import keep_boxes_float32
from mixmae_bench.engine.config import check_model, check_training, find_data
from mixmae_bench.engine.distributed import build_runner, unwrapped
from mixmae_bench.engine.graph import graph_loss
from mixmae_bench.engine.resume import add_checkpoint_hooks, find_on_rank_0, latest_intact
from mixmae_bench.engine.trackers import track
from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.system.collection import without_collection


@without_collection()
def prepare(
    cfg: Config,
    work_dir: Path,
    processes: int,
    *,
    rescale: bool = False,
    resume: bool = False,
    seed: int | None = None,
    checkpoint: Path | None = None,
    hooks: Sequence[dict] = (),
    trackers: Sequence[str] = (),
    name: tuple[str, str] = ("", ""),
    by_option: bool = False,
) -> Config:
    """Check a config and return it ready for `train`. Every process that trains must call it.

    Args:
        cfg: The config.
        work_dir: Folder of logs and checkpoints.
        processes: Number of processes that train together.
        rescale: Whether to scale the learning rate to the effective batch size (see `batch.fit_lr`).
        resume: Whether to resume from the latest intact checkpoint of the folder, if there is one.
        seed: Random seed, or None for the config's.
        checkpoint: Checkpoint that the backbone starts from, or None for the config's.
        hooks: Entries of `custom_hooks` to add.
        trackers: Names of experiment trackers to log to (see `trackers.track`).
        name: Group of runs and name of this run, for trackers and curves.
        by_option: Whether the calling command has --cfg-options, for error messages.

    Raises:
        UserError: If the config, its data, its model or the batch does not fit.
    """
    cfg = find_data(cfg, by_option)
    check_model(cfg)
    check_training(cfg)
    cfg.work_dir = str(work_dir)
    allow_skips(cfg)
    fit_lr(cfg, processes, rescale)
    if seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed}
    if checkpoint:
        cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint))
    if resume:
        resume_latest(cfg)
    curves = dict(type="mixmae_bench.CurvesHook", name=name[1])
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), curves, *hooks]
    add_checkpoint_hooks(cfg)
    track(cfg, trackers, *name)
    return cfg


def resume_latest(cfg: Config) -> None:
    """Resume from the latest intact checkpoint of the config's folder, or start anew if there is none."""
    if (cfg.get("default_hooks", {}).get("checkpoint") or {}).get("out_dir"):
        cfg.resume, cfg.load_from = True, None  # mmengine searches out_dir
    elif last := find_on_rank_0(lambda: latest_intact(Path(cfg.work_dir))):
        cfg.resume, cfg.load_from = True, str(last)
    else:
        cfg.resume = False


def train(cfg: Config, launcher: str = "none") -> Runner:
    """Build the Runner of a prepared config, and train.

    Args:
        cfg: Result of `prepare`.
        launcher: Launcher of the processes, by mmengine's name.

    Returns:
        The Runner after training.

    Raises:
        UserError: If a class in the config does not exist or does not accept its arguments, a checkpoint does
            not fit, or a loss is NaN or infinite.
        ProcessDied: If a DataLoader worker died.
    """
    with safe_loaders(), dead_loaders_named(cfg):
        runner = build(cfg, launcher, train=True)
        runner.train()
    return runner


@without_collection()
def build(cfg: Config, launcher: str, train: bool) -> Runner:
    """Build the Runner of a config and, for `train`, the parts that mmengine builds only when training
    starts.

    Raises:
        UserError: If a class in the config does not exist or does not accept its arguments, or compiled
            blocks or CUDA graphs are asked for where they do not work.
    """
    _check_speed_options(cfg)
    try:
        runner = build_runner(cfg, launcher)
        if train and isinstance(runner, Runner):  # a FlexibleRunner builds them in its strategy
            keep_boxes_float32(runner.model)
            if cfg.get("compile_blocks"):
                compile_blocks(runner.model)
            if cfg.get("cuda_graph"):
                graph_loss(unwrapped(runner.model))
            # In the order of Runner.train; the first and the last are properties that build on access.
            runner.train_dataloader  # noqa: B018
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            if runner.param_schedulers is not None:
                runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
            runner.val_loop  # noqa: B018
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, ImportError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())[:300]
        raise UserError(f"config {cfg.filename} cannot be built: {type(error).__name__}: {reason}") from error
    return runner


def _check_speed_options(cfg: Config) -> None:
    """Check that compiled blocks and CUDA graphs are not combined with what they do not work with."""
    runner = cfg.get("runner_type", "Runner")
    batches = cfg.get("optim_wrapper", {}).get("accumulative_counts", 1)
    for key in ("compile_blocks", "cuda_graph"):
        other = None
        if runner != "Runner":
            other = f"runner_type={runner}"
        elif key == "cuda_graph" and batches > 1:  # a graph writes the gradients of all batches in one place
            other = f"accumulative_counts={batches}"
        if cfg.get(key) and other:
            raise UserError(f"config {cfg.filename}: {key} does not work with {other}; remove one of them")


@contextmanager
def dead_loaders_named(cfg: Config) -> Iterator[None]:
    """Report the death of a DataLoader worker in one line.

    Raises:
        ProcessDied: If a worker died, with torch's reason, a remedy, and the log file.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        files = [getattr(h, "baseFilename", None) for h in MMLogger.get_current_instance().handlers]
        reason = " ".join(str(error).split()).rstrip(".")
        raise ProcessDied(
            f"{reason}; if memory ran out, lower num_workers of the dataloaders; "
            f"log: {next(filter(None, files), cfg.work_dir)}"
        ) from error
