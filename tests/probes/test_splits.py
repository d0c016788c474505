"""Splits and shots: stratified, seeded, apart from each other."""

import numpy as np
import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.probes.splits import carve, check_classes, draw_shots

LABELS = np.repeat(np.arange(4), (20, 30, 10, 40)).astype(np.int64)
NAMES = ("ant", "bee", "cat", "dog")


def test_a_fifth_of_every_class_is_held_out() -> None:
    fit, held = carve(LABELS, seed=3)
    assert np.bincount(LABELS[held]).tolist() == [4, 6, 2, 8]
    assert sorted([*fit, *held]) == list(range(100))


def test_the_split_follows_the_seed() -> None:
    first, again, other = (carve(LABELS, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_shots_are_as_many_of_every_class_and_never_from_the_held_out_images() -> None:
    fit, held = carve(LABELS, 0)
    for shots in (1, 2, 5, 8):
        drawn = draw_shots(LABELS, fit, shots, 0, NAMES)
        assert np.bincount(LABELS[drawn]).tolist() == [shots] * 4
        assert not np.isin(drawn, held).any()


def test_shots_follow_the_seed_and_fewer_are_among_more() -> None:
    fit, _ = carve(LABELS, 0)
    one, two, again, other = (
        draw_shots(LABELS, fit, n, s, NAMES) for n, s in ((1, 0), (2, 0), (2, 0), (2, 1))
    )
    assert set(one) < set(two)
    assert two.tolist() == again.tolist() != other.tolist()


def test_all_images_of_a_class_are_drawn_over_the_seeds() -> None:
    fit, _ = carve(LABELS, 0)
    drawn = {int(own) for seed in range(200) for own in draw_shots(LABELS, fit, 1, seed, NAMES)}
    assert drawn == set(fit.tolist())


def test_a_class_with_fewer_images_than_shots_is_an_error_with_its_name() -> None:
    fit, _ = carve(LABELS, 0)
    with pytest.raises(UserError, match=r"class 'cat' has 8 training images outside .* 9 shots need 9"):
        draw_shots(LABELS, fit, 9, 0, NAMES)


def test_a_class_that_is_absent_from_the_images_to_draw_from_is_an_error() -> None:
    fit = np.flatnonzero(LABELS != 2)
    with pytest.raises(UserError, match="class 'cat' has 0 training images"):
        draw_shots(LABELS, fit, 1, 0, NAMES)


def test_a_class_that_is_only_evaluated_is_an_error() -> None:
    check_classes(LABELS, LABELS[:5], NAMES)
    with pytest.raises(UserError, match="class 'dog' has validation images, but no training image"):
        check_classes(LABELS[LABELS < 3], LABELS, NAMES)


def test_too_few_images_for_a_split_are_an_error() -> None:
    with pytest.raises(UserError, match="2 training images are too few"):
        carve(np.array([0, 1]), 0)
