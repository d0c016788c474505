"""What holds for every pretraining method on every encoder that it runs on."""

import functools
from collections.abc import Callable

import pytest
import torch
from mmengine.runner import set_random_seed
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.backbones.swin import Swin
from mixmae_bench.backbones.um_swin import UMSwin
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.methods.um_mae import UMMAE, VISIBLE, packed_coords
from mixmae_bench.registry import MODELS

SIZE = 32
SWIN = dict(embed_dim=16, depths=(2, 1), num_heads=(2, 2))
PVT = dict(embed_dims=(16, 24), depths=(1, 1), num_heads=(2, 2), mlp_ratios=(2, 2), sr_ratios=(4, 2))
# Strides 4 and 8 (PlainViT: 8); windows of 4 tokens in stages of 8x8 and 4x4, shifted in Swin and UMSwin.
ENCODERS = {
    "MixMAESwin": dict(arch=dict(SWIN, window_size=(4, 4))),
    "Swin": dict(arch=SWIN, window_size=4),
    "UMSwin": dict(arch=SWIN, window_size=4),
    "UMPVT": dict(arch=PVT),
    "PlainViT": dict(arch=dict(embed_dim=16, depth=2, num_heads=2), patch_size=8),
    "HiViT": dict(arch=dict(embed_dims=(8, 16, 32), depths=(1, 1, 2), num_heads=2), patch_size=2),
}
DECODER = dict(dim=16, depth=1, num_heads=2)
MODELS_OF = {
    "MixMAE": (dict(decoder=DECODER), ["MixMAESwin", "Swin", "UMSwin"]),
    "SimMIM": (dict(mask_patch_size=8), list(ENCODERS)),
    "GreenMIM": (dict(decoder=DECODER), ["MixMAESwin", "Swin", "UMSwin"]),
    "UMMAE": (dict(decoder=DECODER, mask_patch_size=4), ["MixMAESwin", "Swin", "UMSwin", "UMPVT"]),
    "UMMAEViT": (dict(decoder=DECODER, mask_patch_size=8), ["PlainViT"]),
    "UMSimMIM": (dict(mask_patch_size=4), ["MixMAESwin", "Swin", "UMSwin", "UMPVT"]),
}
"""Arguments of every method, and the encoders that it runs on."""
PAIRS = [(method, encoder) for method, (_, encoders) in MODELS_OF.items() for encoder in encoders]
FIXED_SIZE = ("MixMAE", "UMMAE", "UMMAEViT", "GreenMIM")
"""Methods whose decoder has a position table."""

every = pytest.mark.parametrize(("method", "encoder"), PAIRS, ids=[f"{m} on {e}" for m, e in PAIRS])


def make(method: str, encoder: str, **backbone: object) -> Method:
    """A model in float64 and eval mode."""
    torch.manual_seed(0)
    backbone = dict(type=f"mixmae_bench.{encoder}", img_size=SIZE, **ENCODERS[encoder], **backbone)
    kwargs, _ = MODELS_OF[method]
    return MODELS.build(dict(type=f"mixmae_bench.{method}", backbone=backbone, **kwargs)).double().eval()


def make_images(batch: int = 3, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, size, size, generator=generator, dtype=torch.float64)


def draw(model: Method, images: Tensor, seed: int = 0) -> Tensor:
    set_random_seed(seed)
    return model.draw_mask(images)


def in_pixels(mask: Tensor) -> Tensor:
    """Enlarge a mask (..., h, w) to the size of the images."""
    scale = SIZE // mask.shape[-1]
    return mask.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


def shown(model: Method, mask: Tensor, batch: int) -> Tensor:
    """Which pixels each row of a prediction may hear: bool (rows, batch, H, W)."""
    if isinstance(model, MixMAE):
        out = torch.zeros(2 * batch, batch, SIZE, SIZE, dtype=torch.bool)
        for b in range(batch):  # mixture b holds image b where the mask is 0, its partner where it is 1
            out[b, b] = in_pixels(mask == 0)
            out[batch + b, batch - 1 - b] = in_pixels(mask == 1)
        return out
    visible = mask == VISIBLE if isinstance(model, UMMAE) else ~mask
    return torch.eye(batch, dtype=torch.bool)[..., None, None] & in_pixels(visible)


def test_no_method_of_the_package_is_left_out() -> None:
    MODELS.get("mixmae_bench.MixMAE")  # imports the package's modules
    ours = {
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, Method) and cls.__module__.startswith("mixmae_bench.")
    }
    assert set(MODELS_OF) == ours


@every
def test_loss_is_a_finite_scalar_and_reaches_every_trainable_parameter(method: str, encoder: str) -> None:
    model, images = make(method, encoder).float(), make_images().float()
    loss = model.loss(images, draw(model, images))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif name.endswith("posmlp.2.bias"):  # adds a constant to whole softmax rows (U4)
            assert parameter.grad.abs().max() < 1e-7, name
        else:
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-7, name


@every
def test_a_prediction_hears_exactly_what_the_mask_shows(method: str, encoder: str) -> None:
    model, images = make(method, encoder), make_images().requires_grad_()
    mask = draw(model, images)
    prediction = model.predict(images, mask)
    expected = shown(model, mask, len(images))
    assert len(prediction) == len(expected)
    for row, pixels in zip(prediction, expected, strict=True):
        (grad,) = torch.autograd.grad(row.square().sum(), images, retain_graph=True)
        assert torch.equal((grad != 0).any(1), pixels)


