"""One small encoder of each kind, in float64, for what holds for all of them."""

import torch
from torch import nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.registry import MODELS

SWIN = dict(embed_dim=8, depths=(2, 2, 1), num_heads=(2, 2, 4))
KINDS = {
    "MixMAESwin": dict(arch=dict(SWIN, window_size=(4, 4, 2)), out_indices=(0, 1, 2)),
    "Swin": dict(arch=SWIN, window_size=4, out_indices=(0, 1, 2)),
    "Swin with positions": dict(arch=SWIN, window_size=4, ape=True, out_indices=(0, 1, 2)),
    "UMSwin": dict(arch=SWIN, window_size=4, out_indices=(0, 1, 2)),
    "UMPVT": dict(
        arch=dict(
            embed_dims=(8, 16, 24),
            depths=(1, 2, 1),
            num_heads=(1, 2, 2),
            mlp_ratios=(2,) * 3,
            sr_ratios=(4, 2, 1),
        ),
        learn_positions=True,
        out_indices=(0, 1, 2),
    ),
    "PlainViT": dict(arch=dict(embed_dim=16, depth=2, num_heads=2), patch_size=8),
    "HiViT": dict(
        arch=dict(embed_dims=(8, 16, 32), depths=(1, 1, 2), num_heads=2), patch_size=2, out_indices=(0, 1, 2)
    ),
}


def make_encoder(kind: str, **kwargs: object) -> Encoder:
    """An encoder for 32 px in eval mode, all of whose parameters but the position table are random."""
    torch.manual_seed(0)
    cfg = dict(type=f"mixmae_bench.{kind.split()[0]}", img_size=32, **KINDS[kind], **kwargs)
    encoder = MODELS.build(cfg).double().eval()
    for name, parameter in encoder.named_parameters():
        if "pos_embed" not in name or "Swin with" in kind:
            nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.3)
    return encoder
