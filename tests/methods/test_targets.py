"""MaskFeat's targets do not depend on autocast."""

import torch

from mixmae_bench.registry import MODELS


def test_targets_under_autocast_are_those_in_float32() -> None:
    targets = MODELS.build(dict(type="mixmae_bench.HOGTargets"))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = targets(images)
    assert expected.shape == (2, 196, 108)  # 14 x 14 patches; 3 colours, 2 x 2 cells, 9 bins
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(targets(images), expected)
