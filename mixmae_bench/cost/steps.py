"""Timed training and inference steps of a model."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.cost.models import Call, load_call
from mixmae_bench.cost.samples import mmdet_samples, mmpretrain_inputs, mmpretrain_samples, mmseg_samples
from mixmae_bench.engine.blocks import compile_blocks
from mixmae_bench.engine.boxes import keep_boxes_float32
from mixmae_bench.engine.graph import graph_loss
from mixmae_bench.engine.precision import tf32
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

SLOW_MATMUL = 0.01
"""Seconds: if the product of two 256 x 256 matrices takes longer, the CPU probably emulates the format."""


@dataclass(frozen=True)
class Setting:
    """Settings of the timed steps.

    Attributes:
        model: See `load_call`.
        dtype: A name in `DTYPES`; 16-bit formats use autocast with float32 weights. float32 is without TF32.
        batch: Images per step.
        shape: Height and width of the images, or None for the model's default.
        inference: Whether a step is a forward pass without gradients instead of a training step.
        compile: Whether to compile the blocks of the model (see `mixmae_bench.engine.blocks`).
        graph: Whether to compute the loss with CUDA graphs (see `mixmae_bench.engine.graph`).
        device: 'cpu' or 'cuda'.
        threads: CPU threads.
    """

    model: str
    dtype: str
    batch: int
    shape: tuple[int, int] | None
    inference: bool
    compile: bool
    graph: bool
    device: str
    threads: int


class Steps:
    """A model with random weights, and random images to run steps on."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        torch.manual_seed(0)
        torch.backends.cudnn.allow_tf32 = False
        self.setting = setting
        reset_peak_memory()
        self._before = peak_memory()
        call = load_call(setting.model, setting.shape, setting.device)
        keep_boxes_float32(call.model)
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
            compile_blocks(call.model)
        if setting.graph:
            graph_loss(call.model)

    def run(self, steps: int = 1) -> list[float]:
        """Run steps one after another and return their durations in seconds.

        As in training, the host queues the next steps while the GPU computes, and waits only after the last
        one. A step lasts from the end of the step before on the GPU to its own; an untimed step comes first.
        """
        if self.setting.device == "cuda":
            ends = [torch.cuda.Event(enable_timing=True) for _ in range(1 + steps)]
            for end in ends:
                self._queue()
                end.record()
            torch.cuda.synchronize()
            return [before.elapsed_time(end) / 1000 for before, end in pairwise(ends)]
        return [self._timed() for _ in range(steps)]

    def _timed(self) -> float:
        start = time.perf_counter()
        self._queue()
        return time.perf_counter() - start

    def _queue(self) -> None:
        with self._matmul_format():
            with self._autocast(), torch.set_grad_enabled(not self.setting.inference):
                out = self._forward()
            if not self.setting.inference:
                out.backward()
                self._optimizer.step()
                self._optimizer.zero_grad()

    def launches(self) -> tuple[int, int] | None:
        """Return the numbers of kernel launches and of waits for the GPU in a step, None on a CPU."""
        if self.setting.device != "cuda":
            return None
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            self._queue()
        calls = {event.key: event.count for event in profile.key_averages()}

        def total(pattern: str) -> int:
            return sum(count for name, count in calls.items() if re.match(pattern, name))

        return total("cu(da)?LaunchKernel"), total("cuda(Stream|Event|Device)Synchronize")

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
        # Products of ones are faster on GPUs, as they need less power.
        a = torch.randn(side, side, device=self.setting.device).to(DTYPES[self.setting.dtype])
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            with self._matmul_format():
                a @ a
            if self.setting.device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    def _matmul_format(self) -> AbstractContextManager:
        return tf32() if self.setting.dtype == "tf32" else nullcontext()

    def _autocast(self) -> AbstractContextManager:
        if DTYPES[self.setting.dtype] == torch.float32:
            return nullcontext()
        return torch.autocast(self.setting.device, DTYPES[self.setting.dtype])


def training_loss(call: Call, images: Tensor) -> Callable[[], Tensor]:
    """Return a function that computes the training loss of images (B, 3, H, W).

    Annotations are made up (see `mixmae_bench.cost.samples`).

    Raises:
        UserError: If the model is neither a classifier of timm nor of a package whose annotations are known.
    """
    model = call.model
    if isinstance(model, Method):
        return lambda: model(images, mode="loss")["loss"]
    if samples := _samples(model, images):
        inputs = mmpretrain_inputs(images, model)
        return lambda: model.parse_losses(model(inputs, samples, mode="loss"))[0]
    if call.forward is model:  # a classifier of timm
        labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return lambda: F.cross_entropy(model(images), labels)
    raise UserError(
        f"training steps of {type(model).__name__} are not timed; add --inference, or give a classifier, a "
        "detector, a segmentor or a pretraining method"
    )


def _samples(model: nn.Module, images: Tensor) -> list | None:
    """Return made-up annotations for a model of mmpretrain, mmdet or mmseg, None for other models."""
    from mmdet.models.detectors.base import BaseDetector
    from mmpretrain.models import BaseSelfSupervisor, ImageClassifier
    from mmseg.models.segmentors.base import BaseSegmentor

    if isinstance(model, BaseSelfSupervisor | ImageClassifier):
        return mmpretrain_samples(images, model)
    if isinstance(model, BaseDetector):
        return mmdet_samples(images)
    return mmseg_samples(images, model) if isinstance(model, BaseSegmentor) else None


def _is_of_mmdet(model: nn.Module) -> bool:
    from mmdet.models.detectors.base import BaseDetector

    return isinstance(model, BaseDetector)
