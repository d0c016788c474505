"""Training on a CPU: a fused optimiser, and memory that is kept."""

import ctypes
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mixmae_bench.engine.cpu import fuse_optimizer, keep_freed_memory


def fused(**optimizer: object) -> object:
    cfg = Config(dict(optim_wrapper=dict(type="OptimWrapper", optimizer=optimizer)))
    fuse_optimizer(cfg)
    return cfg.optim_wrapper.optimizer.get("fused")


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_an_optimiser_with_a_loop_over_tensors_is_fused(name: str) -> None:
    assert fused(type=name, lr=0.1) is True


@pytest.mark.parametrize(
    "optimizer", [dict(type="LARS"), dict(type="AdamW", foreach=True), dict(type="Adam", capturable=True)]
)
def test_others_and_those_of_which_a_config_says_how_are_left_alone(optimizer: dict) -> None:
    assert fused(**optimizer) is None
    assert fused(type="AdamW", fused=False) is False


def test_a_config_without_an_optimiser_is_left_alone() -> None:
    for content in ({}, dict(optim_wrapper=None), dict(optim_wrapper=dict(a=dict(optimizer=dict())))):
        cfg = Config(content)
        fuse_optimizer(cfg)
        assert cfg.to_dict() == content


def test_fused_steps_are_those_of_the_loop_to_rounding() -> None:
    start = torch.linspace(-1, 1, 64)
    ends = []
    for kind in (dict(foreach=False), dict(fused=True)):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=0.05, **kind)
        for step in range(1, 6):
            parameter.grad = torch.sin(step * start + 1)
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-6)


def test_memory_is_kept_by_glibc_and_another_c_library_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = {}
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=calls.__setitem__))
    keep_freed_memory()
    assert calls == {-1: 512 * 2**20, -3: 32 * 2**20}
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()
