"""Simulated coverage, false positives and power, with the variance between seeds of the digits suite.

Each limit is that of a binomial 95 % interval; all random numbers have fixed seeds.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from mixmae_bench.results.differences import Difference, Runs, difference, holm, mcnemar
from mixmae_bench.results.power import images_needed, power, seeds_needed
from mixmae_bench.results.record import read_records

DIGITS = Path(__file__).parents[2] / "results/measured/digits/records.jsonl"
REPETITIONS, RESAMPLES = 4000, 50


def deviations(metric: str) -> dict[str, float]:
    """Return the standard deviation between seeds by method in the digits suite."""
    values: dict[str, list[float]] = {}
    for record in read_records(DIGITS)[0]:
        if metric in record.metrics:
            values.setdefault(record.method, []).append(record.metrics[metric])
    return {method: float(np.std(own, ddof=1)) for method, own in values.items()}


def simulated(
    generator: np.random.Generator, seeds: int, deviation: float, shared: float, single: float
) -> Runs:
    """Return repetitions of a method's runs of true mean 0.

    Args:
        generator: Random numbers.
        seeds: Number of seeds.
        deviation: Standard deviation between seeds, that of `single` included.
        shared: Standard deviation over images of what all seeds share.
        single: Standard deviation over images of a single run.
    """
    alone = max(deviation**2 - single**2, 0) ** 0.5
    size = (REPETITIONS, seeds)
    values = alone * generator.normal(size=size) + single * generator.normal(size=size)
    values += shared * generator.normal(size=(REPETITIONS, 1))
    resampled = single * generator.normal(size=(*size, RESAMPLES))
    resampled += shared * generator.normal(size=(REPETITIONS, 1, RESAMPLES))
    return Runs(values, values[..., None] + resampled)


def shifted(runs: Runs, delta: float) -> Runs:
    return Runs(runs.values + delta, runs.resampled + delta)


def misses(found: Difference, truth: float = 0.0) -> NDArray:
    low, high = found.interval()
    return (low > truth) | (high < truth)


def lower_end(count: int, total: int) -> float:
    return binomtest(count, total).proportion_ci(0.95).low


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("metric", "pair"),
    [
        ("top1", ("scratch", "mixmae")),  # deviations 2.1 and 1.0
        ("box_ap", ("mixmae", "scratch")),  # 1.1 and 0.3
        ("miou", ("scratch", "mixmae")),  # 2.5 and 0.4
    ],
)
@pytest.mark.parametrize("over_images", [0.0, 0.7], ids=["few images matter", "images matter"])
def test_equal_methods_differ_in_5_percent_or_less_and_intervals_cover_a_true_difference(
    metric: str, pair: tuple[str, str], over_images: float, seeds: int
) -> None:
    own = deviations(metric)
    generator = np.random.default_rng(0)
    first, second = (
        simulated(generator, seeds, own[method], over_images, min(over_images, own[method]))
        for method in pair
    )
    wrong = misses(difference(first, second))
    assert lower_end(int(wrong.sum()), REPETITIONS) <= 0.05
    # A shift of all values shifts the interval.
    assert (misses(difference(shifted(first, 3.0), second), 3.0) == wrong).all()


def test_classifiers_that_differ_by_seed_and_image_alone_differ_in_5_percent_or_less() -> None:
    """Zeros and ones of equal methods, each with images that are hard for it, and bootstrapped images."""
    generator = np.random.default_rng(0)
    images, repetitions, wrong = 200, 1000, 0
    for _ in range(repetitions):
        draws = generator.multinomial(images, [1 / images] * images, size=100).T / images
        hard, sides = generator.normal(size=images), []
        for _ in range(2):
            own = hard + 0.7 * generator.normal(size=images) + 0.2 * generator.normal(size=(3, 1))
            correct = own + 0.5 * generator.normal(size=(3, images)) < 1
            sides.append(Runs(100 * correct.mean(-1), 100 * correct @ draws))
        wrong += int(misses(difference(*sides)))
    assert lower_end(wrong, repetitions) <= 0.05
    assert wrong > 0


def test_without_the_images_equal_methods_differ_too_often() -> None:
    generator = np.random.default_rng(0)
    first, second = (simulated(generator, 5, 0.5, 0.7, 0.3) for _ in range(2))
    alone = misses(difference(Runs(first.values), Runs(second.values)))
    assert alone.mean() > 0.15


def test_holm_keeps_the_rate_of_any_false_verdict_among_four_equal_methods() -> None:
    generator = np.random.default_rng(0)
    made = [simulated(generator, 3, deviation, 0.5, 0.3) for deviation in deviations("top1").values()]
    repetitions = 2000
    wrong = 0
    for i in range(repetitions):
        own = [Runs(runs.values[i], runs.resampled[i]) for runs in made]
        pairs = [(a, b) for a in range(4) for b in range(a)]
        wrong += min(holm([difference(own[a], own[b]).p_value() for a, b in pairs])) < 0.05
    assert lower_end(wrong, repetitions) <= 0.05


@pytest.mark.parametrize(("seeds", "delta"), [(3, 7.0), (5, 4.0), (10, 2.5)])
def test_power_is_the_simulated_share_of_significant_differences(seeds: int, delta: float) -> None:
    own = deviations("top1")
    generator = np.random.default_rng(0)
    first, second = (simulated(generator, seeds, own[method], 0.5, 0.4) for method in ("scratch", "mixmae"))
    share = misses(difference(shifted(first, delta), second)).mean()
    variances = tuple(np.array(own[method] ** 2) for method in ("scratch", "mixmae"))
    truth = Difference(
        np.array(0.0), variances, (np.array(0.16),) * 2, np.array(2 * 0.25), (seeds,) * 2, RESAMPLES
    )
    assert 0.3 < share < 0.95
    assert power(truth, delta, seeds) == pytest.approx(share, abs=0.03)


def test_needed_seeds_and_images_are_the_first_with_80_percent() -> None:
    one = np.array(1.0)
    variances = Difference(one, (2 * one, 2 * one), (0.5 * one, 0.5 * one), one, (3, 3), 200)
    seeds = seeds_needed(variances, 3.0)
    assert power(variances, 3.0, seeds) >= 0.8 > power(variances, 3.0, seeds - 1)
    images = images_needed(variances, 4.5, 4, 1000)
    assert power(variances, 4.5, 4, images / 1000) >= 0.8 > power(variances, 4.5, 4, (images - 1) / 1000)
    # Without images, a difference of 0.1 needs more seeds than are tried; no images make up for seeds.
    assert seeds_needed(variances, 0.1) is None
    assert images_needed(variances, 1.0, 2, 1000) is None


def test_power_with_very_many_seeds_is_that_of_a_normal_test_of_the_images() -> None:
    zero, one = np.array(0.0), np.array(1.0)
    variances = Difference(zero, (one, one), (zero, zero), one, (3, 3), 10**6)
    # P(Z > 1.96 - 2.8) = 0.80.
    assert power(variances, 2.8, 10**6) == pytest.approx(0.7995, abs=1e-3)


def test_mcnemar_finds_a_difference_in_5_percent_or_less_of_equal_classifiers() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=(1000, 1, 200))
    right = hard + generator.normal(size=(1000, 2, 200)) < 1
    wrong = sum(mcnemar(*pair) < 0.05 for pair in right)
    assert lower_end(wrong, 1000) <= 0.05
