"""The ladder: what is chosen on which images, and what is recorded."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mixmae_bench.errors import UserError
from mixmae_bench.probes import ladder
from mixmae_bench.probes.features import Features
from mixmae_bench.probes.heads import Training
from mixmae_bench.probes.kinds import KINDS, Kind
from mixmae_bench.probes.ladder import Outcome, Step, measure, stages_of
from mixmae_bench.probes.rows import Rows
from mixmae_bench.probes.splits import carve, draw_shots

NAMES = ("even", "odd")
GRID = (1.0, 2.0, 3.0)


def features(images: int, first: int = 0) -> Features:
    """Return features of which the first channel of stage 1 is the number of the image."""
    numbers = np.arange(first, first + images, dtype=np.float32)[:, None]
    return Features(
        [numbers, np.zeros((images, 2), np.float32)], [], (numbers[:, 0] % 2).astype(np.int64), ""
    )


class Spy:
    """A probe that is right with one value and always wrong with others, and keeps what it was given."""

    def __init__(self, best: float = 2.0) -> None:
        self.best = best
        self.calls: list[tuple[set[int], set[int], list[float]]] = []

    def __call__(
        self,
        train: Rows,
        labels: NDArray[np.int64],
        queries: Rows,
        values: Sequence[float],
        classes: int,
        training: Training,
    ) -> list[NDArray[np.int64]]:
        own, asked = (set(map(int, rows.all()[:, 0])) for rows in (train, queries))
        assert [number % 2 for number in map(int, train.all()[:, 0])] == labels.tolist()
        self.calls.append((own, asked, list(values)))
        truth = queries.all()[:, 0].astype(int) % 2
        return [truth if value == self.best else 1 - truth for value in values]


def run(
    spy: Spy, monkeypatch: pytest.MonkeyPatch, shots: int | None = None, val: Features | None = None
) -> Outcome:
    monkeypatch.setitem(KINDS, "spy", Kind("x", GRID, spy, shots=shots))
    val = val or features(20, first=1000)
    return measure(Step("spy", "1", seed=4, epochs=1), features(100), val, NAMES, 2, "cpu")


def test_the_hyperparameter_is_chosen_on_held_out_training_images_then_all_are_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spy = Spy()
    outcome = run(spy, monkeypatch)
    fit, held = carve(features(100).labels, 4)
    assert spy.calls == [
        (set(fit), set(held), list(GRID)),
        (set(range(100)), set(range(1000, 1020)), [2.0]),
    ]
    assert outcome == Outcome(2.0, [[1.0, 0.0], [2.0, 100.0], [3.0, 0.0]], 100.0, 100)


def test_the_choice_does_not_depend_on_the_evaluated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    val = features(20, first=1000)
    wrong = dataclasses.replace(val, labels=1 - val.labels)
    outcome = run(Spy(), monkeypatch, val=wrong)
    assert (outcome.chosen, outcome.top1) == (2.0, 0.0)


def test_with_shots_they_alone_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    outcome = run(spy, monkeypatch, shots=5)
    labels = features(100).labels
    fit, held = carve(labels, 4)
    shots = set(draw_shots(labels, fit, 5, 4, NAMES))
    assert [call[0] for call in spy.calls] == [shots, shots]
    assert spy.calls[0][1] == set(held)
    assert outcome.train_samples == 10


def test_of_equals_the_first_of_the_grid_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(Spy(best=9.0), monkeypatch).chosen == 1.0


def test_all_stages_are_the_stages_joined() -> None:
    own = features(3)
    step = Step("linear", "all", 0, 1)
    joined = Rows(ladder._parts(own, step), np.arange(3)).all()
    np.testing.assert_array_equal(joined, np.concatenate(own.pooled, 1))
    assert ladder._parts(own, Step("linear", "2", 0, 1)) == [own.pooled[1]]


def test_stages_are_given_by_number_last_and_all() -> None:
    assert stages_of([], 3) == ["1", "2", "3", "all"]
    assert stages_of(["last", "all", "3", "1"], 3) == ["3", "all", "1"]
    assert stages_of([], 1) == stages_of(["all", "last"], 1) == ["1"]
    with pytest.raises(UserError, match="--stages has '4'; this backbone has 1, 2, 3, last, all"):
        stages_of(["4"], 3)
