"""Effective batch size and learning rate scaling.

A config states the batch size of its learning rate with OpenMMLab's key,
`auto_scale_lr = dict(base_batch_size=2048)`. mmengine's own scaling ignores gradient accumulation; this
module takes it into account.
"""

import os

from mmengine.config import Config

from mixmae_bench.errors import UserError

PROCESSES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}
"""Environment variable with the number of processes, by launcher."""


SCALE = "--auto-scale-lr"
"""Command-line option that enables scaling."""


def processes(launcher: str) -> int:
    """Return the number of processes started by a launcher (mmengine's names); 1 for 'none'.

    Raises:
        UserError: If the launcher's environment variable is not set.
    """
    if launcher == "none":
        return 1
    name = PROCESSES[launcher]
    if name not in os.environ:
        raise UserError(
            f"--launcher {launcher}: {name} is not set; start with torchrun (pytorch), srun (slurm) or mpirun"
        )
    return int(os.environ[name])


def effective_batch(cfg: Config, processes: int) -> int:
    """Return the number of images per optimiser step: batch size x processes x accumulation steps."""
    return cfg.train_dataloader.batch_size * processes * cfg.optim_wrapper.get("accumulative_counts", 1)


def fit_lr(cfg: Config, processes: int, rescale: bool) -> None:
    """Check that a config's learning rate matches its effective batch size, or scale it linearly.

    A config without `base_batch_size` is not changed.

    Args:
        cfg: The config; changed in place.
        processes: Number of processes that train it.
        rescale: Whether to scale the learning rate.

    Raises:
        UserError: If the batch sizes differ and `rescale` is False.
    """
    rule = cfg.get("auto_scale_lr") or {}
    base, batch = rule.get("base_batch_size"), effective_batch(cfg, processes)
    if base is None:
        return
    rescale = rescale or rule.get("enable", False)
    rule.enable = False  # else mmengine would scale it again, ignoring accumulation
    if batch == base:
        return
    own = cfg.optim_wrapper.optimizer
    if rescale:
        own.lr = own.lr * batch / base
        return
    per_step = cfg.train_dataloader.batch_size * processes
    remedy = f"{SCALE} scales it to {own.lr * batch / base:.3g}"
    if base % per_step == 0:
        remedy += f"; optim_wrapper.accumulative_counts={base // per_step} gives that batch"
    raise UserError(
        f"config {cfg.filename}: the learning rate {own.lr:.3g} is for a batch of {base}, but the effective "
        f"batch is {batch} ({cfg.train_dataloader.batch_size} images x {processes} processes x "
        f"{batch // per_step} accumulated); {remedy}"
    )
