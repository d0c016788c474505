"""Differences of two methods against closed forms, brute force and scipy."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mixmae_bench.results.differences import Runs, difference, holm, image_difference, mcnemar

IMAGES, RESAMPLES = 60, 40_000


def correct(seeds: int, seed: int) -> NDArray:
    """Return zeros and ones (seeds, images) of classifiers that find the same images hard."""
    generator = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(size=IMAGES) + generator.normal(size=IMAGES)
    return (hard + generator.normal(size=(seeds, 1)) + generator.normal(size=(seeds, IMAGES)) < 1).astype(
        float
    )


def runs(values: NDArray) -> Runs:
    """Return accuracies with bootstrapped ones, on the same resamples of the images."""
    draws = np.random.default_rng(0).multinomial(IMAGES, [1 / IMAGES] * IMAGES, size=RESAMPLES)
    return Runs(values.mean(-1), values @ draws.T / IMAGES)


def mean_squares(values: NDArray) -> tuple[float, float, float]:
    """Return the mean squares of seeds, images and interaction in a crossed design (seeds, images)."""
    seeds, images = values.shape
    by_seed, by_image = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = values - by_seed - by_image + values.mean()
    return (
        images * by_seed.var(ddof=1),
        seeds * by_image.var(ddof=1),
        (rest**2).sum() / ((seeds - 1) * (images - 1)),
    )


def test_variance_is_that_of_a_crossed_design() -> None:
    values = correct(4, 1)
    seeds, images, interaction = mean_squares(values)
    # Against a constant with no variance, the difference is the mean of one method.
    nothing = np.zeros((4, IMAGES))
    found = difference(runs(values), runs(nothing))
    # The bootstrap divides by the number of images, not by one less.
    rest = (images - interaction) * (IMAGES - 1) / IMAGES
    assert found.error**2 == pytest.approx((seeds + rest) / values.size, rel=0.02)
    assert found.interaction[0] == pytest.approx(interaction * (IMAGES - 1) / IMAGES**2, rel=0.02)


def test_images_are_paired_between_the_methods() -> None:
    first, second = correct(3, 1), correct(3, 2)
    found = difference(runs(first), runs(second))
    per_image = first.mean(0) - second.mean(0)
    own = sum(found.interaction) / 3
    assert found.images + own == pytest.approx(per_image.var() / IMAGES, rel=0.02)
    alone = (first.mean(0).var() + second.mean(0).var()) / IMAGES
    assert found.images + own < 0.8 * alone


def test_the_parts_add_up_to_a_bootstrap_of_both_levels() -> None:
    """Every resample of the seeds of both methods, and 300 of the images."""
    first, second = (correct(3, seed) for seed in (1, 2))
    draws = np.random.default_rng(0).multinomial(IMAGES, [1 / IMAGES] * IMAGES, size=300)
    a, b = (
        (values @ draws.T / IMAGES)[list(product(range(3), repeat=3))].mean(1) for values in (first, second)
    )
    brute = (a[:, None] - b[None]).var()  # seeds of the first x seeds of the second x images
    sides = [Runs(values.mean(-1), values @ draws.T / IMAGES) for values in (first, second)]
    found = difference(*sides)
    # A bootstrap of n seeds has (n - 1) / n of the variance between them, here on resampled images.
    over_seeds = sum(own.resampled.var(axis=0).mean() for own in sides) / 3
    shared = found.images + sum(found.interaction) / 3
    assert brute == pytest.approx(shared * 299 / 300 + over_seeds, rel=1e-9)


def test_without_images_it_is_welchs_statistic_with_seeds_less_one_degrees_of_freedom() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(1, 2, 4), generator.normal(0, 0.5, 4)
    found = difference(Runs(first), Runs(second))
    statistic = stats.ttest_ind(first, second, equal_var=False).statistic
    assert found.estimate / found.error == pytest.approx(statistic, rel=1e-9)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(abs(statistic), 3), rel=1e-9)
    low, high = found.interval()
    assert (high - low) / 2 == pytest.approx(3.18245 * found.error, rel=1e-5)  # the table of Student's t
    assert found.resamples == 0


def test_of_unequal_numbers_of_seeds_the_critical_values_are_weighted_by_variance() -> None:
    # Variances 1 / 2 and 3 / 3: t of 1 and of 2 degrees of freedom at 5 % are 12.706 and 4.3027.
    first, second = Runs(np.array([0.0, 2**0.5])), Runs(np.array([-(3**0.5), 0.0, 3**0.5]))
    low, high = difference(first, second).interval()
    assert (high - low) / 2 == pytest.approx(1.5**0.5 * (0.5 * 12.7062 + 4.30265) / 1.5, rel=1e-5)


def test_the_p_value_is_the_level_at_which_the_interval_touches_no_difference() -> None:
    found = difference(runs(correct(3, 1)), runs(correct(3, 4)))
    p = found.p_value()
    ends = np.abs(found.interval(p))
    assert 0.001 < p < 0.999
    assert min(ends) == pytest.approx(0, abs=1e-9)


def test_without_seeds_variance_the_critical_value_is_that_of_the_images() -> None:
    resampled = np.random.default_rng(0).normal(50, 1, 200)
    first = Runs(np.full(3, 52.0), np.tile(resampled, (3, 1)))
    second = Runs(np.full(3, 50.0), np.full((3, 200), 50.0))
    found = difference(first, second)
    statistic = 2 / resampled.std(ddof=1)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(statistic, 199), rel=1e-9)


def test_no_verdict_rests_on_seeds_that_agree_by_rounding() -> None:
    assert difference(Runs(np.array([64.1, 64.1])), Runs(np.array([63.0, 63.0]))).p_value() == 1


def test_one_seed_gives_no_difference_over_seeds_but_one_of_the_given_models() -> None:
    first, second = runs(correct(1, 1)), runs(correct(1, 2))
    with pytest.raises(ValueError, match="two seeds"):
        difference(first, second)
    estimate, error = image_difference(first, second)
    per_image = correct(1, 1)[0] - correct(1, 2)[0]
    assert estimate == pytest.approx(per_image.mean())
    assert error == pytest.approx(per_image.std() / IMAGES**0.5, rel=0.02)


def test_mcnemar_is_the_tail_of_a_fair_coin() -> None:
    first = np.array([True] * 9 + [False] * 2 + [True] * 5)
    second = np.array([False] * 9 + [True] * 2 + [True] * 5)
    # 2 P(at most 2 of 11) = 2 (1 + 11 + 55) / 2^11.
    assert mcnemar(first, second) == pytest.approx(2 * 67 / 2048)
    assert mcnemar(first, first) == 1


def test_holm_is_the_step_down_rule() -> None:
    # 0.01 x 4, 0.02 x 3 = 0.06, 0.025 x 2 = 0.05 raised to 0.06, 0.5.
    assert holm([0.025, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
