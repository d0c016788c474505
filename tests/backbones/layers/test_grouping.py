"""Groups of windows: each knapsack step is exact, and the sequence of steps is close to the optimum."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pytest

from mixmae_bench.backbones.layers.grouping import fill_groups, fullest_subset, group_windows


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Yield all partitions of items into groups."""
    if not items:
        yield []
        return
    first, *rest = items
    for groups in partitions(rest):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


def least_cost(sizes: Sequence[int]) -> int:
    """The lowest (number of groups) * (largest group)^2 of all partitions."""
    return min(len(groups) * max(map(sum, groups)) ** 2 for groups in partitions(list(sizes)))


def cost_of(sizes: Sequence[int]) -> int:
    slots, groups = group_windows(sizes)
    assert sorted(window for group in groups for window in group) == list(range(len(sizes)))
    assert all(sum(sizes[window] for window in group) <= slots for group in groups)
    return len(groups) * slots**2


def random_sizes(count: int, seed: int) -> Iterator[list[int]]:
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield generator.integers(1, 50, generator.integers(2, 9)).tolist()


def test_every_knapsack_step_fills_a_group_as_brute_force_does() -> None:
    generator = np.random.default_rng(0)
    for sizes in random_sizes(200, seed=1):
        capacity = int(generator.integers(1, sum(sizes) + 3))
        chosen = fullest_subset(sizes, capacity)
        assert chosen == sorted(set(chosen))
        sums = (sum(c) for n in range(len(sizes) + 1) for c in combinations(sizes, n))
        assert sum(sizes[i] for i in chosen) == max(s for s in sums if s <= capacity)


def test_of_equally_full_subsets_the_earlier_items_are_chosen() -> None:
    assert fullest_subset([3, 3, 3], 6) == [0, 1]
    assert fullest_subset([1, 2, 3], 3) == [0, 1]
    assert fullest_subset([4, 5], 3) == []


def test_groups_are_filled_one_after_the_other() -> None:
    assert fill_groups([4, 3, 2, 5], 7) == [[0, 1], [2, 3]]
    assert fill_groups([7], 7) == [[0]]


def test_no_other_number_of_slots_costs_less_and_a_smaller_one_costs_more() -> None:
    for sizes in random_sizes(200, seed=2):
        slots, groups = group_windows(sizes)
        costs = {n: len(fill_groups(sizes, n)) * n**2 for n in range(max(sizes), sum(sizes) + 1)}
        assert costs[slots] == len(groups) * slots**2 == min(costs.values())
        assert all(cost > costs[slots] for n, cost in costs.items() if n < slots)


def test_slots_are_limited() -> None:
    sizes = [9] + [5] * 10
    assert group_windows(sizes)[0] == group_windows(sizes, 10)[0] == 10
    assert group_windows(sizes, 9)[0] == 9


def test_the_greedy_sequence_is_close_to_the_optimum() -> None:
    """The docstring of `grouping` states the values for 2,000 sets."""
    ratios = np.array([cost_of(sizes) / least_cost(sizes) for sizes in random_sizes(300, seed=3)])
    assert ratios.min() == 1
    assert ratios.mean() == pytest.approx(1.0002, abs=0.001)
    assert ratios.max() < 1.15
    assert (ratios == 1).mean() > 0.98
