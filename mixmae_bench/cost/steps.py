"""Timed training and inference steps of a model."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.cost.models import Call, load_call, mmpretrain_samples
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

SLOW_MATMUL = 0.01
"""Seconds: if the product of two 256 x 256 matrices takes longer, the CPU probably emulates the format."""


@dataclass(frozen=True)
class Setting:
    """Settings of the timed steps.

    Attributes:
        model: See `load_call`.
        dtype: A name in `DTYPES`; 16-bit formats use autocast with float32 weights.
        batch: Images per step.
        shape: Height and width of the images, or None for the model's default.
        inference: Whether a step is a forward pass without gradients instead of a training step.
        compile: Whether to use torch.compile.
        device: 'cpu' or 'cuda'.
        threads: CPU threads.
    """

    model: str
    dtype: str
    batch: int
    shape: tuple[int, int] | None
    inference: bool
    compile: bool
    device: str
    threads: int


class Steps:
    """A model with random weights, and random images to run steps on."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        torch.manual_seed(0)
        self.setting = setting
        reset_peak_memory()
        self._before = peak_memory()
        call = load_call(setting.model, setting.shape, setting.device)
        images = torch.randn(setting.batch, 3, *call.inputs[0].shape[-2:], device=setting.device)
        if setting.inference:
            forward = call.forward if _is_of_mmdet(call.model) else call.model
            call.model.eval()
            self._forward = partial(forward, images)
        else:
            self._forward = training_loss(call, images)
            trained = [p for p in call.model.train().parameters() if p.requires_grad]
            self._optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
        if setting.compile:
            self._forward = torch.compile(self._forward)

    def run(self) -> float:
        """Run one step and return its duration in seconds."""
        start = time.perf_counter()
        with self._autocast(), torch.set_grad_enabled(not self.setting.inference):
            out = self._forward()
        if not self.setting.inference:
            out.backward()
            self._optimizer.step()
            self._optimizer.zero_grad()
        if self.setting.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def peak_memory(self) -> int:
        """Return the peak memory of model, optimiser and steps in bytes, without the frameworks."""
        return peak_memory() - (0 if self.setting.device == "cuda" else self._before)

    def matmul_speed(self) -> float:
        """Return the FLOP/s of a large matrix product on this device in this number format."""
        if self.setting.device == "cuda":
            return 8192**3 / self._matmul_seconds(8192)
        # With an emulated format, a large product takes minutes instead of a tenth of a second.
        side = 2048 if self._matmul_seconds(256) < SLOW_MATMUL else 512
        return side**3 / self._matmul_seconds(side)

    def _matmul_seconds(self, side: int) -> float:
        """Return the shortest of four times of a product of two square matrices, in seconds."""
        a = torch.ones(side, side, device=self.setting.device, dtype=DTYPES[self.setting.dtype])
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            a @ a
            if self.setting.device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    def _autocast(self) -> AbstractContextManager:
        if self.setting.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.setting.device, DTYPES[self.setting.dtype])


def training_loss(call: Call, images: Tensor) -> Callable[[], Tensor]:
    """Return a function that computes the training loss of images (B, 3, H, W).

    Raises:
        UserError: If the model needs more than images and labels for training.
    """
    model = call.model
    if isinstance(model, Method):
        return lambda: model(images, mode="loss")["loss"]
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    if _is_of_mmpretrain(model):
        samples = mmpretrain_samples(images)
        return lambda: sum(loss.mean() for loss in model(images, samples, mode="loss").values())
    if call.forward is model:  # a classifier of timm
        return lambda: F.cross_entropy(model(images), labels)
    raise UserError(
        f"training steps of {type(model).__name__} are not timed; add --inference, or give a classifier or a "
        "pretraining method"
    )


def _is_of_mmdet(model: nn.Module) -> bool:
    from mmdet.models.detectors.base import BaseDetector

    return isinstance(model, BaseDetector)


def _is_of_mmpretrain(model: nn.Module) -> bool:
    from mmpretrain.models import BaseSelfSupervisor, ImageClassifier

    return isinstance(model, BaseSelfSupervisor | ImageClassifier)
