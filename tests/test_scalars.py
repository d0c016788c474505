"""Losses and gradient norms reach the log in order, whether they are read at once or a few steps late."""

from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper

from mixmae_bench.engine import scalars
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.finite import NotFiniteError
from mixmae_bench.engine.prepare import build, prepare
from mixmae_bench.engine.scalars import ScalarsHook

SMOKE = Path(__file__).parent / "smoke"


class Reads:
    """Counts how often values are read while they pretend to be on a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.iterations: list[int] = []
        monkeypatch.setattr(scalars, "is_queued", lambda value: True)
        flush = ScalarsHook.flush

        def counted(hook: ScalarsHook, runner: object) -> None:
            if hook._unread:
                self.iterations.append(runner.iter)
            flush(hook, runner)

        monkeypatch.setattr(ScalarsHook, "flush", counted)


def trained(folder: Path, epochs: int = 2, log_interval: int = 1000) -> dict[str, list[float]]:
    cfg = load_config(SMOKE / "pretraining.py")
    cfg.train_cfg.max_epochs = epochs
    cfg.default_hooks.logger.interval = log_interval
    cfg.default_hooks.checkpoint.interval = epochs
    runner = build(prepare(cfg, folder, 1), "none", train=True)
    runner.train()
    hub = runner.message_hub.log_scalars
    return {name: hub[f"train/{name}"].data[0].tolist() for name in ("loss", "grad_norm")}


def test_values_that_are_read_late_are_those_that_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = trained(tmp_path / "now")
    reads = Reads(monkeypatch)
    late = trained(tmp_path / "late")
    assert late == now
    assert len(now["loss"]) == len(now["grad_norm"]) > 2
    # Once per epoch, as an epoch has fewer iterations than INTERVAL.
    assert reads.iterations == [len(now["loss"]) // 2 - 1, len(now["loss"]) - 1]


def test_an_iteration_that_is_logged_reads_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    losses = trained(tmp_path, epochs=1, log_interval=1)["loss"]
    assert reads.iterations == list(range(len(losses)))


def test_a_loss_that_is_not_finite_is_found_late_with_its_iteration_and_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reads(monkeypatch)
    step = OptimWrapper.update_params

    def spoiled(wrapper: OptimWrapper, loss: torch.Tensor, *args: object, **kwargs: object) -> None:
        step(wrapper, loss, *args, **kwargs)
        wrapper.param_groups[0]["params"][0].data.fill_(torch.nan)

    monkeypatch.setattr(OptimWrapper, "update_params", spoiled)
    with pytest.raises(NotFiniteError, match="loss nan at iteration 2; no checkpoint before it"):
        trained(tmp_path)
    assert not list(tmp_path.glob("*.pth"))
