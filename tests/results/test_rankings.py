"""Kendall's tau of rankings, counted by hand."""

from math import isnan

import pytest

from mixmae_bench.results.rankings import agreement, stability


def test_agreement_counts_pairs_in_the_same_order() -> None:
    first = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    second = {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0, "e": 0.0}
    # Of six pairs, that of b and c is the other way: (5 - 1) / 6.
    assert agreement(first, second) == pytest.approx(4 / 6)
    assert agreement(first, {m: -v for m, v in first.items()}) == pytest.approx(-1)


def test_agreement_of_one_method_is_no_number() -> None:
    assert isnan(agreement({"a": 1.0, "b": 2.0}, {"a": 1.0}))


def test_stability_is_the_mean_over_pairs_of_the_seeds_that_all_have() -> None:
    values = {
        "a": {0: 1.0, 1: 1.0, 2: 3.0},
        "b": {0: 2.0, 1: 2.0, 2: 2.0},
        "c": {0: 3.0, 1: 3.0, 2: 1.0, 3: 5.0},
    }
    # Seeds 0 and 1 agree; both are opposite to 2.
    assert stability(values) == pytest.approx((1 - 1 - 1) / 3)
    assert isnan(stability({"a": {0: 1.0}, "b": {0: 2.0}}))
    assert isnan(stability({}))
