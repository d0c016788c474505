"""GreenMIM against a reference on whole maps in float64, in which masked tokens are excluded by a mask."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from mixmae_bench.backbones.layers.forms import attention_form
from mixmae_bench.cost import count
from mixmae_bench.cost.models import pretraining_call
from mixmae_bench.errors import UserError
from mixmae_bench.methods.greenmim import GreenMIM
from mixmae_bench.registry import MODELS

PATCH = 2
ARCH = dict(embed_dim=8, depths=(2, 2, 1), num_heads=(2, 2, 2))  # patches of 4x4, 2x2 and 1x1 tokens
DECODER = dict(dim=16, depth=2, num_heads=2)


def make(encoder: str = "Swin", side: int = 40, window: int = 4, **kwargs: object) -> GreenMIM:
    """A model in float64, all parameters of which matter."""
    torch.manual_seed(0)
    arch = ARCH if encoder == "Swin" else dict(ARCH, window_size=(window, window, window))
    own = dict(window_size=window, ape=True) if encoder == "Swin" else {}
    backbone = dict(type=f"mixmae_bench.{encoder}", arch=arch, img_size=side, patch_size=PATCH, **own)
    model = GreenMIM(backbone, DECODER, **kwargs).double().eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


def make_images(side: int = 40, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, side, side, generator=generator, dtype=torch.float64)


def draw(model: GreenMIM, images: Tensor, seed: int = 0) -> Tensor:
    set_random_seed(seed)
    return model.draw_mask(images)


def softmax_attention(x: Tensor, attn: nn.Module, heads: int, bias: Tensor | float) -> Tensor:
    """Attention of tokens (B, L, C) with a bias (heads, L, L), step by step."""
    B, L, C = x.shape
    q, k, v = attn.qkv(x).view(B, L, 3, heads, C // heads).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(C // heads) + bias).softmax(-1)
    return attn.proj((weights @ v).transpose(1, 2).reshape(B, L, C))


def mlp(x: Tensor, own: nn.Module) -> Tensor:
    return own.fc2(F.gelu(own.fc1(x)))


def bias_of(attn: nn.Module, side: int, hidden: Tensor) -> Tensor:
    """The bias (heads, L, L) of a whole map: -inf between windows, and from visible to masked tokens."""
    window = attn.window_size
    bias = torch.full((attn.num_heads, side**2, side**2), -math.inf, dtype=torch.float64)
    shift = window // 2 if attn.shifted and side > window else 0

    def number(y: int) -> int:
        return math.floor((y - shift) / window) if side > window else 0

    for query in range(side**2):
        for key in range(side**2):
            (y, x), (v, u) = divmod(query, side), divmod(key, side)
            alike = number(y) == number(v) and number(x) == number(u)
            if query == key or (alike and not hidden[v, u]):
                row = (y - v + window - 1) * (2 * window - 1) + x - u + window - 1
                bias[:, query, key] = attn.relative_position_bias_table[row]
    return bias


def reference_features(model: GreenMIM, images: Tensor, mask: Tensor) -> Tensor:
    """The last map (B, h, w, C) of a forward pass on whole maps; masked patches are meaningless."""
    backbone = model.backbone
    x = F.conv2d(images, backbone.patch_embed.proj.weight, backbone.patch_embed.proj.bias, stride=PATCH)
    x = backbone.patch_embed.norm(x.permute(0, 2, 3, 1))
    x = x + backbone.absolute_pos_embed.view(x.shape[1:])
    for stage in backbone.layers:
        side, batch = x.shape[1], len(x)
        hidden = mask.repeat_interleave(side // len(mask), 0).repeat_interleave(side // len(mask), 1)
        x = x.flatten(1, 2)
        for block in stage.blocks:
            bias = bias_of(block.attn, side, hidden)
            x = x + softmax_attention(block.norm1(x), block.attn, block.attn.num_heads, bias)
            x = x + mlp(block.norm2(x), block.mlp)
        x = x.view(batch, side, side, -1)
        if stage.downsample is not None:
            corners = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
            x = stage.downsample.reduction(stage.downsample.norm(torch.cat(corners, dim=-1)))
    return backbone.norm(x)


def reference_loss(model: GreenMIM, images: Tensor, mask: Tensor) -> Tensor:
    decoder, size = model.decoder, model.mask_patch_size
    x = decoder.embed(reference_features(model, images, mask)).flatten(1, 2)
    x = torch.where(mask.flatten()[:, None], decoder.mask_token, x) + decoder.pos_embed
    for block in decoder.blocks:
        x = x + softmax_attention(block.norm1(x), block.attn, DECODER["num_heads"], 0.0)
        x = x + mlp(block.norm2(x), block.mlp)
    predicted = decoder.pred(decoder.norm(x))
    total, number = 0, 0
    for i, j in mask.nonzero().tolist():
        own = (
            images[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size].permute(0, 2, 3, 1).flatten(1)
        )
        if model.norm_pix_loss:
            own = (own - own.mean(1, keepdim=True)) / (own.var(1, keepdim=True) + 1e-6).sqrt()
        total = total + (predicted[:, i * len(mask) + j] - own).square().sum()
        number += own.numel()
    return total / number


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize(
    ("encoder", "side", "window"),
    # Maps of 20, 10 and 5 tokens per side, or 12, 6 and 3.
    [("Swin", 40, 4), ("Swin", 24, 5), ("Swin", 24, 3), ("MixMAESwin", 40, 7), ("MixMAESwin", 24, 6)],
)
def test_loss_and_gradients_are_those_of_whole_maps_without_masked_tokens(
    encoder: str, side: int, window: int, norm_pix_loss: bool
) -> None:
    model, images = make(encoder, side, window, norm_pix_loss=norm_pix_loss), make_images(side)
    mask = draw(model, images)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def outcome(loss: Tensor) -> list[Tensor]:
        return [loss, *torch.autograd.grad(loss, parameters)]

    expected = outcome(reference_loss(model, images, mask))
    for form in ("segments", "plain"):
        with attention_form(form):
            ours = outcome(model.loss(images, mask))
        for own, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("encoder", ["MixMAESwin", "Swin", "UMSwin"])
def test_visible_patches_of_a_mask_that_hides_a_single_one_are_encoded_as_usual_far_from_it(
    encoder: str,
) -> None:
    """Windows that contain no masked token give the features of an unmasked map."""
    torch.manual_seed(0)
    arch = dict(embed_dim=8, depths=(2, 1), num_heads=(2, 2))
    arch = dict(arch, window_size=(4, 2)) if encoder == "MixMAESwin" else arch
    own = {} if encoder == "MixMAESwin" else dict(window_size=2)
    backbone = dict(type=f"mixmae_bench.{encoder}", arch=arch, img_size=32, **own)
    model = GreenMIM(backbone, DECODER).double().eval()
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[3, 3] = True
    tokens = model.backbone.embed(make_images(32))
    patches, coords = model._visible(mask, 2)
    shown = tokens[:, coords[..., 0], coords[..., 1]]
    features = model.backbone.encode(shown, visible=coords)[-1].flatten(1, 2)
    whole = model.backbone.encode(tokens)[-1].flatten(1, 2)
    assert patches.tolist() == list(range(15))
    near = [8 + 2, 8 + 3, 12 + 2]  # and their neighbours within two windows
    far = [0, 1, 4, 5]
    torch.testing.assert_close(features[:, far], whole[:, far], rtol=0, atol=1e-12)
    assert not torch.allclose(features[:, near[0]], whole[:, near[0]], atol=1e-6)


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 6), (0.5, 12), (0.6, 10), (0.9, 2)])
def test_the_number_of_visible_patches_is_rounded_down(ratio: float, visible: int) -> None:
    model = make(mask_ratio=ratio)
    masks = [draw(model, make_images(), seed) for seed in range(50)]
    assert {mask.shape for mask in masks} == {(5, 5)}
    assert {int((~mask).sum()) for mask in masks} == {visible}
    shown = torch.stack([~mask for mask in masks]).sum(0)
    assert shown.min() > 0  # every patch is visible in some mask
    if visible < 12:
        assert shown.max() < 50


def test_a_ratio_that_leaves_no_patch_is_one_line() -> None:
    with pytest.raises(UserError, match="less than one patch; choose another ratio") as error:
        draw(make(mask_ratio=0.97), make_images())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoder", ["PlainViT", "UMPVT"])
def test_an_encoder_without_windows_is_one_line(encoder: str) -> None:
    arch = {
        "PlainViT": dict(arch=dict(embed_dim=16, depth=1, num_heads=2), patch_size=4),
        "UMPVT": dict(
            arch=dict(
                embed_dims=(16, 24), depths=(1, 1), num_heads=(2, 2), mlp_ratios=(2, 2), sr_ratios=(2, 1)
            )
        ),
    }
    model = GreenMIM(dict(type=f"mixmae_bench.{encoder}", img_size=32, **arch[encoder]), DECODER)
    with pytest.raises(UserError, match=f"{encoder} .*does not support segment_ids or visible") as error:
        model(torch.zeros(2, 3, 32, 32), mode="loss")
    assert "\n" not in str(error.value)


def test_pictures_show_the_visible_patches_and_the_prediction_of_the_others() -> None:
    model, images = make(), make_images()
    mask = draw(model, images)
    pictures = model.pictures(images, mask)
    assert list(pictures) == ["visible input", "reconstruction"]
    hidden = mask.repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(pictures["visible input"], images * ~hidden)
    shown = pictures["reconstruction"]
    torch.testing.assert_close(shown[..., ~hidden], images[..., ~hidden].to(shown.dtype))
    assert (shown - images)[..., hidden].abs().min() > 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops_do_not_depend_on_the_drawn_mask_and_are_below_those_of_simmim(device: str) -> None:
    arch = dict(embed_dim=32, depths=(2, 2, 2), num_heads=(1, 2, 4))
    backbone = dict(type="mixmae_bench.Swin", arch=arch, window_size=4, img_size=64)
    flops = []
    for seed in (0, 1):
        set_random_seed(seed)
        model = GreenMIM(backbone, DECODER).eval().to(device)
        call = pretraining_call(model, torch.zeros(1, 3, 64, 64, device=device))
        flops.append(count(model, *call.inputs, forward=call.forward))
    assert flops[0] == flops[1]
    encoder = flops[0].by_module["backbone"]
    # 16 patches of 4x4 tokens at first, 4 of them visible; merging reads 4 * width and writes 2 * width.
    linear = 16 * 16 * 48 * 32
    for stage, width in enumerate((32, 64, 128)):
        tokens = 4 * 16 // 4**stage
        linear += 2 * tokens * 12 * width**2 + (tokens // 4 * 8 * width**2 if stage < 2 else 0)
    logits = encoder - linear
    assert 0 < logits < 0.1 * linear
    simmim = MODELS.build(dict(type="mixmae_bench.SimMIM", backbone=backbone, mask_patch_size=16)).eval()
    call = pretraining_call(simmim, torch.zeros(1, 3, 64, 64))
    dense = count(simmim, *call.inputs, forward=call.forward).by_module["backbone"]
    assert encoder < 0.27 * dense
