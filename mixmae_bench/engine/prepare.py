"""What `tools/train.py` and `tools/test.py` share: the command line and a config ready for the Runner."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mixmae_bench.datasets.checks import allow_skips
from mixmae_bench.engine.config import check_model, find_data, load_config
from mixmae_bench.engine.distributed import build_runner, join
from mixmae_bench.engine.options import Options
from mixmae_bench.engine.resume import found_by_first, latest_intact
from mixmae_bench.errors import ProcessDied, UserError


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that OpenMMLab's tools have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir", help="folder of logs and checkpoints (default: work_dirs/NAME of the config)"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Options,
        metavar="KEY=VALUE",
        help="change entries of the config: numbers, words, [lists], (tuples), {dicts}, 'text'",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def configure(args: argparse.Namespace) -> Config:
    """Read the config, apply the options, join the launcher's processes, find the data, name the folder.

    Raises:
        UserError: Where the config, an option, the data, the model or the launcher does not fit.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    join(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
    cfg = find_data(cfg)
    check_model(cfg)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    allow_skips(cfg)
    return cfg


def use_amp(cfg: Config) -> None:
    """Turn on automatic mixed precision.

    Raises:
        UserError: Without a GPU, which mmengine's AmpOptimWrapper needs, or with another optimiser wrapper.
    """
    if not torch.cuda.is_available():
        raise UserError("--amp needs a GPU; train without it")
    if cfg.optim_wrapper.get("type", "OptimWrapper") not in ("OptimWrapper", "AmpOptimWrapper"):
        raise UserError(
            f"--amp does not go with optim_wrapper.type={cfg.optim_wrapper.type}; remove one of them"
        )
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def resume_latest(cfg: Config) -> None:
    """Go on from the latest intact checkpoint of the config's folder, or begin where there is none."""
    if (cfg.get("default_hooks", {}).get("checkpoint") or {}).get("out_dir"):
        cfg.resume, cfg.load_from = True, None  # mmengine looks there
    elif last := found_by_first(lambda: latest_intact(Path(cfg.work_dir))):
        cfg.resume, cfg.load_from = True, str(last)
    else:
        cfg.resume = False


def build(cfg: Config, launcher: str, train: bool) -> Runner:
    """Build the Runner of a config and, to `train`, all of what mmengine builds only then.

    Raises:
        UserError: Where something that the config names does not exist or does not take what it is given.
    """
    try:
        runner = build_runner(cfg, launcher)
        if train and isinstance(runner, Runner):  # a FlexibleRunner has nothing before its strategy
            # In the order of Runner.train; the first and the last are properties that build.
            runner.train_dataloader  # noqa: B018
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            if runner.param_schedulers is not None:
                runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
            runner.val_loop  # noqa: B018
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, ImportError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())[:300]
        raise UserError(f"config {cfg.filename} cannot be built: {type(error).__name__}: {reason}") from error
    return runner


@contextmanager
def names_dead_loaders(cfg: Config) -> Iterator[None]:
    """Say in one line that a worker of a DataLoader died.

    Raises:
        ProcessDied: Then, with the cause as torch tells it, a remedy, and the log.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        files = [getattr(h, "baseFilename", None) for h in MMLogger.get_current_instance().handlers]
        reason = " ".join(str(error).split()).rstrip(".")
        raise ProcessDied(
            f"{reason}; if memory was short, lower num_workers of the dataloaders; "
            f"log: {next(filter(None, files), cfg.work_dir)}"
        ) from error


def existing(checkpoint: str) -> str:
    """Return the path of a checkpoint that is there.

    Raises:
        UserError: Where it is not.
    """
    if not Path(checkpoint).is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist; check the path")
    return checkpoint
