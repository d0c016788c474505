"""Nearest neighbours during pretraining, through the Runner on the digits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.prepare import build, prepare
from mixmae_bench.errors import UserError

SMOKE = Path(__file__).parent / "smoke"


def built(folder: Path, **changes: object) -> Runner:
    cfg = load_config(SMOKE / "online_knn.py")
    cfg.merge_from_dict(changes)
    return build(prepare(cfg, folder, 1), "none", train=True)


def trained(folder: Path, **changes: object) -> Runner:
    runner = built(folder, **changes)
    runner.train()
    return runner


def accuracy(runner: Runner, bank: list[dict], k: int) -> float:
    """Vote as written down: weights exp(cosine / 0.07) of the k nearest, in float64."""
    model = runner.model.eval()

    def embedded(items: list[dict]) -> tuple[np.ndarray, list[int]]:
        images = torch.stack([item["inputs"] for item in items]).float()[:, [2, 1, 0]]  # BGR to RGB
        images = (images - model.data_preprocessor.mean) / model.data_preprocessor.std
        with torch.no_grad(), runner.optim_wrapper.optim_context(model):
            maps = model.backbone.encode(model.backbone.embed(images))
        features = maps[-1].double().mean((1, 2)).numpy()
        return features / np.linalg.norm(features, axis=1, keepdims=True), [
            int(item["data_samples"].gt_label) for item in items
        ]

    known, labels = embedded(bank)
    queries, truth = embedded(list(runner.val_dataloader.dataset))
    right = 0
    for query, label in zip(queries, truth, strict=True):
        cosines = known @ query
        votes = np.zeros(10)
        for place in np.argsort(-cosines)[:k]:
            votes[labels[place]] += np.exp(cosines[place] / 0.07)
        right += votes.argmax() == label
    return 100 * right / len(truth)


@pytest.fixture
def distinct_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let encoders return all tokens of the embedding as one: after two epochs, all images look alike."""
    monkeypatch.setattr(MixMAESwin, "encode", lambda self, tokens: [tokens.flatten(1)[:, None, None]])


@pytest.mark.usefixtures("distinct_features")
@pytest.mark.parametrize("images", [None, 10])
def test_the_nearest_training_images_vote(images: int | None, tmp_path: Path) -> None:
    runner = built(tmp_path, **{"val_cfg.images": images})
    bank = list(runner.train_dataloader.dataset)[:: 5 if images else 1]
    assert len(runner.val_loop.bank.dataset) == len(bank) == (images or 50)
    found = runner.val_loop.run()["knn/top1"]
    assert found == pytest.approx(accuracy(runner, bank, 5), abs=1e-3)
    assert images or found > 20


def test_the_curve_has_every_epoch_and_the_training_is_unchanged(tmp_path: Path) -> None:
    runner = trained(tmp_path / "with", **{"val_dataloader.num_workers": 1})  # workers get random seeds
    curve = json.loads((tmp_path / "with" / "curves.json").read_text())
    assert [epoch for epoch, _ in curve["curves"]["knn_top1"]] == [1, 2]
    without = trained(tmp_path / "without", val_dataloader=None, val_evaluator=None, val_cfg=None)
    assert json.loads((tmp_path / "without" / "curves.json").read_text())["losses"] == curve["losses"]
    for own, other in zip(runner.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(own, other)


def unlabelled(cfg: Config) -> None:
    cfg.train_dataloader.dataset.update(data_root="data/digits/pretrain", data_prefix="", with_label=False)


def classifier(cfg: Config) -> None:
    cfg.model = dict(
        type="ImageClassifier", _scope_="mmpretrain", backbone=dict(type="ResNet", depth=18), head=None
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda cfg: cfg.val_cfg.update(images=0), "images=0; give numbers from 1"),
        (lambda cfg: cfg.val_cfg.update(k=0), "k=0, images=None; give numbers from 1"),
        (unlabelled, "have no labels"),
        (classifier, "needs a pretraining method with an encoder"),
    ],
)
def test_what_it_cannot_evaluate_is_one_line_before_training(
    change: object, reason: str, tmp_path: Path
) -> None:
    cfg = load_config(SMOKE / "online_knn.py")
    change(cfg)
    with pytest.raises(UserError, match=reason) as error:
        build(prepare(cfg, tmp_path, 1), "none", train=True)
    assert "\n" not in str(error.value)
