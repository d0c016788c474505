"""Narrow models with the depths of published ones, and the operators of their training steps."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from mixmae_bench.methods.method import Method
from mixmae_bench.registry import MODELS

HEADS = dict(num_heads=(2, 2, 2, 2))
DEEP = dict(embed_dim=16, depths=(2, 2, 18, 2), **HEADS)
STEPS = {
    "MixMAE": dict(
        type="mixmae_bench.MixMAE",
        backbone=dict(
            type="mixmae_bench.MixMAESwin", arch=dict(DEEP, window_size=(14, 14, 14, 7)), img_size=224
        ),
        decoder=dict(dim=16, depth=8, num_heads=2),
    ),
    "SimMIM": dict(
        type="mixmae_bench.SimMIM",
        backbone=dict(type="mixmae_bench.Swin", arch=DEEP, window_size=6, img_size=192),
    ),
    "UMMAE": dict(
        type="mixmae_bench.UMMAE",
        backbone=dict(
            type="mixmae_bench.UMSwin",
            arch=dict(embed_dim=16, depths=(2, 2, 6, 2), **HEADS),
            window_size=8,
            img_size=256,
        ),
        decoder=dict(dim=16, depth=2, num_heads=2),
    ),
}
"""Depths, windows and image sizes of MixMAE-B, SimMIM's Swin-B and UM-MAE's Swin-T."""

NO_LAUNCH = {
    "aten.empty",
    "aten.empty_like",
    "aten.empty_strided",
    "aten.new_empty",
    "aten.new_empty_strided",
}
NO_LAUNCH |= {"aten._unsafe_view", "aten._reshape_alias", "aten.lift_fresh"}


class Operators(TorchDispatchMode):
    """Counts operators that compute or copy, and raises an error for `forbidden` ones."""

    def __init__(self, forbidden: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.forbidden = forbidden
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, op: OpOverload, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name = str(op.overloadpacket)
        if name in self.forbidden or (name == "aten.index" and _has_bools(args[1])):
            raise AssertionError(f"{op} waits for the device")
        if name == "aten._to_copy" and (kwargs or {}).get("device") not in (None, args[0].device):
            raise AssertionError(f"{op} copies to another device")
        if not op.is_view and name not in NO_LAUNCH:
            self.counts[name] += 1
        return op(*args, **kwargs or {})


def _has_bools(indices: list) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def make(method: str) -> tuple[Method, torch.optim.Optimizer, Tensor, Tensor]:
    """Return a model in training mode, its optimiser, images and a mask."""
    torch.manual_seed(0)
    model = MODELS.build(STEPS[method]).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4, fused=True)
    side = model.backbone.grid[0] * model.backbone.out_strides[0]
    images = torch.randn(2, 3, side, side)
    return model, optimiser, images, model.draw_mask(images)


def train(model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, mask: Tensor) -> None:
    """Run a training step."""
    model.loss(images, mask).backward()
    optimiser.step()
    optimiser.zero_grad()
