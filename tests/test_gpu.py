"""Settings for GPUs, seen on a CPU."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor, nn

from mixmae_bench.engine import gpu, precision
from mixmae_bench.engine.precision import TF32OptimWrapper, computed_in
from mixmae_bench.registry import HOOKS


def test_batches_are_copied_without_waiting_from_pinned_memory_and_the_optimiser_is_fused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    cfg = Config(dict(train_dataloader=dict(batch_size=2), optim_wrapper=dict(optimizer=dict(type="AdamW"))))
    gpu.speed_up(cfg)
    assert cfg.train_dataloader.pin_memory
    assert cfg.optim_wrapper.optimizer.fused
    assert not torch.backends.cudnn.allow_tf32
    model = nn.Module()
    model.data_preprocessor = ClsDataPreprocessor()
    assert model.data_preprocessor._non_blocking is False  # else the hook is no longer needed
    HOOKS.build(cfg.custom_hooks[0]).before_train(SimpleNamespace(model=model))
    assert model.data_preprocessor._non_blocking is True


def test_what_a_config_chooses_stays() -> None:
    optimizer = dict(type="AdamW", foreach=True)
    cfg = Config(dict(train_dataloader=dict(pin_memory=False), optim_wrapper=dict(optimizer=optimizer)))
    gpu.speed_up(cfg)
    assert not cfg.train_dataloader.pin_memory
    assert cfg.optim_wrapper.optimizer == optimizer


class Seen(torch.autograd.Function):
    """Notes what is allowed in forward and backward passes."""

    notes: list[tuple[str, bool]] = []

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        Seen.notes.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        Seen.notes.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return grad


@pytest.mark.parametrize(("kind", "allowed"), [(TF32OptimWrapper, True), (OptimWrapper, False)])
def test_tf32_is_allowed_in_both_passes_of_its_wrapper_alone(
    kind: type[OptimWrapper], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(Seen, "notes", [])
    weight = nn.Parameter(torch.ones(2))
    wrapper = kind(torch.optim.SGD([weight], lr=0.1), accumulative_counts=2)
    with wrapper.optim_context(nn.Linear(1, 1)):
        loss = Seen.apply(weight).sum()
    wrapper.update_params(loss)
    assert Seen.notes == [("high" if allowed else "highest", allowed)] * 2
    assert torch.get_float32_matmul_precision() == "highest"
    assert wrapper._inner_count == 1


def test_tf32_is_recorded_on_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    for device, wrapper, expected in (
        ("cuda", TF32OptimWrapper, "tf32"),
        ("cuda", OptimWrapper, "float32"),
        ("cpu", TF32OptimWrapper, "float32"),
    ):
        monkeypatch.setattr(precision, "get_device", lambda device=device: device)
        assert computed_in(wrapper(torch.optim.SGD(model.parameters(), lr=0.1)), model) == expected
