"""Compiling the blocks of a model, and configs that training cannot honour."""

from pathlib import Path

import pytest
from torch import nn

from mixmae_bench.engine.blocks import blocks_of, compile_blocks
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.prepare import build, prepare
from mixmae_bench.errors import UserError

SMOKE = Path(__file__).parent / "smoke"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Modules that were compiled; nothing is really compiled."""
    found = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: found.append(module))
    return found


def test_a_config_compiles_the_blocks_of_encoder_and_decoder_alone(
    compiled: list[nn.Module], tmp_path: Path
) -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    runner = build(prepare(cfg, tmp_path / "plain", 1), "none", train=True)
    assert compiled == []
    cfg.compile_blocks = True
    runner = build(prepare(cfg, tmp_path / "compiled", 1), "none", train=True)
    model = runner.model
    decoder = list(model.decoder.blocks)
    assert len(decoder) > 0
    assert compiled == blocks_of(model) == [*(b for s in model.backbone.layers for b in s.blocks), *decoder]


def test_a_model_without_blocks_is_one_line() -> None:
    with pytest.raises(UserError, match="Linear has no module list named"):
        compile_blocks(nn.Linear(1, 1))


@pytest.mark.parametrize("key", ["compile_blocks", "cuda_graph"])
def test_a_sharded_training_does_not_ignore_options_for_speed(tmp_path: Path, key: str) -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    cfg.merge_from_dict({key: True, "runner_type": "FlexibleRunner"})
    with pytest.raises(UserError, match=f"{key} does not work with runner_type=FlexibleRunner"):
        build(prepare(cfg, tmp_path, 1), "none", train=True)


def test_a_hook_in_the_place_of_the_one_that_checks_losses_is_refused(tmp_path: Path) -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    cfg.default_hooks.runtime_info = dict(type="IterTimerHook")
    with pytest.raises(UserError, match=r"default_hooks\.runtime_info is IterTimerHook; remove it"):
        prepare(cfg, tmp_path, 1)
