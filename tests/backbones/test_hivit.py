"""HiViT: sizes of its maps, layer depths, and arguments that it does not support."""

import pytest
import torch
from encoders import make_encoder

from mixmae_bench.backbones.timm_parts.depths import forward_order
from mixmae_bench.errors import UserError


def test_maps_have_the_size_of_their_stride_at_any_size() -> None:
    encoder = make_encoder("HiViT").float()
    with torch.no_grad():
        maps = encoder(torch.randn(2, 3, 50, 38))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 25, 19), (16, 13, 10), (32, 7, 5)]
    assert encoder.out_strides == [2, 4, 8]
    assert encoder.out_channels == [8, 16, 32]


def test_depths_never_decrease_in_forward_order() -> None:
    encoder = make_encoder("HiViT")
    order = forward_order(encoder, (64, 64), 3)
    assert set(order) == {name for name, _ in encoder.named_parameters()}
    out_norms = [name for name in order if name.startswith(("out_norms.", "norm."))]
    found = [encoder.get_layer_depth(f"backbone.{name}", "backbone.") for name in order]
    depths = [depth for depth, _ in found]
    assert depths == sorted(depths)
    # Two stages of two MLPs and a merging, two blocks, then the head.
    assert {count for _, count in found} == {2 * 3 + 2 + 2}
    assert {encoder.get_layer_depth(name)[0] for name in out_norms} == {9}
    assert encoder.get_layer_depth("blocks.2.reduction.weight")[0] == 3
    assert encoder.get_layer_depth("head.fc.weight", "backbone.") == (9, 10)


def test_what_a_packed_or_mixed_map_needs_is_refused() -> None:
    encoder = make_encoder("HiViT")
    tokens = encoder.embed(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    with pytest.raises(UserError, match="HiViT does not support segment_ids, coords or visible"):
        encoder.encode(tokens, segment_ids=torch.zeros(4, 4, dtype=torch.int64))
