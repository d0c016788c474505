"""Targets do not depend on autocast, and BEiT's tokenizer loads its file strictly."""

from pathlib import Path

import pytest
import torch

from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

TOKENIZER = dict(type="mixmae_bench.DALLETokenizer", n_hid=16, vocab_size=32)


def test_targets_under_autocast_are_those_in_float32() -> None:
    targets = MODELS.build(dict(type="mixmae_bench.HOGTargets"))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = targets(images)
    assert expected.shape == (2, 196, 108)  # 14 x 14 patches; 3 colours, 2 x 2 cells, 9 bins
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(targets(images), expected)


def test_a_tokenizer_has_the_weights_of_its_file_and_is_not_trained(tmp_path: Path) -> None:
    saved = MODELS.build(TOKENIZER)
    torch.save({"state_dict": saved.state_dict()}, tmp_path / "tokenizer.pth")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "tokenizer.pth"))
    loaded = MODELS.build(dict(TOKENIZER, init_cfg=init_cfg))
    loaded.init_weights()
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(images), saved(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loaded(images), saved(images))
        assert loaded(images).dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize(("file", "reason"), [("none.pth", "none.pth"), ("other.pth", "does not fit")])
def test_a_tokenizer_without_its_file_or_with_another_is_refused(
    file: str, reason: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "other.pth")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / file))
    with pytest.raises(UserError, match=reason):
        MODELS.build(dict(TOKENIZER, init_cfg=init_cfg)).init_weights()
