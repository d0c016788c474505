"""The rule of the verdict, in numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
from report_records import record

from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import Measured, half_unit, measured, verdict


def with_error(seed: int, top1: float, error: float) -> Record:
    return replace(record("mixmae", seed, top1=top1), stderr={"top1": error})


def test_errors_over_images_and_over_seeds_are_joined() -> None:
    # Seeds: deviations 1, 0, 1, so a standard deviation of 1 and a standard error of 1 / sqrt(3). Images:
    # the same for all seeds, so more seeds do not make it less.
    here = measured([with_error(seed, top1, 0.2) for seed, top1 in enumerate((84.0, 85.0, 86.0))], "top1")
    assert here == Measured(85.0, pytest.approx(math.sqrt(1 / 3 + 0.04)))
    assert str(here) == "85.00 ± 0.61"


def test_one_seed_has_the_error_over_images_alone() -> None:
    assert measured([with_error(0, 85.0, 0.16)], "top1") == Measured(85.0, 0.16)


def test_without_any_error_none_is_told() -> None:
    here = measured([record("mixmae", 0, top1=85.0)], "top1")
    assert here == Measured(85.0, None)
    assert str(here) == "85.00"


def test_nothing_is_measured_without_the_metric() -> None:
    assert measured([record("mixmae", 0, miou=50.0)], "top1") is None


@pytest.mark.parametrize(("value", "half"), [(85.1, 0.05), (84.63, 0.005), (37, 0.5), (84.0, 0.05)])
def test_rounding_is_half_a_unit_of_the_last_digit(value: float, half: float) -> None:
    assert half_unit(value) == pytest.approx(half, abs=1e-8)


@pytest.mark.parametrize(
    ("published", "mean", "error", "says"),
    [
        (85.1, 85.1, 0.0, "reproduced"),
        (85.1, 85.05, None, "reproduced"),
        (85.1, 85.15, None, "reproduced"),
        (85.1, 85.04, None, "not reproduced"),
        # Rounding 0.05 and two standard errors of 0.1: up to 0.25 away.
        (85.1, 84.851, 0.1, "within noise"),
        (85.1, 84.849, 0.1, "not reproduced"),
        (85.1, 85.349, 0.1, "within noise"),
        (85.1, 85.351, 0.1, "not reproduced"),
        (84.63, 84.64, 0.0, "not reproduced"),
    ],
)
def test_the_verdict_on(published: float, mean: float, error: float | None, says: str) -> None:
    assert verdict(published, Measured(mean, error)) == says


def test_no_verdict_without_either_value() -> None:
    assert verdict(85.1, None) == verdict(None, None) == "not run"
    assert verdict(None, Measured(85.0, 0.1)) == ""
