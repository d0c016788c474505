"""How many patches masks hide, and which. That they are bit for bit the official ones: `verify`."""

import numpy as np
import pytest
import torch
from mmengine.runner import set_random_seed

from mixmae_bench.errors import UserError
from mixmae_bench.methods.masks import random_mask, regular_masks, secondary_mask, secondary_mask_vit
from mixmae_bench.methods.simmim import SimMIM
from mixmae_bench.methods.um_mae import REMOVED, REPLACED, UMMAE, VISIBLE, UMMAEViT
from mixmae_bench.methods.um_simmim import UMSimMIM

SWIN = dict(
    type="mixmae_bench.Swin",
    arch=dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)),
    window_size=4,
    img_size=128,
)
VIT = dict(type="mixmae_bench.PlainViT", arch=dict(embed_dim=8, depth=1, num_heads=1), img_size=128)
DECODER = dict(dim=8, depth=1, num_heads=1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    set_random_seed(0)


@pytest.mark.parametrize(
    ("side", "ratio", "masked"), [(6, 0.6, 22), (7, 0.6, 30), (6, 0.5, 18), (2, 0.01, 1), (3, 0.99, 9)]
)
def test_simmim_masks_the_ratio_of_patches_rounded_up(side: int, ratio: float, masked: int) -> None:
    assert random_mask(side, side, ratio).sum() == masked


def test_the_published_mask_of_simmim_has_22_of_36_patches_of_32_pixels() -> None:
    mask = SimMIM(SWIN).draw_mask(torch.zeros(3, 3, 192, 192))
    assert mask.shape == (3, 48, 48)
    patches = mask.view(3, 6, 8, 6, 8).transpose(2, 3).flatten(3)
    assert torch.equal(patches.any(-1), patches.all(-1))
    assert patches.all(-1).sum((1, 2)).tolist() == [22, 22, 22]
    assert not torch.equal(mask[0], mask[1])


def test_the_simmim_of_um_mae_masks_the_ratio_of_patches_rounded_down() -> None:
    mask = UMSimMIM(SWIN, mask_ratio=0.7).draw_mask(torch.zeros(3, 3, 96, 96))
    assert mask.shape == (3, 6, 6)
    assert mask.sum((1, 2)).tolist() == [25, 25, 25]
    assert not torch.equal(mask[0], mask[1])


@pytest.mark.parametrize(("h", "w"), [(2, 2), (4, 6), (16, 16), (14, 14)])
def test_regular_masks_keep_one_patch_of_every_block_and_each_place_nearly_equally_often(
    h: int, w: int
) -> None:
    """U7: the pool holds each place ceil(h*w / 8) times; as many as there are blocks are taken of it."""
    for _ in range(20):
        kept = ~regular_masks(1, h, w)[0]
        blocks = kept.reshape(h // 2, 2, w // 2, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
        assert (blocks.sum(1) == 1).all()
        assert blocks.sum(0).max() <= -(-h * w // 8)
        if (h, w) == (16, 16):  # 64 drawn of 32 of each place, without putting back: deviation 2.5
            assert abs(blocks.sum(0) - 16).max() < 5 * 2.5


def test_the_first_kept_patch_of_a_regular_mask_is_at_each_place_equally_often() -> None:
    masks = ~regular_masks(2000, 4, 4)
    assert masks.mean(0) == pytest.approx(np.full((4, 4), 0.25), abs=5 * np.sqrt(0.25 * 0.75 / 2000))


@pytest.mark.parametrize(("h", "w"), [(3, 4), (4, 3), (7, 7)])
def test_a_regular_mask_of_an_odd_grid_is_one_line(h: int, w: int) -> None:
    with pytest.raises(UserError, match=f"even grid of patches, not {h}x{w}"):
        regular_masks(1, h, w)


@pytest.mark.parametrize(("ratio", "real"), [(0.25, 12), (0.3, 11), (0.5, 8), (0.9, 1), (0.01, 15)])
def test_secondary_masking_leaves_the_rest_of_the_visible_patches_rounded_down(
    ratio: float, real: int
) -> None:
    removed = torch.from_numpy(regular_masks(3, 8, 8)).flatten(1)
    noise = torch.rand(removed.shape, generator=torch.Generator().manual_seed(0))
    shown = ~secondary_mask(removed, noise, ratio)
    assert not (shown & removed).any()
    assert shown.sum(1).tolist() == [real] * 3
    for image in range(3):
        visible = noise[image][~removed[image]]
        assert torch.equal(noise[image][shown[image]].sort().values, visible.sort().values[:real])
    shown = ~secondary_mask_vit(noise[:, :16], ratio)
    assert shown.sum(1).tolist() == [real] * 3


@pytest.mark.parametrize(("method", "backbone"), [(UMMAE, SWIN), (UMMAEViT, VIT)])
@pytest.mark.parametrize(("ratio", "replaced"), [(0, 0), (0.25, 4), (0.5, 8)])
def test_um_mae_removes_three_quarters_and_replaces_some_of_the_rest(
    method: type[UMMAE], backbone: dict, ratio: float, replaced: int
) -> None:
    mask = method(backbone, DECODER, secondary_mask_ratio=ratio).draw_mask(torch.zeros(3, 3, 128, 128))
    assert mask.shape == (3, 8, 8)
    assert mask.dtype == torch.int64
    for value, count in ((VISIBLE, 16 - replaced), (REPLACED, replaced), (REMOVED, 48)):
        assert (mask == value).sum((1, 2)).tolist() == [count] * 3
    assert not torch.equal(mask[0], mask[1])
