"""Stop a run at NaN or infinity, before a checkpoint is written with them."""

import math
from pathlib import Path

import torch
from mmengine.runner import Runner

from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.errors import UserError


class NotFiniteError(UserError):
    """A loss or a weight is NaN or infinite."""


def check_loss(runner: Runner, loss: float, iteration: int) -> None:
    """Check the loss of an iteration, counted from 0.

    With loss scaling (fp16), a step with overflowing gradients is skipped: its loss is finite, and the run
    continues. If the loss itself is not finite, a smaller scale does not help.

    Raises:
        NotFiniteError: If the loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise NotFiniteError(_message(runner, f"loss {loss:g} at iteration {iteration + 1}"))


def check_weights(runner: Runner, checkpoint: str) -> None:
    """Check that all weights are finite: a bad step can make them NaN although its loss was finite.

    Raises:
        NotFiniteError: If a parameter is not finite; the message names the first one.
    """
    model = unwrapped(runner.model)
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise NotFiniteError(_message(runner, f"{name} is not finite, {checkpoint} not written"))


def _message(runner: Runner, what: str) -> str:
    last = runner.message_hub.runtime_info.get("last_ckpt")
    last = f"last good checkpoint: {last}" if last and Path(last).is_file() else "no checkpoint before it"
    scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
    causes = ["a learning rate that is too high", "a corrupt or constant image, or a wrong label"]
    if scaler is not None:
        precision = f"fp16 overflowing in the forward pass (loss scale {scaler.get_scale():g}"
        causes.insert(0, f"{precision}; use bf16: optim_wrapper.type=mixmae_bench.Bf16OptimWrapper)")
    return f"training stopped: {what}; {last}; likely: {', '.join(causes)}"
