"""Probes on given features: nearest neighbours and logistic regression agree with scikit-learn's."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from mixmae_bench.probes.attentive import EfficientProbe, MultiHeadProbe
from mixmae_bench.probes.heads import Training, adamw, predict, sgd, train_head
from mixmae_bench.probes.kinds import KINDS, headed, logistic, neighbours
from mixmae_bench.probes.rows import Rows
from mixmae_bench.results.probes import PROBES

CLASSES = 4
TRAINING = Training(epochs=30, seed=0, device="cpu")


def made(images: int, seed: int, spread: float = 1.5) -> tuple[Rows, NDArray[np.int64]]:
    """Return features (images, 6), of two stages, that scatter around a centre per class, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(CLASSES, 6))
    labels = rng.integers(0, CLASSES, images)
    features = (centres[labels] + spread * rng.normal(size=(images, 6))).astype(np.float32)
    return Rows([features[:, :2], features[:, 2:]], np.arange(images)), labels


def top1(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    return float(np.mean(predicted == labels))


def test_every_probe_has_a_meaning() -> None:
    assert set(KINDS) == set(PROBES)


def test_nearest_neighbours_agree_with_scikit_learn() -> None:
    (train, labels), (val, truth) = made(300, 0), made(1500, 1)  # more than are compared at once
    values = (200, 20, 3, 1)
    found = neighbours(train, labels, val, values, CLASSES, TRAINING)
    for k, predicted in zip(values, found, strict=True):
        theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
        assert np.mean(predicted == theirs.fit(train.all(), labels).predict(val.all())) > 0.999
    assert len({top1(predicted, truth) for predicted in found}) > 1


def test_logistic_regression_agrees_with_scikit_learn_on_standardised_features() -> None:
    (train, labels), (val, _) = made(200, 0), made(500, 1)
    mean, std = train.all().astype(float).mean(0), train.all().astype(float).std(0)
    values = (1e-3, 1.0)
    found = logistic(train, labels, val, values, CLASSES, TRAINING)
    for value, predicted in zip(values, found, strict=True):
        theirs = LogisticRegression(C=value, max_iter=1000, tol=1e-6)
        theirs.fit((train.all() - mean) / std, labels)
        assert np.mean(predicted == theirs.predict((val.all() - mean) / std)) > 0.99
    assert np.any(found[0] != found[1])


def test_a_linear_probe_separates_what_is_separable() -> None:
    (train, labels), (val, truth) = made(300, 0, spread=0.1), made(300, 1, spread=0.1)
    (predicted,) = headed(nn.Identity, sgd, train, labels, val, [0.1], CLASSES, TRAINING)
    assert top1(predicted, truth) == 1.0


def test_a_linear_probe_does_not_depend_on_the_scale_of_the_features() -> None:
    (train, labels), (val, _) = made(300, 0), made(300, 1)
    large = [Rows([1000 * part for part in rows.parts], rows.index) for rows in (train, val)]
    own, scaled = (
        headed(nn.Identity, sgd, rows, labels, asked, [0.1], CLASSES, TRAINING)[0]
        for rows, asked in ((train, val), large)
    )
    assert np.mean(own == scaled) > 0.99


@pytest.mark.parametrize("pool", [EfficientProbe, MultiHeadProbe])
def test_an_attentive_probe_finds_the_token_that_tells_the_class(pool: type[nn.Module]) -> None:
    """One token in nine, marked by a channel, has the class; all others have other classes."""

    def tokens(images: int, seed: int) -> tuple[Rows, NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        kinds = rng.integers(0, CLASSES, (images, 9))
        place = rng.integers(0, 9, images)
        marked = np.arange(9) == place[:, None]
        features = np.concatenate([np.eye(CLASSES)[kinds], np.eye(4)[marked * 1]], axis=2) * 2
        labels = kinds[np.arange(images), place]
        return Rows([features.astype(np.float32)], np.arange(images)), labels

    (train, labels), (val, truth) = tokens(600, 0), tokens(300, 1)
    (predicted,) = headed(pool, adamw, train, labels, val, [0.01], CLASSES, Training(40, 0, "cpu"))
    assert top1(predicted, truth) > 0.95
    mean = [Rows([rows.all().mean(1)], rows.index) for rows in (train, val)]
    (pooled,) = headed(nn.Identity, sgd, mean[0], labels, mean[1], [0.1], CLASSES, TRAINING)
    assert top1(pooled, truth) < 0.6


def test_training_follows_the_seed_and_leaves_the_random_state_alone() -> None:
    train, labels = made(100, 0)
    train_of = partial(train_head, nn.Identity, sgd, train, labels, CLASSES, 0.1)
    before = torch.random.get_rng_state()
    first, again, other = (train_of(Training(2, seed, "cpu"))[2].weight for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_prediction_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    (train, labels), (val, _) = made(100, 0), made(300, 1)
    head = train_head(nn.Identity, sgd, train, labels, CLASSES, 0.1, TRAINING)
    single = [predict(head, Rows(val.parts, val.index[[n]]), TRAINING)[0] for n in range(20)]
    assert predict(head, val, TRAINING)[:20].tolist() == single
