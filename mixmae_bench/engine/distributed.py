"""Distributed training with mmengine's launchers: NCCL on GPUs, gloo on CPUs."""

import itertools
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_reduce_dict, get_world_size, init_dist, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from mixmae_bench.compat.sync_bn import SyncBatchNorm
from mixmae_bench.engine import cpu, gpu
from mixmae_bench.engine.batch import PROCESSES
from mixmae_bench.errors import UserError, portable
from mixmae_bench.registry import HOOKS, MODEL_WRAPPERS

T = TypeVar("T")

NO_TIMEOUT = timedelta(days=20)
"""Near the longest time in milliseconds that a C int can hold."""

STARTED_BY = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}
"""Command that starts the processes, by launcher (mmengine's names)."""


def init_process_group(launcher: str, settings: dict | None = None) -> None:
    """Initialize the process group of a launcher, unless the launcher is 'none' or it is already initialized.

    Call it before building the Runner, which would require a GPU.

    Args:
        launcher: Launcher by mmengine's name.
        settings: `env_cfg.dist_cfg` of a config, used with GPUs.

    Raises:
        UserError: If the launcher did not start this process, or there are more processes than GPUs.
    """
    if launcher == "none" or is_distributed():
        return
    if PROCESSES[launcher] not in os.environ:
        raise UserError(
            f"--launcher {launcher}, but {PROCESSES[launcher]} is not set: start with "
            f"{STARTED_BY[launcher]}, or omit the option for a single process"
        )
    if not torch.cuda.is_available():
        if launcher != "pytorch":
            raise UserError(f"--launcher {launcher} needs GPUs; without them: torchrun, --launcher pytorch")
        torch.distributed.init_process_group("gloo")
        return
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if launcher == "pytorch" and local >= gpus:
        raise UserError(f"more processes than the {gpus} GPUs of this machine; start at most one per GPU")
    init_dist(launcher, **(settings or {}))


def destroy_process_group() -> None:
    """Destroy the process group after a successful run, if there is one."""
    if is_distributed():
        torch.distributed.destroy_process_group()


def on_rank_0(make: Callable[[], T]) -> T:
    """Call a function on rank 0 and return its result in all processes. All processes must call it.

    The other processes wait on the process group's store, as a collective would time out if rank 0 takes
    long.

    Raises:
        Exception: The exception of the function, in all processes.
    """
    if get_world_size() == 1:
        return make()
    store = torch.distributed.distributed_c10d._get_default_store()
    key = f"mixmae_bench/on_rank_0/{next(_calls)}"
    if not is_main_process():
        store.wait([key], NO_TIMEOUT)
        value, error = pickle.loads(store.get(key))
        if error is not None:
            raise error
        return value
    try:
        value = make()
    except Exception as error:
        store.set(key, pickle.dumps((None, portable(error))))
        raise
    store.set(key, pickle.dumps((value, None)))
    return value


_calls = itertools.count()
"""Counter of the calls of `on_rank_0`: equal in all processes, as all of them call it."""


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Build the Runner of a config, or the class of its `runner_type`, for the current process group.

    With several processes, each one has its own seed for masks and augmentations, unless the config sets
    `randomness.diff_rank_seed`; otherwise all processes would draw the same masks. Logged values are means
    over the processes, and batch norm's running averages are averaged before they are used or saved.
    """
    cfg.launcher = launcher
    if get_world_size() > 1:
        cfg.randomness = {"diff_rank_seed": True, **cfg.get("randomness", {})}
        own = [dict(type="mixmae_bench.MeanOutputsHook"), dict(type="SyncBuffersHook")]
        cfg.custom_hooks = [*own, *cfg.get("custom_hooks", [])]
    if launcher != "none" and not torch.cuda.is_available():
        settings = dict(
            type="mixmae_bench.CPUDistributedDataParallel",
            broadcast_buffers=False,
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        )
        cfg.model_wrapper_cfg = {**settings, **(cfg.get("model_wrapper_cfg") or {})}
    if get_device() == "cpu":
        cpu.speed_up(cfg)
    if get_device() == "cuda":
        gpu.speed_up(cfg)
    _keep_apart(cfg)
    return RUNNERS.build(cfg)


_runs: Counter[str] = Counter()


def _keep_apart(cfg: Config) -> None:
    """Keep a run apart from one that started in the same second, in this process or in its folder.

    mmengine names message hubs and folders of logs by the second of the start. The later run would continue
    the losses, the last checkpoint and the log of the earlier one.
    """
    name = cfg.get("experiment_name") or Path(cfg.filename or "run").stem
    _runs[name] += 1
    if _runs[name] > 1:
        cfg.experiment_name = f"{name}-{_runs[name]}"
    while Path(cfg.work_dir, time.strftime("%Y%m%d_%H%M%S")).exists():
        time.sleep(0.05)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a model without its wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's DDP on CPUs: ignores the GPU passed by its Runner, and supports SyncBatchNorm."""

    def __init__(self, module: nn.Module, **kwargs: object) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.SyncBatchNorm):
                layer.__class__ = SyncBatchNorm
        super().__init__(module=module, **{**kwargs, "device_ids": None})


@HOOKS.register_module()
class MeanOutputsHook(Hook):
    """Averages the losses and other outputs of a training step over all processes.

    Logs and records then cover the whole batch, and a non-finite loss in one process stops all processes at
    the same iteration.
    """

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        values = {name: torch.as_tensor(value).detach().float() for name, value in outputs.items()}
        all_reduce_dict(values, "mean")
        outputs.update(values)
