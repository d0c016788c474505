"""Images of several sizes in one padded batch: every encoder gives what it gives for each alone."""

import pytest
import torch
from encoders import KINDS, make_encoder
from torch import Tensor

SIZES = [(37, 53), (50, 30), (9, 61), (37, 53), (50, 61)]  # the third is smaller than any window


def make_batch(fill: float) -> tuple[list[Tensor], Tensor]:
    """Images of `SIZES`, and their batch, padded to a multiple of 32 px."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(3, *size, generator=generator, dtype=torch.float64) for size in SIZES]
    batch = torch.full((len(images), 3, 64, 64), fill, dtype=torch.float64)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return images, batch


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_beside_larger_ones_has_the_features_that_it_has_alone(kind: str) -> None:
    """Whatever the padding is filled with; beyond the image, maps are 0."""
    encoder = make_encoder(kind)
    images, batch = make_batch(fill=0.7)
    with torch.no_grad():
        together = encoder(batch, SIZES)
        for i, image in enumerate(images):
            for stage, ours, alone in zip(encoder.out_indices, together, encoder(image[None]), strict=True):
                stride = encoder.out_strides[stage]
                height, width = (-(-side // stride) for side in SIZES[i])
                assert alone.shape[2:] == (height, width)
                assert ours.shape[2:] == (-(-64 // stride), -(-64 // stride))
                torch.testing.assert_close(ours[i, :, :height, :width], alone[0], rtol=0, atol=1e-10)
                assert not ours[i, :, height:].any()
                assert not ours[i, :, :, width:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_without_sizes_padding_is_seen_as_in_published_recipes(kind: str) -> None:
    encoder = make_encoder(kind)
    batch = make_batch(fill=0.7)[1]
    with torch.no_grad():
        seen, whole, own = encoder(batch), encoder(batch, [(64, 64)] * len(SIZES)), encoder(batch, SIZES)
    assert all(torch.equal(a, b) for a, b in zip(seen, whole, strict=True))
    assert (seen[-1] - own[-1])[:, :, :1, :1].abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_images_alone_and_none_reaches_padding(kind: str) -> None:
    encoder = make_encoder(kind)
    images, batch = make_batch(fill=0.7)
    batch.requires_grad_()
    sum(m.square().sum() for m in encoder(batch, SIZES)).backward()
    together = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    for row, (height, width) in zip(batch.grad, SIZES, strict=True):
        assert row[:, :height, :width].any()
        assert not row[:, height:].any()
        assert not row[:, :, width:].any()
    encoder.zero_grad()
    for image in images:
        sum(m.square().sum() for m in encoder(image[None])).backward()
    alone = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert alone.keys() == together.keys()
    for name, grad in alone.items():
        tolerance = 1e-4 if "pos_embed" in name else 1e-8  # tables are resized in float32
        torch.testing.assert_close(together[name], grad, rtol=tolerance, atol=tolerance, msg=name)


def test_images_of_one_size_are_encoded_together() -> None:
    encoder = make_encoder("MixMAESwin")
    seen = []
    encoder.patch_embed.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    encoder(make_batch(fill=0)[1], SIZES)
    assert seen == [(2, 3, 37, 53), (1, 3, 50, 30), (1, 3, 9, 61), (1, 3, 50, 61)]
