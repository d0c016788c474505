"""Every probe: its features, its hyperparameter with the values to choose from, and how it predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import normalize

from mixmae_bench.probes.attentive import EfficientProbe, MultiHeadProbe
from mixmae_bench.probes.heads import Training, adamw, predict, sgd, train_head
from mixmae_bench.probes.rows import Rows
from mixmae_bench.transfer.knn import TEMPERATURE, nearest, vote

QUERIES_AT_ONCE = 1024
"""Images that are compared with all neighbours at once."""

MAX_ITERATIONS = 1000
"""Most iterations of logistic regression."""

Labels = NDArray[np.int64]

Predict = Callable[[Rows, Labels, Rows, Sequence[float], int, Training], list[Labels]]
"""Function of the features and labels to fit on, the features to predict, the values of the hyperparameter,
the number of classes and the training of heads. It returns the predicted labels for every value."""


@dataclass(frozen=True)
class Kind:
    """A probe.

    Attributes:
        setting: Name of the hyperparameter.
        grid: Its values, the most regularised first; the first of equals is chosen.
        predict: See `Predict`.
        tokens: Whether it reads tokens instead of pooled features.
        shots: Images per class that it is fitted on, or None for all.
        pool: Function of the number of channels that returns the pooling of its head; None without a head.
    """

    setting: str
    grid: tuple[float, ...]
    predict: Predict
    tokens: bool = False
    shots: int | None = None
    pool: Callable[[int], nn.Module] | None = None


def neighbours(
    train: Rows, labels: Labels, queries: Rows, values: Sequence[float], classes: int, training: Training
) -> list[Labels]:
    """Predict by the k nearest neighbours for every k (see `transfer.knn`)."""
    bank, known = (torch.from_numpy(own).to(training.device) for own in (train.all(), labels))
    bank = normalize(bank, dim=1)
    found: list[list[Labels]] = [[] for _ in values]
    for places in np.array_split(np.arange(len(queries)), -(-len(queries) // QUERIES_AT_ONCE)):
        own = normalize(torch.from_numpy(queries.at(places)).to(training.device), dim=1)
        similar, near = nearest(own, bank, known, int(max(values)))
        for k, predicted in zip(map(int, values), found, strict=True):
            scores = vote(similar[:, :k], near[:, :k], classes, TEMPERATURE)
            predicted.append(scores.argmax(1).cpu().numpy())
    return [np.concatenate(parts) for parts in found]


def logistic(
    train: Rows, labels: Labels, queries: Rows, values: Sequence[float], classes: int, training: Training
) -> list[Labels]:
    """Predict by scikit-learn's logistic regression of standardised features for every C."""
    known, asked = (rows.all().astype(np.float64) for rows in (train, queries))
    models = (LogisticRegression(C=value, max_iter=MAX_ITERATIONS) for value in values)
    return [make_pipeline(StandardScaler(), model).fit(known, labels).predict(asked) for model in models]


def headed(
    pool: Callable[[int], nn.Module],
    optimizer: Callable[[nn.Module, float], torch.optim.Optimizer],
    train: Rows,
    labels: Labels,
    queries: Rows,
    values: Sequence[float],
    classes: int,
    training: Training,
) -> list[Labels]:
    """Predict by a trained head for every learning rate."""
    heads = (train_head(pool, optimizer, train, labels, classes, lr, training) for lr in values)
    return [predict(head, queries, training) for head in heads]


C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
SGD_GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
ADAMW_GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)

KINDS = {
    "knn": Kind("k", (200, 100, 50, 20, 10, 5, 1), neighbours),
    **{f"logistic-{n}shot": Kind("C", C_GRID, logistic, shots=n) for n in (1, 2, 5, 10)},
    "logistic": Kind("C", C_GRID, logistic),
    "linear": Kind("lr", SGD_GRID, partial(headed, nn.Identity, sgd), pool=nn.Identity),
    "multi-head": Kind(
        "lr", ADAMW_GRID, partial(headed, MultiHeadProbe, adamw), tokens=True, pool=MultiHeadProbe
    ),
    "efficient": Kind(
        "lr", ADAMW_GRID, partial(headed, EfficientProbe, adamw), tokens=True, pool=EfficientProbe
    ),
}
"""Every probe of `results.probes.PROBES` by name."""
