"""The MixMAE encoder beyond its recorded outputs: segment_ids, any input size, tables, depths, sizes."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from on_map import attend_on_map
from torch import Tensor, nn

from mixmae_bench.backbones.layers.positions import (
    resize_grid,
    resize_square_table,
    sincos_table,
    table_positions,
)
from mixmae_bench.backbones.layers.windows import spread
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.registry import MODELS

THREE = dict(embed_dim=8, depths=(1, 2, 1), num_heads=(2, 2, 4), window_size=(4, 4, 2))
FOUR = dict(embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=(8, 8, 4, 4))


def make(arch: dict = THREE, img_size: int = 32, seed: int = 0, **kwargs) -> MixMAESwin:
    """An encoder in float64 and eval mode, all of whose parameters (norms and biases too) are random."""
    torch.manual_seed(seed)
    backbone = MixMAESwin(arch, img_size, **kwargs).double().eval()
    for name, parameter in backbone.named_parameters():
        if name != "absolute_pos_embed":
            nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.3)
    return backbone


def make_images(height: int, width: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64)


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


def slow_encode(backbone: MixMAESwin, tokens: Tensor, segment_ids: Tensor | None = None) -> list[Tensor]:
    """`encode` step by step; only the window attention, which has tests of its own, is the module's."""
    maps = []
    for i, stage in enumerate(backbone.layers):
        H, W = tokens.shape[1:3]
        if segment_ids is not None:
            rows, cols = segment_ids.shape
            own = torch.tensor(
                [[segment_ids[y * rows // H, x * cols // W] for x in range(W)] for y in range(H)]
            )
        for block in stage.blocks:
            tokens = tokens + attend_on_map(
                block.attn, layer_norm(block.norm1, tokens), None if segment_ids is None else own
            )
            hidden = layer_norm(block.norm2, tokens) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            tokens = tokens + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
        maps.append(tokens)
        if i < len(backbone.layers) - 1:
            even = F.pad(tokens, (0, 0, 0, W % 2, 0, H % 2))
            four = [even[:, y::2, x::2] for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))]
            merged = layer_norm(stage.downsample.norm, torch.cat(four, dim=-1))
            tokens = merged @ stage.downsample.reduction.weight.T
    maps[-1] = layer_norm(backbone.norm, maps[-1])
    return maps


def slow_bicubic(table: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation (a = -0.75) between the centres of patches, borders repeated."""

    def weights(length: int, new_length: int) -> np.ndarray:
        out = np.zeros((new_length, length))
        for i in range(new_length):
            place = (i + 0.5) * length / new_length - 0.5
            for tap in range(math.floor(place) - 1, math.floor(place) + 3):
                d = abs(place - tap)
                near, far = (1.25 * d - 2.25) * d * d + 1, -0.75 * (((d - 5) * d + 8) * d - 4)
                out[i, min(max(tap, 0), length - 1)] += near if d <= 1 else far
        return out

    rows, cols = (torch.from_numpy(weights(*pair)) for pair in zip(size, new_size, strict=True))
    grid = table.double().view(*size, -1)
    return torch.einsum("ih,jw,hwc->ijc", rows, cols, grid).flatten(0, 1)


# --- segment_ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("group", [0, 1])
def test_changing_one_group_leaves_the_other_unchanged_bit_by_bit_at_every_stage(
    group: int, dtype: torch.dtype, grad: bool
) -> None:
    backbone = make(FOUR, img_size=128).to(dtype)
    segment_ids = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]])
    tokens = torch.randn(2, 32, 32, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    own = segment_ids.repeat_interleave(8, 0).repeat_interleave(8, 1) == group
    changed = torch.where(own[..., None], tokens.flip(0) * 3 + 1, tokens)

    with torch.set_grad_enabled(grad):
        before, after = backbone.encode(tokens, segment_ids), backbone.encode(changed, segment_ids)
    assert [m.shape[1] for m in before] == [32, 16, 8, 4]
    for a, b in zip(before, after, strict=True):
        inside = (
            segment_ids.repeat_interleave(a.shape[1] // 4, 0).repeat_interleave(a.shape[2] // 4, 1) == group
        )
        assert torch.equal(a[:, ~inside], b[:, ~inside])
        assert ((a - b).abs().amax(-1) > 1e-3)[:, inside].all()


def test_a_changed_patch_reaches_its_group_and_window_and_nothing_else() -> None:
    """Windows do not shift (M1): stage 0 has four of 8x8 tokens, stage 2 is one window."""
    backbone = make(dict(FOUR, depths=(2, 1, 1), num_heads=(1, 2, 2), window_size=(8, 8, 8)), img_size=64)
    segment_ids = torch.tensor([[0, 1, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    tokens = torch.randn(1, 16, 16, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    changed = tokens.clone()
    changed[:, :4, :4] *= -2  # a constant added to all channels would not pass the norms
    before, after = backbone.encode(tokens, segment_ids), backbone.encode(changed, segment_ids)

    reached = [(a - b).abs().amax(-1)[0] > 1e-6 for a, b in zip(before, after, strict=True)]
    near = torch.zeros(4, 4, dtype=torch.bool)
    near[:2, :2] = segment_ids[:2, :2] == 0
    assert torch.equal(reached[0], near.repeat_interleave(4, 0).repeat_interleave(4, 1))
    assert torch.equal(reached[2], segment_ids == 0)


def test_without_groups_both_images_of_a_mixture_see_each_other() -> None:
    backbone = make(FOUR, img_size=128)
    tokens = torch.randn(1, 32, 32, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    changed = tokens.clone()
    changed[:, :8, :8] *= -2
    before, after = backbone.encode(tokens), backbone.encode(changed)
    assert ((before[-1] - after[-1]).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("size", [(4, 4), (8, 4), (12, 20)])
def test_spread_repeats_every_patch(size: tuple[int, int]) -> None:
    segment_ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    out = spread(segment_ids, size)
    assert out.shape == size
    for y in range(size[0]):
        for x in range(size[1]):
            assert out[y, x] == segment_ids[y * 2 // size[0], x * 4 // size[1]]


@pytest.mark.parametrize("size", [(3, 4), (2, 6), (1, 4)])
def test_spread_refuses_a_grid_that_patches_do_not_divide(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2x4 map of segment IDs"):
        spread(torch.zeros(2, 4), size)


def test_encode_refuses_groups_finer_than_its_last_stage() -> None:
    with pytest.raises(ValueError, match="4x4 map of segment IDs"):
        make().encode(torch.zeros(1, 8, 8, 8, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.int64))


# --- any input size -------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (64, 16), (37, 53), (9, 30), (5, 3)])
def test_encoder_equals_its_definition_at_any_size(height: int, width: int) -> None:
    """Patches, positions, blocks, merging and norms one by one, in float64."""
    backbone = make(img_size=32, out_indices=(0, 1, 2))
    images = make_images(height, width)
    rows, cols = -(-height // 4), -(-width // 4)
    padded = F.pad(images, (0, cols * 4 - width, 0, rows * 4 - height))
    patches = padded.view(2, 3, rows, 4, cols, 4).permute(0, 2, 4, 1, 3, 5).flatten(3)
    proj = backbone.patch_embed.proj
    tokens = layer_norm(backbone.patch_embed.norm, patches @ proj.weight.flatten(1).T + proj.bias)
    torch.testing.assert_close(backbone.embed(images), tokens, rtol=0, atol=1e-12)

    positions = slow_bicubic(backbone.absolute_pos_embed[0], (8, 8), (rows, cols)).view(rows, cols, -1)
    expected = slow_encode(backbone, tokens + positions)
    expected[:2] = [layer_norm(backbone.out_norms[str(i)], expected[i]) for i in (0, 1)]
    out = backbone(images)
    for i, (ours, reference) in enumerate(zip(out, expected, strict=True)):
        stride = backbone.out_strides[i]
        assert stride == 4 * 2**i
        assert ours.shape == (2, 8 * 2**i, math.ceil(height / stride), math.ceil(width / stride))
        assert ours.is_contiguous()
        torch.testing.assert_close(ours, reference.permute(0, 3, 1, 2), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("patches", "size"), [((2, 2), (8, 8)), ((3, 2), (12, 8)), ((1, 3), (8, 24))])
def test_encode_with_groups_equals_its_definition(patches: tuple[int, int], size: tuple[int, int]) -> None:
    backbone = make(img_size=32)
    segment_ids = torch.arange(patches[0] * patches[1]).view(patches) * 5 % 3
    tokens = torch.randn(2, *size, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    positions = slow_bicubic(backbone.absolute_pos_embed[0], (8, 8), size).view(*size, -1)
    expected = slow_encode(backbone, tokens + positions, segment_ids)
    for ours, reference in zip(backbone.encode(tokens, segment_ids), expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=2e-5)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    backbone, images = make(), make_images(37, 53, batch=3)
    torch.testing.assert_close(backbone(images)[0][1:2], backbone(images[1:2])[0], rtol=0, atol=1e-12)


# --- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out_indices", "stages"), [((-1,), (2,)), ((0, 1, 2), (0, 1, 2)), ((1,), (1,)), ((2, 0), (2, 0))]
)
def test_out_indices_choose_stages_in_their_order(
    out_indices: tuple[int, ...], stages: tuple[int, ...]
) -> None:
    """Out norms start as identity: mean 0 and variance 1 of every token, as with no weights."""
    backbone, images = MixMAESwin(THREE, 32, out_indices=out_indices).eval(), make_images(32, 32).float()
    assert set(backbone.out_norms) == {str(i) for i in stages if i != 2}
    maps = backbone.encode(backbone.embed(images))
    out = backbone(images)
    assert len(out) == len(stages)
    for i, ours in zip(stages, out, strict=True):
        expected = maps[i] if i == 2 else F.layer_norm(maps[i], maps[i].shape[-1:])
        torch.testing.assert_close(ours, expected.permute(0, 3, 1, 2), rtol=0, atol=1e-5)


def test_encode_normalises_the_last_stage_only() -> None:
    backbone, images = make(out_indices=(0, 1, 2)), make_images(32, 32)
    maps = backbone.encode(backbone.embed(images))
    tokens = backbone.embed(images) + backbone.absolute_pos_embed.view(1, 8, 8, 8)
    for ours, expected in zip(maps, slow_encode(backbone, tokens), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("out_indices", [(3,), (0, 3), (-4,)])
def test_out_indices_beyond_the_stages_are_refused(out_indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="out_indices"):
        MixMAESwin(THREE, 32, out_indices=out_indices)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(arch="bse"), "unknown arch 'bse'"),
        (dict(arch="base", img_size=240), "img_size 240 .* multiple of 32"),
        (dict(arch=dict(THREE, embed_dim=6)), "divisible by 4"),
        (dict(arch=dict(THREE, num_heads=(2, 2))), "zip"),
    ],
)
def test_impossible_settings_are_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixMAESwin(**{"img_size": 32, **kwargs})


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (3, 5), (1, 7)])
def test_sincos_table_encodes_the_column_first_then_the_row(rows: int, cols: int) -> None:
    dim = 12
    table = sincos_table(dim, (rows, cols))
    assert table.dtype == torch.float32
    for y in range(rows):
        for x in range(cols):
            expected = [
                f(place / 10000 ** (4 * i / dim))
                for place in (x, y)
                for f in (math.sin, math.cos)
                for i in range(dim // 4)
            ]
            assert table[0, y * cols + x].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("new_size", [(8, 8), (5, 11), (16, 3), (1, 1)])
def test_resizing_a_grid_is_bicubic_between_patch_centres(new_size: tuple[int, int]) -> None:
    table = torch.randn(48, 5, generator=torch.Generator().manual_seed(0))
    ours = resize_grid(table, (8, 6), new_size).double()
    torch.testing.assert_close(ours, slow_bicubic(table, (8, 6), new_size), rtol=0, atol=1e-5)


def test_resizing_to_the_same_size_changes_nothing() -> None:
    table = torch.randn(49, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize_square_table(table, 49), table)


@pytest.mark.parametrize(("length", "rows"), [(48, 49), (49, 48)])
def test_resizing_what_is_no_square_is_refused(length: int, rows: int) -> None:
    with pytest.raises(ValueError, match=f"{length} rows to {rows}"):
        resize_square_table(torch.zeros(length, 2), rows)


def test_positions_of_its_own_size_are_the_table_itself() -> None:
    backbone = make(img_size=32)
    table = backbone.absolute_pos_embed
    assert torch.equal(table_positions(table, (8, 8), (8, 8), None), table.view(1, 8, 8, 8))
    assert table_positions(table, (8, 8), (4, 16), None).shape == (1, 4, 16, 8)


def test_positions_of_packed_tokens_are_those_of_their_places() -> None:
    table = torch.arange(12.0).view(1, 12, 1)
    places = torch.tensor([[[[0, 1], [2, 3]]], [[[1, 0], [0, 0]]]])
    assert table_positions(table, (3, 4), (1, 2), places).flatten().tolist() == [1, 11, 4, 0]


def test_resize_tables_resizes_positions_and_every_bias_table() -> None:
    small, large = make(img_size=16), make(dict(THREE, window_size=(8, 5, 3)), img_size=48, seed=1)
    state = small.state_dict()
    resized = large.resize_tables(state)
    tables = [name for name in state if name.endswith("bias_table")]
    assert len(tables) == 4
    assert sorted(resized) == sorted(["absolute_pos_embed", *tables])
    for name in tables:
        old, new = small.state_dict()[name], large.state_dict()[name]
        sides = [math.isqrt(len(old))] * 2, [math.isqrt(len(new))] * 2
        torch.testing.assert_close(state[name], slow_bicubic(old, *sides), rtol=0, atol=1e-5)
    expected = slow_bicubic(small.absolute_pos_embed[0], (4, 4), (12, 12))[None]
    torch.testing.assert_close(state["absolute_pos_embed"], expected, rtol=0, atol=1e-5)
    large.load_state_dict(state)


def test_resize_tables_leaves_tables_that_fit() -> None:
    state = make(img_size=32).state_dict()
    before = dict(state)
    assert make(img_size=32, seed=1).resize_tables(state) == []
    assert all(state[name] is before[name] for name in before)


# --- depths, sizes, initialisation ----------------------------------------------------------------

SCALES = {
    "absolute_pos_embed": 0.7**7,
    "patch_embed.": 0.7**7,
    "layers.0.blocks.0.": 0.7**6,
    "layers.0.downsample.": 0.7**5,
    "layers.1.blocks.0.": 0.7**5,
    "layers.1.blocks.1.": 0.7**4,
    "layers.1.downsample.": 0.7**3,
    "layers.2.blocks.0.": 0.7**3,
    "layers.2.blocks.1.": 0.7**2,
    "layers.2.downsample.": 0.7,
    "layers.3.blocks.0.": 0.7,
    "norm.": 0.7,
    "out_norms.": 0.7,
}
"""Official learning-rate scales of depths (1, 2, 2, 1) at layer_decay 0.7 (util/lr_decay.py, M10)."""


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_layer_depth_gives_the_official_scale_of_every_parameter(prefix: str) -> None:
    backbone = make(dict(FOUR, depths=(1, 2, 2, 1)), img_size=64, out_indices=(0, 1, 2, 3))
    used = set()
    for name, _ in backbone.named_parameters():
        (key,) = [key for key in SCALES if name.startswith(key)]
        used.add(key)
        depth, num_depths = backbone.get_layer_depth(prefix + name, prefix)
        assert 0.7 ** (num_depths - 1 - depth) == pytest.approx(SCALES[key], rel=1e-12), name
    assert used == set(SCALES)


def test_layer_depth_of_base_rises_block_by_block() -> None:
    """24 blocks are depths 1 to 24, the head is 25, whatever is not the backbone's is the head."""
    backbone = make(dict(FOUR, depths=(2, 2, 18, 2)), img_size=64)
    blocks = [f"layers.{s}.blocks.{b}.norm1.weight" for s, n in enumerate((2, 2, 18, 2)) for b in range(n)]
    assert [backbone.get_layer_depth(name) for name in blocks] == [(i, 26) for i in range(1, 25)]
    assert backbone.get_layer_depth("layers.2.downsample.norm.weight") == (23, 26)
    assert backbone.get_layer_depth("head.fc.weight", "backbone.") == (25, 26)


@pytest.mark.parametrize(
    ("kwargs", "count"),
    [
        (dict(arch="base"), 87_319_352),
        (dict(arch="large"), 195_859_668),
        (dict(arch="huge"), 656_445_658),
        (
            dict(
                arch=dict(
                    embed_dim=128,
                    depths=(2, 2, 18, 2),
                    num_heads=(4, 8, 16, 32),
                    window_size=(16, 16, 24, 12),
                ),
                img_size=384,
            ),
            88_552_440,
        ),
    ],
    ids=["base", "large", "huge", "base at 384"],
)
def test_encoders_have_the_official_number_of_parameters(
    kwargs: dict, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device 'meta', so that nothing is filled; drop path rates are numbers all the same."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        backbone = MixMAESwin(**kwargs)
    assert sum(p.numel() for p in backbone.parameters()) == count


def test_drop_path_rises_linearly_over_all_blocks() -> None:
    backbone = make(dict(FOUR, depths=(1, 2, 2, 1)), img_size=64, drop_path_rate=0.5)
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for stage in backbone.layers for b in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_linear_layers_start_xavier_uniform_with_zero_biases() -> None:
    """And the patch embedding as PyTorch makes it (M7)."""
    torch.manual_seed(0)
    backbone = MixMAESwin(dict(THREE, embed_dim=32), 32)
    linears = [m for m in backbone.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == 4 * 4 + 2
    for linear in linears:
        bound = math.sqrt(6 / (linear.in_features + linear.out_features))
        assert 0.97 * bound < linear.weight.abs().max() <= bound * (1 + 1e-6)
        assert linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert linear.bias is None or not linear.bias.any()
    assert backbone.patch_embed.proj.bias.abs().max() > 0.01
    assert not backbone.absolute_pos_embed.requires_grad


def test_init_weights_without_a_checkpoint_keeps_the_weights() -> None:
    backbone = make()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone.init_weights()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_the_registry_builds_it_from_any_openmmlab_config() -> None:
    from mmengine.registry import MODELS as ROOT

    config = dict(type="mixmae_bench.MixMAESwin", arch=THREE, img_size=32)
    assert type(ROOT.build(config)) is type(MODELS.build(config)) is MixMAESwin
