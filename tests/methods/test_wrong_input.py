"""A mistake with a pretraining method is one line that says what to change. MixMAE's own: test_mixmae.py."""

import math

import pytest
import torch

from mixmae_bench.errors import UserError
from mixmae_bench.methods.um_mae import REMOVED
from mixmae_bench.registry import MODELS

ARCH = dict(embed_dim=16, depths=(1, 1), num_heads=(2, 2))
SWIN = dict(type="mixmae_bench.Swin", arch=ARCH, window_size=4, img_size=16)
ONE_STAGE = dict(SWIN, arch=dict(embed_dim=16, depths=(1,), num_heads=(2,)))
VIT = dict(
    type="mixmae_bench.PlainViT",
    arch=dict(embed_dim=16, depth=1, num_heads=2),
    patch_size=4,
    img_size=16,
)
PVT = dict(
    type="mixmae_bench.UMPVT",
    arch=dict(embed_dims=(16, 24), depths=(1, 1), num_heads=(2, 2), mlp_ratios=(2, 2), sr_ratios=(2, 1)),
    img_size=16,
)
DECODER = dict(dim=16, depth=1, num_heads=2)
FITTING = {
    "MixMAE": dict(backbone=SWIN, decoder=DECODER),
    "SimMIM": dict(backbone=SWIN, mask_patch_size=8),
    "GreenMIM": dict(backbone=SWIN, decoder=DECODER, mask_ratio=0.5),
    "UMMAE": dict(backbone=SWIN, decoder=DECODER, mask_patch_size=4),
    "UMMAEViT": dict(backbone=VIT, decoder=DECODER, mask_patch_size=4),
    "UMSimMIM": dict(backbone=SWIN, mask_patch_size=4),
}


def make(method: str, **kwargs: object) -> torch.nn.Module:
    return MODELS.build(dict(type=f"mixmae_bench.{method}", **{**FITTING[method], **kwargs}))


def line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def refused(method: str, **kwargs: object) -> str:
    """Build a model that must be refused and return the line."""
    with pytest.raises(UserError) as error:
        make(method, **kwargs)
    return line(error)


def refused_images(method: str, size: tuple[int, int], batch: int = 2, **kwargs: object) -> str:
    model = make(method, **kwargs)
    with pytest.raises(UserError) as error:
        model(torch.zeros(batch, 3, *size), mode="loss")
    return line(error)


@pytest.mark.parametrize("method", FITTING)
def test_what_fits_is_taken(method: str) -> None:
    assert make(method)(torch.randn(2, 3, 16, 16), mode="loss")["loss"].isfinite()


@pytest.mark.parametrize("method", ["MixMAE", "SimMIM", "UMSimMIM", "GreenMIM"])
@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_a_mask_ratio_outside_0_and_1(method: str, ratio: float) -> None:
    assert f"mask_ratio of {method} is {ratio}; give a number between 0 and 1" in refused(
        method, mask_ratio=ratio
    )


@pytest.mark.parametrize("method", ["UMMAE", "UMMAEViT"])
@pytest.mark.parametrize("ratio", [1, -0.1, 1.5, math.nan])
def test_a_secondary_ratio_outside_0_and_1(method: str, ratio: float) -> None:
    assert f"secondary_mask_ratio of {method} is {ratio}; give a number in [0, 1)" in refused(
        method, secondary_mask_ratio=ratio
    )


@pytest.mark.parametrize("method", ["MixMAE", "UMSimMIM"])
def test_a_ratio_that_hides_no_patch(method: str) -> None:
    """Without this MixMAE would learn nothing and the loss of UMSimMIM be 0 / 0."""
    assert "is less than one patch" in refused_images(method, (16, 16), mask_ratio=0.01)


@pytest.mark.parametrize("method", ["UMMAE", "UMMAEViT"])
def test_a_secondary_ratio_that_shows_no_patch(method: str) -> None:
    assert "is less than one patch" in refused_images(method, (16, 16), secondary_mask_ratio=0.99)


