"""UM-MAE's position biases: looked up where offsets repeat, and those of the official formula."""

import torch

from mixmae_bench.backbones.layers.forms import whole_windows
from mixmae_bench.backbones.layers.windows import partition_map
from mixmae_bench.backbones.um_swin import PositionAttention, relative_coords_of


def test_biases_of_packed_tokens_are_the_mlps_of_every_offset() -> None:
    torch.manual_seed(0)
    attn = PositionAttention(8, 2, window_size=3, shifted=True, posmlp_dim=4).double()
    cut = partition_map((4, 6), 3, True, None, torch.device("cpu"))
    positions = torch.randint(0, 63, (2, 4, 6, 2)) / 4  # of the third stage: quarters
    found = relative_coords_of(cut, positions)
    with whole_windows():
        every = relative_coords_of(cut, positions)
    assert sum(len(o.values) for o in found) < sum(len(o.values) for o in every)
    for place, few, many in zip(cut.split(cut.arrange(positions)), found, every, strict=True):
        offsets = place.double()[:, :, None] - place.double()[:, :, :, None]
        assert torch.equal(few.values[few.index].double(), offsets)
        hidden = (offsets.sign() * offsets.abs().log1p()).permute(0, 1, 4, 2, 3).flatten(0, 1)
        expected = attn.posmlp(hidden).unflatten(0, few.index.shape[:2])
        torch.testing.assert_close(attn.bias(few), expected)
        torch.testing.assert_close(attn.bias(many), expected)
