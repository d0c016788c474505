"""MixMAE: what is mixed with what, what is predicted from what, the loss."""

import math

import pytest
import torch
from torch import Tensor

from mixmae_bench.errors import UserError
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.methods.pixels import normalise_patches, patchify

CELL = 8
ARCH = dict(embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=(4, 4))
MASK = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def make(img_size: int = 24, seed: int = 0, **kwargs) -> MixMAE:
    torch.manual_seed(seed)
    return MixMAE(
        backbone=dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=img_size),
        decoder=dict(dim=16, depth=1, num_heads=2),
        **kwargs,
    ).eval()


def make_images(batch: int, size: int = 24) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))


def slow_target(images: Tensor, norm_pix_loss: bool) -> Tensor:
    """Patches (B, rows, cols, values) in float64, values in the order row, column, colour."""
    B, _, H, W = images.shape
    out = torch.zeros(B, H // CELL, W // CELL, CELL * CELL * 3, dtype=torch.float64)
    for b in range(B):
        for i in range(H // CELL):
            for j in range(W // CELL):
                patch = images[b, :, i * CELL : (i + 1) * CELL, j * CELL : (j + 1) * CELL].double()
                values = torch.stack(
                    [patch[c, y, x] for y in range(CELL) for x in range(CELL) for c in range(3)]
                )
                if norm_pix_loss:
                    mean = values.sum() / len(values)
                    variance = (values - mean).square().sum() / (len(values) - 1)
                    values = (values - mean) / math.sqrt(variance + 1e-6)
                out[b, i, j] = values
    return out


# --- the mask -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "size", "ones"),
    [(0.5, (24, 24), 4), (0.5, (32, 32), 8), (0.25, (24, 24), 2), (0.99, (24, 24), 8), (0.6, (16, 40), 6)],
)
def test_mask_has_the_ratio_of_its_patches_rounded_down(
    ratio: float, size: tuple[int, int], ones: int
) -> None:
    model = make(mask_ratio=ratio)
    for _ in range(5):
        mask = model.draw_mask(torch.zeros(2, 3, *size))
        assert mask.shape == (size[0] // CELL, size[1] // CELL)
        assert mask.dtype == torch.int64
        assert mask.sum() == (mask == 1).sum() == ones


def test_masks_differ_between_draws_and_every_patch_is_hit_equally_often() -> None:
    model, images = make(mask_ratio=0.5), torch.zeros(2, 3, 32, 32)
    masks = torch.stack([model.draw_mask(images) for _ in range(2000)])
    assert len(torch.unique(masks.flatten(1), dim=0)) > 1800
    share = masks.float().mean(0)
    assert (share - 0.5).abs().max() < 5 * 0.5 / math.sqrt(2000)


def test_the_seed_fixes_the_masks() -> None:
    model, images = make(), torch.zeros(2, 3, 64, 64)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(torch.stack([model.draw_mask(images) for _ in range(3)]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, math.nan])
def test_mask_ratio_outside_0_and_1_is_a_user_error(ratio: float) -> None:
    with pytest.raises(UserError, match="mask_ratio") as error:
        make(mask_ratio=ratio)
    assert "\n" not in str(error.value)


# --- who is mixed with whom -----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_the_partner_of_image_b_is_image_batch_minus_1_minus_b(batch: int) -> None:
    """Every row of the prediction hears one image: row b image b, row batch + b its partner's."""
    model, images = make(), make_images(batch)
    before = model.predict(images, MASK)
    assert before.shape == (2 * batch, 9, CELL * CELL * 3)
    for b in range(batch):
        changed = images.clone()
        changed[b] = changed[b] * -2 + 1
        moved = (model.predict(changed, MASK) - before).abs().flatten(1).amax(1)
        assert (moved > 1e-3).nonzero().flatten().tolist() == [b, batch + batch - 1 - b]
        assert (moved > 1e-5).sum() == 2


@pytest.mark.parametrize("batch", [2, 3])
def test_without_group_isolation_partners_would_hear_each_other(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above sees isolation, and not just tokens that never meet."""
    model, images = make(), make_images(batch)
    encode = model.backbone.encode
    monkeypatch.setattr(model.backbone, "encode", lambda tokens, segment_ids: encode(tokens))
    changed = images.clone()
    changed[0] = changed[0] * -2 + 1
    moved = (model.predict(changed, MASK) - model.predict(images, MASK)).abs().flatten(1).amax(1)
    assert (moved > 1e-3).nonzero().flatten().tolist() == sorted({0, batch - 1, batch, 2 * batch - 1})


def test_mixture_holds_own_tokens_at_0_and_the_partners_at_1(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = make(), make_images(4)
    seen = []
    encode = model.backbone.encode
    monkeypatch.setattr(model.backbone, "encode", lambda *a, **k: seen.append((a, k)) or encode(*a, **k))
    model.predict(images, MASK)
    (((mixed,), kwargs),) = seen
    assert torch.equal(kwargs["segment_ids"], MASK)
    tokens = model.backbone.embed(images)
    for b in range(4):
        for y in range(6):
            for x in range(6):
                source = 3 - b if MASK[y // 2, x // 2] else b
                assert torch.equal(mixed[b, y, x], tokens[source, y, x])


# --- what is predicted from what ------------------------------------------------------------------


@pytest.mark.parametrize("batch", [3, 4])
def test_every_patch_is_predicted_once_from_a_mixture_in_which_it_was_hidden(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss reads, for image b, row b where the mask is 1 and row 2 * batch - 1 - b where it is 0.

    What it reads for a patch depends on the patches of the same image that have the other mask value, on each
    of them, and on nothing else: not on the patch itself, nor on any other image.
    """
    model, images = make(), make_images(batch)
    prediction = model.predict(images, MASK).detach().requires_grad_()
    monkeypatch.setattr(model, "predict", lambda *args: prediction)
    model.loss(images, MASK).backward()
    monkeypatch.undo()
    read = (prediction.grad != 0).any(-1)
    mask = MASK.flatten()
    expected = torch.zeros_like(read)
    for b in range(batch):
        expected[b, mask == 1] = True
        expected[2 * batch - 1 - b, mask == 0] = True
    assert torch.equal(read, expected)
    assert read.sum() == batch * len(mask)

    images.requires_grad_()
    prediction = model.predict(images, MASK)
    for row, patch in read.nonzero().tolist():
        source = row if row < batch else 2 * batch - 1 - row
        (grad,) = torch.autograd.grad(prediction[row, patch].sum(), images, retain_graph=True)
        heard = (patchify(grad, CELL) != 0).any(-1)
        expected = torch.zeros_like(heard)
        expected[source] = mask != mask[patch]
        assert torch.equal(heard, expected)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("batch", [2, 3])
def test_loss_is_the_mean_squared_error_over_all_patches_of_all_images(
    batch: int, norm_pix_loss: bool
) -> None:
    model, images = make(norm_pix_loss=norm_pix_loss), make_images(batch) * 2 + 0.3
    prediction = model.predict(images, MASK).double().view(2 * batch, 3, 3, -1)
    target = slow_target(images, norm_pix_loss)
    total, count = 0.0, 0
    for b in range(batch):
        for i in range(3):
            for j in range(3):
                row = b if MASK[i, j] else 2 * batch - 1 - b
                total += (prediction[row, i, j] - target[b, i, j]).square().sum().item()
                count += target.shape[-1]
    loss = model.loss(images, MASK)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(("batch", "height", "width"), [(2, 24, 24), (1, 16, 32)])
def test_patches_are_row_column_colour(batch: int, height: int, width: int) -> None:
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    patches = patchify(images, CELL)
    assert torch.equal(patches.double(), slow_target(images, False).flatten(1, 2))
    normalised = slow_target(images, True).flatten(1, 2)
    torch.testing.assert_close(normalise_patches(patches).double(), normalised, rtol=0, atol=1e-5)


def test_the_middle_image_of_an_odd_batch_is_mixed_with_itself() -> None:
    model, images = make(), make_images(3)
    alone = images[[1, 1]]
    both, middle = model.predict(images, MASK), model.predict(alone, MASK)
    torch.testing.assert_close(both[[1, 4]], middle[[0, 2]], rtol=0, atol=1e-5)


def test_a_batch_of_one_is_a_user_error() -> None:
    model = make()
    for call in (model.predict, model.loss):
        with pytest.raises(UserError, match="batch of one image") as error:
            call(make_images(1), MASK)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="batch of one image"):
        model(make_images(1), mode="loss")


# --- the loss in use ------------------------------------------------------------------------------


def test_normalised_loss_of_a_constant_patch_is_finite_in_value_and_gradient() -> None:
    model, images = make(norm_pix_loss=True), make_images(2)
    images[0, :, :CELL, :CELL] = 0.7
    images[1] = 0.0
    loss = model.loss(images, MASK)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    assert normalise_patches(torch.full((1, 1, 192), 3.0)).abs().max() == 0


def test_loss_under_bf16_autocast_is_near_float32() -> None:
    model, images = make(), make_images(4)
    full = model.loss(images, MASK)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.loss(images, MASK)
        assert model.predict(images, MASK).dtype == torch.bfloat16
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(full.item(), rel=5e-3)
    low.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_every_trainable_parameter_gets_a_gradient_and_the_tables_do_not() -> None:
    model = make()
    model.loss(make_images(3), MASK).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"backbone.absolute_pos_embed", "decoder.pos_embed"}


def test_forward_draws_the_mask_and_gives_the_loss_or_the_prediction() -> None:
    model, images = make(), make_images(4)
    torch.manual_seed(5)
    mask = model.draw_mask(images)
    torch.manual_seed(5)
    losses = model(images, mode="loss")
    assert set(losses) == {"loss"}
    assert torch.equal(losses["loss"], model.loss(images, mask))
    torch.manual_seed(5)
    assert torch.equal(model(images), model.predict(images, mask))
    assert model(images, mode="loss")["loss"] != losses["loss"]


def test_twenty_steps_on_four_images_lower_the_loss_clearly() -> None:
    model = make().train()
    place = torch.linspace(-1, 1, 24)
    waves = [torch.sin(a * place[:, None] + b * place[None, :]) for a, b in ((3, 1), (1, 3), (2, 2), (3, -2))]
    images = torch.stack(waves)[:, None].repeat(1, 3, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with torch.no_grad():
        before = model.loss(images, MASK).item()
    for _ in range(20):
        optimizer.zero_grad()
        model.loss(images, MASK).backward()
        optimizer.step()
    with torch.no_grad():
        after = model.loss(images, MASK).item()
    assert before > 1.0
    assert after < 0.6 * before
