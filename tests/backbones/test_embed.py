"""Tokens before the first stage, of every encoder."""

import pytest
import torch
from encoders import KINDS, make_encoder


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_depends_on_its_own_pixels_only(kind: str) -> None:
    """UM-MAE packs pixels, not tokens."""
    encoder = make_encoder(kind)
    side = encoder.out_strides[0]
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    whole = encoder.embed(images)
    part = encoder.embed(images[..., side : 3 * side, 2 * side : 4 * side])
    torch.testing.assert_close(part, whole[:, 1:3, 2:4])
