"""Position tables at other sizes than those that they are made for."""

import pytest
import torch
from encoders import make_encoder
from torch import Tensor

KINDS = {
    "MixMAESwin": "absolute_pos_embed",
    "Swin with positions": "absolute_pos_embed",
    "UMPVT": "pos_embed",
    "PlainViT": "pos_embed",
    "HiViT": "pos_embed",
}
every = pytest.mark.parametrize("kind", KINDS)


def images(height: int = 40, width: int = 56) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every
def test_a_trained_table_gets_its_gradient_through_resizing(kind: str) -> None:
    encoder = make_encoder(kind).train()
    table = encoder.get_parameter(KINDS[kind]).requires_grad_()
    encoder(images())[-1].square().sum().backward()
    assert table.grad.abs().sum() > 0


@every
def test_a_resized_table_follows_the_format_and_the_device_of_the_encoder(kind: str) -> None:
    encoder = make_encoder(kind)
    with torch.no_grad():
        assert encoder.float()(images().float())[-1].dtype == torch.float32
        assert encoder.to("meta")(images().float().to("meta"))[-1].is_meta


@every
def test_a_pass_in_inference_mode_leaves_training_as_it_was(kind: str) -> None:
    encoder = make_encoder(kind)
    with torch.inference_mode():
        encoder(images())
    encoder.get_parameter(KINDS[kind]).requires_grad_(False)
    encoder.train()(images())[-1].sum().backward()
