"""The effective batch and the learning rate that was written for it.

A recipe's learning rate belongs to a batch, which its config names with OpenMMLab's key,
`auto_scale_lr = dict(base_batch_size=2048)`. mmengine's own scaling ignores accumulation; this does not.
"""

import os

from mmengine.config import Config

from mixmae_bench.errors import UserError

PROCESSES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}
"""Where each launcher says how many processes train together."""


SCALE = "--auto-scale-lr"
"""The option of commands that scales."""


def processes(launcher: str) -> int:
    """Return how many processes a launcher (mmengine's names) started; 1 with 'none'.

    Raises:
        UserError: If it started none.
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
    """Return the images per optimiser step: batch x processes x accumulation."""
    return cfg.train_dataloader.batch_size * processes * cfg.optim_wrapper.get("accumulative_counts", 1)


def fit_lr(cfg: Config, processes: int, rescale: bool) -> None:
    """Check that a config's learning rate was written for its effective batch, or scale it linearly.

    A config that names no batch is left alone.

    Args:
        cfg: The config; changed in place.
        processes: Processes that train together.
        rescale: Whether to scale.

    Raises:
        UserError: If the batch is another and the rate is not to be scaled.
    """
    rule = cfg.get("auto_scale_lr") or {}
    base, batch = rule.get("base_batch_size"), effective_batch(cfg, processes)
    if base is None:
        return
    rescale = rescale or rule.get("enable", False)
    rule.enable = False  # else mmengine scales once more, and without accumulation
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
        f"config {cfg.filename}: the learning rate {own.lr:.3g} is for a batch of {base}, and the effective "
        f"batch is {batch} ({cfg.train_dataloader.batch_size} images x {processes} processes x "
        f"{batch // per_step} accumulated); {remedy}"
    )