@every
def test_the_seed_fixes_mask_and_loss(method: str, encoder: str) -> None:
    model, images = make(method, encoder), make_images()
    assert torch.equal(draw(model, images, seed=1), draw(model, images, seed=1))
    assert not torch.equal(draw(model, images, seed=1), draw(model, images, seed=2))
    losses = []
    for seed in (1, 1, 2):
        set_random_seed(seed)
        losses.append(model(images, mode="loss")["loss"])
    assert losses[0] == losses[1] == model.loss(images, draw(model, images, seed=1))
    assert losses[0] != losses[2]


@every
def test_drop_path_acts_in_training_alone(method: str, encoder: str) -> None:
    model, images = make(method, encoder, drop_path_rate=0.5), make_images()
    mask = draw(model, images)
    assert model.loss(images, mask) == model.loss(images, mask)
    model.train()
    assert len({model.loss(images, mask).item() for _ in range(5)}) > 1


@every
def test_float32_and_bfloat16_give_the_loss_of_float64_to_their_rounding(method: str, encoder: str) -> None:
    model, images = make(method, encoder), make_images()
    mask = draw(model, images)
    exact = model.loss(images, mask)
    model, images = model.float(), images.float()
    single = model.loss(images, mask)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(images, mask)
        assert model.predict(images, mask).dtype == torch.bfloat16
    assert single.dtype == half.dtype == torch.float32
    assert single.item() == pytest.approx(exact.item(), rel=1e-5)
    assert half.item() == pytest.approx(exact.item(), rel=1e-2)


@every
def test_the_order_of_the_batch_does_not_matter(method: str, encoder: str) -> None:
    """For MixMAE where partners stay partners: its mask is one for all, its partner the mirrored image.

    GreenMIM's mask is one for all as well.
    """
    model, images = make(method, encoder), make_images(4)
    mask = draw(model, images)
    prediction = model.predict(images, mask)
    if method == "MixMAE":
        order = torch.tensor([2, 0, 3, 1])
        expected = prediction[torch.cat([order, 4 + order])]
    else:
        order = torch.tensor([2, 0, 1, 3])
        expected = prediction[order]
        mask = mask if method == "GreenMIM" else mask[order]
    torch.testing.assert_close(model.predict(images[order], mask), expected, rtol=0, atol=1e-12)


@every
def test_a_size_that_does_not_fit_is_one_line(method: str, encoder: str) -> None:
    model = make(method, encoder)
    sizes = [36, 4] + [48, 64] * (method in FIXED_SIZE)
    for size in sizes:
        with pytest.raises(UserError, match=f"{method} got images of") as error:
            model(make_images(size=size), mode="loss")
        assert "\n" not in str(error.value)
    if method not in FIXED_SIZE:
        assert model(make_images(size=48), mode="loss")["loss"].isfinite()


# --- packed maps of UM-MAE on encoders that have tables ---------------------------------------------


@functools.cache
def packed() -> tuple[Tensor, Tensor]:
    """Tokens (2, 4, 4, 16) of a whole map of 8x8, and where they come from."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(4, (2, 4, 4), generator=generator)
    places = torch.stack(packed_coords(torch.nn.functional.one_hot(corner, 4).bool(), 1), dim=-1)
    return torch.randn(2, 4, 4, 16, generator=generator, dtype=torch.float64), places


def swin_with_positions() -> Swin:
    return Swin(SWIN, window_size=4, img_size=SIZE, ape=True)


@pytest.mark.parametrize(
    "build",
    [lambda: MixMAESwin(dict(SWIN, window_size=(4, 4)), SIZE), swin_with_positions],
    ids=["MixMAE", "Swin"],
)
def test_packed_tokens_take_absolute_positions_of_where_they_come_from_and_relative_ones_of_where_they_are(
    build: Callable[[], MixMAESwin | Swin],
) -> None:
    torch.manual_seed(0)
    backbone, (tokens, places) = build().double().eval(), packed()
    ours = backbone.encode(tokens, coords=places)
    table = backbone.absolute_pos_embed.detach().view(8, 8, -1)
    placed = tokens + table[places[..., 0], places[..., 1]]
    backbone.absolute_pos_embed.data.zero_()
    for a, b in zip(ours, backbone.encode(placed), strict=True):  # as a small whole image
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_relative_positions_of_um_mae_s_swin_are_those_of_where_tokens_come_from() -> None:
    torch.manual_seed(0)
    backbone, (tokens, places) = UMSwin(SWIN, window_size=4, img_size=SIZE).double().eval(), packed()
    ours = backbone.encode(tokens, coords=places)[-1]
    torch.testing.assert_close(backbone.encode(tokens, coords=places + 10)[-1], ours, rtol=0, atol=1e-12)
    assert not torch.allclose(backbone.encode(tokens)[-1], ours, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "encoder"),
    [("MixMAE", "MixMAESwin"), ("SimMIM", "Swin"), ("UMMAE", "UMSwin"), ("SimMIM", "UMPVT")],
)
def test_torch_compile_serves_all_masks_with_what_it_compiled_for_the_first(
    method: str, encoder: str
) -> None:
    torch.compiler.reset()
    model, images = make(method, encoder).train(), make_images()
    counter = CompileCounter()
    compiled = torch.compile(model.forward, backend=counter)
    frames = []
    for seed in range(4):
        found = []
        for forward in (model.forward, compiled):
            set_random_seed(seed)
            model.zero_grad()
            loss = forward(images, mode="loss")["loss"]
            loss.backward()
            found.append([loss, *(p.grad for p in model.parameters() if p.grad is not None)])
        torch.testing.assert_close(found[1], found[0])
        frames.append(counter.frame_count)
    assert frames[0] > 0
    assert len(set(frames)) == 1
