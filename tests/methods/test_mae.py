"""MAE on a plain ViT is mmpretrain's own: its config builds, learns a step, and costs what MAE costs."""

from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from mixmae_bench.cost import count
from mixmae_bench.cost.models import load_call
from mixmae_bench.engine.config import load_config
from mixmae_bench.registry import MODELS

CONFIG = Path(__file__).parents[2] / "configs" / "pretrain" / "mae_vit-b-p16_8xb512-1600e_in1k.py"


def test_a_narrow_copy_of_the_model_learns() -> None:
    cfg = load_config(CONFIG)
    cfg.model.backbone.update(arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64))
    cfg.model.backbone.img_size = 64
    cfg.model.neck.update(
        num_patches=16, embed_dim=32, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    model.init_weights()
    images = F.interpolate(torch.rand(4, 3, 6, 6) * 255, size=64, mode="bilinear")  # with something to learn
    data = dict(inputs=images, data_samples=None)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    losses = [model.train_step(data, wrapper)["loss"].item() for _ in range(30)]
    assert sum(losses[-5:]) / 5 < 0.97  # predicting the mean of every patch gives 1


def test_pretraining_costs_what_it_should() -> None:
    """Encoder on 49 visible patches and a class token, decoder of 8 blocks on 196 and it, by hand."""
    call = load_call(str(CONFIG), None, "meta")
    cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)

    def blocks(depth: int, tokens: int, dim: int) -> int:
        return depth * (12 * tokens * dim**2 + 2 * tokens**2 * dim)

    patches = 196 * 768 * 768
    decoder = 50 * 768 * 512 + blocks(8, 197, 512) + 197 * 512 * 768
    assert cost.flops == patches + blocks(12, 50, 768) + decoder
