"""How well a measure predicts the order of methods."""

from itertools import product

import numpy as np
import pytest

from mixmae_bench.results import predictors
from mixmae_bench.results.predictors import prediction
from mixmae_bench.results.rankings import agreement

MEASURE = {"a": {0: 10.0, 1: 20.0}, "b": {0: 12.0, 1: 25.0}, "c": {0: 30.0, 1: 31.0}}


def test_the_same_order_of_means_has_tau_1_and_the_opposite_has_minus_1() -> None:
    same = prediction(MEASURE, {m: {s: 2 * v for s, v in own.items()} for m, own in MEASURE.items()})
    assert (same.tau, same.methods, same.pairs) == (1, 3, 6)
    opposite = prediction(MEASURE, {m: {s: -v for s, v in own.items()} for m, own in MEASURE.items()})
    assert opposite.tau == -1
    # Both values of a seed are resampled together, so no resample has another order.
    assert (same.low, same.high, opposite.low, opposite.high) == (1, 1, -1, -1)


def test_the_interval_is_that_of_all_resamples_of_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"a": {0: 1.0, 1: 5.0}, "b": {0: 4.0, 1: 2.0}, "c": {0: 3.0, 1: 6.0}}
    taus = []
    draws = list(product([0, 1], repeat=2))
    for own in product(draws, repeat=3):
        means = [
            {m: np.mean([values[m][s] for s in seeds]) for m, seeds in zip("abc", own, strict=True)}
            for values in (MEASURE, target)
        ]
        taus.append(agreement(*means))
    monkeypatch.setattr(predictors, "RESAMPLES", 4000)
    found = prediction(MEASURE, target)
    low, high = np.nanquantile(np.repeat(taus, 100), [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert low < found.tau < high


def test_seeds_and_methods_that_one_side_lacks_do_not_count() -> None:
    target = {"a": {1: 3.0, 2: 100.0}, "b": {1: 2.0}, "c": {1: 1.0}, "d": {1: 0.0}}
    found = prediction(MEASURE, target)
    assert (found.tau, found.methods, found.pairs) == (-1, 3, 3)


@pytest.mark.parametrize("target", [{"a": {0: 1.0}, "b": {0: 2.0}}, {m: {0: 1.0} for m in "abc"}, {}])
def test_two_methods_or_only_ties_are_no_order(target: dict[str, dict[int, float]]) -> None:
    assert prediction(MEASURE, target) is None
