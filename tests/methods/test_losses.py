"""The losses of SimMIM, UM-MAE and its SimMIM baseline, pixel by pixel in float64, of given predictions."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import patchify
from mixmae_bench.methods.simmim import SimMIM
from mixmae_bench.methods.um_mae import UMMAE
from mixmae_bench.methods.um_simmim import UMSimMIM

SWIN = dict(embed_dim=16, depths=(1, 1), num_heads=(2, 2))
BACKBONE = dict(type="mixmae_bench.Swin", arch=SWIN, window_size=4, img_size=16)
CELL = 4
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 + 0.3
GUESS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
HIDDEN = torch.tensor(
    [
        [[1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 0]],
        [[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1]],
    ]
).bool()
"""True where a patch is hidden; one patch of every 2x2 block is not."""


def guessing(model: Method, guess: Tensor, monkeypatch: pytest.MonkeyPatch) -> Method:
    monkeypatch.setattr(model, "predict", lambda images, mask: guess)
    return model


def mean_error(norm_pix_loss: bool, error: Callable[[float], float]) -> float:
    """Mean of `error` over the pixels of hidden patches."""
    total, count = 0.0, 0
    for b, i, j in HIDDEN.nonzero().tolist():
        place = (b, slice(None), slice(i * CELL, (i + 1) * CELL), slice(j * CELL, (j + 1) * CELL))
        target, guess = (t[place].double().flatten().tolist() for t in (IMAGES, GUESS))
        if norm_pix_loss:
            mean = sum(target) / len(target)
            variance = sum((t - mean) ** 2 for t in target) / (len(target) - 1)
            target = [(t - mean) / math.sqrt(variance + 1e-6) for t in target]
        total += sum(error(t - g) for t, g in zip(target, guess, strict=True))
        count += len(target)
    return total / count


def test_simmim_is_the_absolute_error_of_hidden_pixels_by_their_number_and_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sum(|x - x_rec| * mask) / (mask.sum() + 1e-5) / 3."""
    model = guessing(SimMIM(BACKBONE, mask_patch_size=CELL), GUESS, monkeypatch)
    total, count = 0.0, 0
    for b in range(2):
        for y in range(16):
            for x in range(16):
                if HIDDEN[b, y // CELL, x // CELL]:
                    total += sum(abs(IMAGES[b, c, y, x].item() - GUESS[b, c, y, x].item()) for c in range(3))
                    count += 1
    loss = model.loss(IMAGES, HIDDEN)
    assert loss.item() == pytest.approx(total / (count + 1e-5) / 3, rel=1e-5)


def test_simmim_of_images_without_a_hidden_pixel_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    model = guessing(SimMIM(BACKBONE, mask_patch_size=CELL), GUESS, monkeypatch)
    assert model.loss(IMAGES, torch.zeros_like(HIDDEN)) == 0


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("replaced", [0, 1])
def test_um_mae_is_the_squared_error_of_removed_patches(
    replaced: int, norm_pix_loss: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visible patches do not count, whether they were really seen (0) or replaced by the token (1)."""
    model = UMMAE(
        BACKBONE, dict(dim=16, depth=1, num_heads=2), mask_patch_size=CELL, norm_pix_loss=norm_pix_loss
    )
    model = guessing(model, patchify(GUESS, CELL), monkeypatch)
    loss = model.loss(IMAGES, torch.where(HIDDEN, 2, replaced))
    assert loss.item() == pytest.approx(mean_error(norm_pix_loss, lambda e: e * e), rel=1e-5)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_the_simmim_of_um_mae_is_the_absolute_error_of_masked_patches(
    norm_pix_loss: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = guessing(
        UMSimMIM(BACKBONE, mask_patch_size=CELL, norm_pix_loss=norm_pix_loss),
        patchify(GUESS, CELL),
        monkeypatch,
    )
    assert model.loss(IMAGES, HIDDEN).item() == pytest.approx(mean_error(norm_pix_loss, abs), rel=1e-5)


def test_a_feature_of_simmim_predicts_its_own_pixels() -> None:
    """Channel c * s*s + i * s + j of the head is colour c, row i, column j of an s-pixel patch."""
    model = SimMIM(BACKBONE, mask_patch_size=CELL)
    for channel, (colour, row, column) in {0: (0, 0, 0), 64 + 8 * 5 + 2: (1, 5, 2), 191: (2, 7, 7)}.items():
        with torch.no_grad():
            model.decoder.weight.zero_()
            model.decoder.bias.zero_()
            model.decoder.bias[channel] = 1
            prediction = model.predict(IMAGES, HIDDEN)
        expected = torch.zeros_like(IMAGES)
        expected[:, colour, row::8, column::8] = 1
        assert torch.equal(prediction, expected)


def test_a_feature_of_um_mae_s_simmim_predicts_two_by_two_patches() -> None:
    """Value d * 4 + 2 * i + j of the head is value d of the patch in row i, column j of its block."""
    model = UMSimMIM(BACKBONE, mask_patch_size=CELL)
    for value, (d, row, column) in {0: (0, 0, 0), 4 * 7 + 1: (7, 0, 1), 4 * 47 + 2: (47, 1, 0)}.items():
        with torch.no_grad():
            model.pred.weight.zero_()
            model.pred.bias.zero_()
            model.pred.bias[value] = 1
            prediction = model.predict(IMAGES, HIDDEN).view(2, 4, 4, -1)
        expected = torch.zeros_like(prediction)
        expected[:, row::2, column::2, d] = 1
        assert torch.equal(prediction, expected)
