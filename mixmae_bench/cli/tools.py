"""Arguments that `tools/train.py` and `tools/test.py` share with OpenMMLab's tools."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config

from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.distributed import init_process_group
from mixmae_bench.engine.options import Options
from mixmae_bench.errors import UserError


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the common options of OpenMMLab's tools."""
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


def read_config(args: argparse.Namespace) -> tuple[Config, Path]:
    """Read the config, apply the options and initialize the process group; return config and work folder.

    Raises:
        UserError: If the config, an option or the launcher does not fit.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    init_process_group(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
    return cfg, Path(args.work_dir or cfg.get("work_dir") or Path("work_dirs") / Path(args.config).stem)


def use_amp(cfg: Config) -> None:
    """Turn on automatic mixed precision.

    Raises:
        UserError: If there is no GPU, as mmengine's AmpOptimWrapper needs one, or if the config has another
            optimiser wrapper.
    """
    if not torch.cuda.is_available():
        raise UserError("--amp needs a GPU; remove it to train on the CPU")
    if cfg.optim_wrapper.get("type", "OptimWrapper") not in ("OptimWrapper", "AmpOptimWrapper"):
        raise UserError(
            f"--amp cannot be used with optim_wrapper.type={cfg.optim_wrapper.type}; remove one of them"
        )
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def existing(checkpoint: str) -> str:
    """Return the path of a checkpoint if it exists.

    Raises:
        UserError: If it does not exist.
    """
    if not Path(checkpoint).is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist; check the path")
    return checkpoint
