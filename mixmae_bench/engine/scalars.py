"""Losses and gradient norms of the log, read from a GPU every few iterations instead of in each one."""

from collections.abc import Callable
from functools import partial

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mixmae_bench.engine.finite import check_loss
from mixmae_bench.registry import HOOKS

INTERVAL = 10
"""Iterations between two readings from a GPU. Reading a value waits for all work that the GPU has queued."""


@HOOKS.register_module()
class ScalarsHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook that does not wait for the GPU in every iteration, and stops at NaN.

    Outputs of the model and gradient norms stay tensors on the GPU. All of them are read at once and written
    to the message hub every `INTERVAL` iterations, in iterations that are logged, at the end of an epoch, and
    before a checkpoint is saved. On a CPU they are written in every iteration.

    Raises:
        NotFiniteError: When values are read, if a loss is NaN or infinite. The message states its iteration.
    """

    def __init__(self) -> None:
        self._unread: list[tuple[int, str, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._intervals = {INTERVAL, *(h.interval for h in runner.hooks if isinstance(h, LoggerHook))}
        wrapper = runner.optim_wrapper
        clips = isinstance(wrapper, OptimWrapper) and wrapper.clip_grad_kwargs
        if clips and not isinstance(wrapper.clip_func, partial):
            wrapper.clip_func = partial(self._clip, runner, wrapper.clip_func, f"train/{wrapper.grad_name}")

    def _clip(self, runner: Runner, clip: Callable, name: str, params: list, **kwargs: object) -> None:
        """Clip gradients and keep their norm: mmengine waits for a norm that `clip_func` returns."""
        norm = clip(params, **kwargs)
        if norm is not None:
            self._keep(runner, name, norm)

    def _keep(self, runner: Runner, name: str, value: Tensor | float) -> None:
        value = torch.as_tensor(value).detach()
        whole = value.full_tensor() if hasattr(value, "full_tensor") else value  # sharded by FSDP
        self._unread.append((runner.iter, name, whole.reshape(())))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        for name, value in (outputs or {}).items():
            self._keep(runner, f"train/{name}", value)
        if (
            not any(is_queued(value) for _, _, value in self._unread)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or self.is_last_train_iter(runner)
            or any(
                self.every_n_inner_iters(batch_idx, n) or self.every_n_train_iters(runner, n)
                for n in self._intervals
            )
        ):
            self.flush(runner)

    def flush(self, runner: Runner) -> None:
        """Write all values that were kept to the message hub, and check the losses."""
        queued = [value.double() for _, _, value in self._unread if is_queued(value)]
        read = iter(torch.stack(queued).tolist() if queued else ())
        for iteration, name, value in self._unread:
            number = next(read) if is_queued(value) else value.item()
            runner.message_hub.update_scalar(name, number)
            if name == "train/loss":
                check_loss(runner, number, iteration)
        self._unread = []


def is_queued(value: Tensor) -> bool:
    """Return whether the value may still be computed by a device, so that reading it waits."""
    return value.device.type != "cpu"


def flush_scalars(runner: Runner) -> None:
    """Write all values that hooks of a runner have kept to its message hub."""
    for hook in runner.hooks:
        if isinstance(hook, ScalarsHook):
            hook.flush(runner)
