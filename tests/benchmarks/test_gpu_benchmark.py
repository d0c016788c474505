"""Comparisons on a GPU: their models exist and can be trained."""

import gpu
import pytest
import torch

from mixmae_bench.cost.models import load_call
from mixmae_bench.cost.speed import settings_of
from mixmae_bench.cost.steps import training_loss

ROWS = [row for rows in gpu.PARTS.values() for row in rows]


def test_every_model_of_a_comparison_has_a_training_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
        settings = [
            s for row in ROWS for s in settings_of(row.models, row.batch, row.shape, False, False, "cuda")
        ]
    assert {s.compile for s in settings} == {s.graph for s in settings} == {True, False}
    assert {s.dtype for s in settings} == {"bfloat16", "float32"}
    for model in {s.model for s in settings}:
        call = load_call(model, None, "meta")
        assert callable(training_loss(call, torch.empty(2, 3, 8, 8)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it measures")
def test_without_a_gpu_it_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["folder", "dense"]) == 2
    assert "needs a GPU" in capsys.readouterr().err
    assert gpu.main(["folder", "sparse"]) == 2
    assert "pretraining|dense" in capsys.readouterr().err