@pytest.mark.parametrize(
    ("method", "kwargs", "message"),
    [
        ("SimMIM", dict(mask_patch_size=6), "mask_patch_size of SimMIM is 6 px; give a multiple of 4 px"),
        ("SimMIM", dict(mask_patch_size=0), "mask_patch_size of SimMIM is 0 px"),
        ("UMMAE", dict(mask_patch_size=8), "mask_patch_size of UMMAE is 8 px; with this Swin it must be 4"),
        (
            "UMMAE",
            dict(backbone=ONE_STAGE),
            "of 2 px with this Swin, smaller than its tokens of 4 px",
        ),
        ("UMMAE", dict(backbone=VIT), "patches of 2 px with this PlainViT, smaller than its tokens of 4 px"),
        (
            "UMMAEViT",
            dict(mask_patch_size=8),
            "mask_patch_size of UMMAEViT is 8 px; with this PlainViT it must be 4",
        ),
        ("UMMAEViT", dict(backbone=SWIN), "UMMAEViT needs a PlainViT"),
        (
            "UMSimMIM",
            dict(mask_patch_size=16),
            "mask_patch_size of UMSimMIM is 16 px; with this Swin it must be 4",
        ),
        ("UMSimMIM", dict(backbone=VIT), "patches of 2 px with this PlainViT"),
    ],
)
def test_a_patch_or_an_encoder_that_does_not_fit(method: str, kwargs: dict, message: str) -> None:
    assert message in refused(method, **kwargs)


@pytest.mark.parametrize("method", FITTING)
@pytest.mark.parametrize("size", [(14, 16), (16, 18), (15, 15), (2, 2)])
def test_images_that_patches_do_not_divide(method: str, size: tuple[int, int]) -> None:
    side = 4 if method == "UMMAEViT" else 8
    assert refused_images(method, size) == (
        f"{method} got images of {size[0]}x{size[1]} px, which are not multiples of {side} px; "
        "change the pipeline"
    )


@pytest.mark.parametrize("method", ["MixMAE", "UMMAE", "UMMAEViT"])
@pytest.mark.parametrize("size", [(32, 32), (16, 32)])
def test_images_of_another_size_than_the_decoder_s(method: str, size: tuple[int, int]) -> None:
    message = refused_images(method, size)
    assert f"{method} got images of {size} px, but its decoder is made for (16, 16)" in message
    assert "backbone.img_size" in message


def test_images_of_um_mae_whose_packed_half_the_last_stride_does_not_divide() -> None:
    with pytest.raises(UserError) as error:
        make("UMMAEViT", backbone=dict(VIT, img_size=12))
    assert str(error.value) == (
        "UMMAEViT packs images of 12 px into maps of 6 px, not a multiple of the last stride of PlainViT "
        "(4 px); make backbone.img_size a multiple of 8"
    )


def test_an_odd_grid_of_um_mae() -> None:
    """Images of another size than the model was made for."""
    message = refused_images("UMMAEViT", (12, 12), backbone=dict(VIT, img_size=16))
    assert message == "UM-MAE needs an even grid of patches, not 3x3; choose another image size"


@pytest.mark.parametrize("visible", [[(0, 0), (0, 1)], []])
def test_a_mask_of_um_mae_that_does_not_keep_one_patch_of_every_block(visible: list) -> None:
    model = make("UMMAE")
    mask = model.draw_mask(torch.zeros(2, 3, 16, 16))
    mask[1, :2, :2] = REMOVED
    for row, col in visible:
        mask[1, row, col] = 0
    with pytest.raises(UserError) as error:
        model.loss(torch.zeros(2, 3, 16, 16), mask)
    assert "exactly one visible patch per 2x2 block" in line(error)


@pytest.mark.parametrize("backbone", [PVT, VIT], ids=["UMPVT", "PlainViT"])
def test_mixmae_on_an_encoder_that_cannot_keep_two_images_apart(backbone: dict) -> None:
    message = refused_images("MixMAE", (16, 16), backbone=backbone)
    assert backbone["type"].removeprefix("mixmae_bench.") in message
    assert "does not support segment_ids" in message


def test_a_batch_of_one_image_is_refused_by_mixmae_alone() -> None:
    assert "batch of one image" in refused_images("MixMAE", (16, 16), batch=1)
    for method in FITTING:
        if method != "MixMAE":
            assert make(method)(torch.randn(1, 3, 16, 16), mode="loss")["loss"].isfinite()
