"""The number format that a record says a training was computed in."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

import mixmae_bench.engine.precision
from mixmae_bench.engine.precision import Bf16OptimWrapper, computed_in


class Float16OptimWrapper(OptimWrapper):
    """As mmengine's AmpOptimWrapper, which needs a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast("cpu", torch.float16):
            yield


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixmae_bench.engine.precision, "get_device", lambda: "cpu")


def told(kind: type[OptimWrapper], model: nn.Module, **settings: object) -> str:
    return computed_in(kind(torch.optim.SGD(model.parameters(), lr=0.1), **settings), model)


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_bfloat16_is_told_where_the_hardware_computes_in_it(
    able: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixmae_bench.engine.precision, "computes_bfloat16", lambda device: able)
    assert told(Bf16OptimWrapper, nn.Linear(2, 2)) == expected


def test_without_autocast_it_is_the_format_of_the_weights() -> None:
    assert told(OptimWrapper, nn.Linear(2, 2), accumulative_counts=3) == "float32"
    assert told(OptimWrapper, nn.Linear(2, 2).bfloat16()) == "bfloat16"


def test_autocast_of_any_wrapper_is_seen_and_left_as_it_was() -> None:
    assert told(Float16OptimWrapper, nn.Linear(2, 2)) == "float16"
    assert not torch.is_autocast_enabled("cpu")
