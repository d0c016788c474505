"""Training in several processes, by mmengine's launchers: NCCL where there are GPUs, else gloo on the CPU."""

import itertools
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
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
from mixmae_bench.engine.batch import PROCESSES
from mixmae_bench.engine.cpu import speed_up
from mixmae_bench.errors import UserError, portable
from mixmae_bench.registry import HOOKS, MODEL_WRAPPERS

T = TypeVar("T")

NO_TIMEOUT = timedelta(days=20)
"""The longest that fits into the milliseconds of a C int."""

STARTED_BY = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}
"""What starts the processes of each launcher (mmengine's names)."""


def init_process_group(launcher: str, settings: dict | None = None) -> None:
    """Join the processes that a launcher started; nothing to do with 'none', or where it is done.

    To be called before the Runner, whose own way asks for a GPU.

    Args:
        launcher: mmengine's name.
        settings: `env_cfg.dist_cfg` of a config, for GPUs.

    Raises:
        UserError: If the launcher did not start this process, or where a process has no GPU of its own.
    """
    if launcher == "none" or is_distributed():
        return
    if PROCESSES[launcher] not in os.environ:
        raise UserError(
            f"--launcher {launcher}, but {PROCESSES[launcher]} is not set: start it with "
            f"{STARTED_BY[launcher]}, or leave the option out for one process"
        )
    if not torch.cuda.is_available():
        if launcher != "pytorch":
            raise UserError(f"--launcher {launcher} needs GPUs; without them: torchrun, --launcher pytorch")
        torch.distributed.init_process_group("gloo")
        return
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if launcher == "pytorch" and local >= gpus:
        raise UserError(f"more processes than the {gpus} GPUs of this machine; start one for each at most")
    init_dist(launcher, **(settings or {}))


def destroy_process_group() -> None:
    """Part from the other processes, after a run that went well."""
    if is_distributed():
        torch.distributed.destroy_process_group()


def on_rank_0(make: Callable[[], T]) -> T:
    """Call a function in the first process, and return in all of them what it returned.

    The others wait in the processes' store, which has no timeout that long work of the first could exceed as
    that of a collective. To be called by all.

    Raises:
        Exception: What the function raised, in all processes.
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
"""Of `on_rank_0`: the same in all processes, as all call it."""


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Build the Runner of a config, or what its `runner_type` names, for the processes that have joined.

    With several of them each draws masks and augmentations from a seed of its own, unless the config says
    otherwise (`randomness.diff_rank_seed`): they would hide the same patches in the same way. What is logged
    is the mean over all, and running averages of batch norm are averaged before they are used or saved.
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
        speed_up(cfg)
    return RUNNERS.build(cfg)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a model without the wrapper that several processes need."""
    return model.module if is_model_wrapper(model) else model


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's DDP without a GPU, which its Runner names all the same; for SyncBatchNorm too."""

    def __init__(self, module: nn.Module, **kwargs: object) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.SyncBatchNorm):
                layer.__class__ = SyncBatchNorm
        super().__init__(module=module, **{**kwargs, "device_ids": None})


@HOOKS.register_module()
class MeanOutputsHook(Hook):
    """Makes losses and whatever else a training step returns the mean over all processes.

    So logs and records tell of the whole batch, and what stops one process at a loss that is not finite
    stops all of them at the same iteration.
    """

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        values = {name: torch.as_tensor(value).detach().float() for name, value in outputs.items()}
        all_reduce_dict(values, "mean")
        outputs.update(values)
