"""Groups of windows with different numbers of visible tokens (arXiv 2205.13515).

A group has a fixed number of slots and contains all tokens of one or more windows. Attention is computed in
groups and masked between windows, so its cost is (number of groups) * (slots per group)^2.

For a given number of slots, the paper fills one group after the other, each as full as possible. Each step is
a 0/1 knapsack problem with values equal to weights, which a dynamic programme solves exactly. The sequence of
steps is greedy: it may need more groups than necessary. For 2,000 random sets of 2 to 8 windows with 1 to 49
tokens, its cost was 0.02 % above the optimum on average and 13 % at most, and equal to it in 99.7 % of the
sets (`tests/backbones/layers/test_grouping.py`). For 200 random masks of Swin-B/W7 at 224 px, it was on
average 0 to 10 % above a lower bound of the optimum, min over n of ceil(tokens / n) * n^2, by the stage.
"""

from collections.abc import Sequence


def fullest_subset(sizes: Sequence[int], capacity: int) -> list[int]:
    """Return the indices of the items with the largest total size up to a capacity, in increasing order.

    If several subsets have this size, an item is chosen only if the items before it cannot reach the rest.

    Args:
        sizes: Sizes of the items, at least 1.
        capacity: Largest total size.
    """
    reachable = [1]  # bit s of entry i: some of the first i items have the total size s
    for size in sizes:
        reachable.append((reachable[-1] | reachable[-1] << size) & ((2 << capacity) - 1))
    rest = reachable[-1].bit_length() - 1
    chosen = []
    for i in reversed(range(len(sizes))):
        if not reachable[i] >> rest & 1:
            chosen.append(i)
            rest -= sizes[i]
    return chosen[::-1]


def fill_groups(sizes: Sequence[int], slots: int) -> list[list[int]]:
    """Assign all windows to groups, each group as full as possible.

    Args:
        sizes: Tokens of every window, from 1 to `slots`.
        slots: Slots per group.

    Returns:
        The indices of the windows of every group.
    """
    remaining, groups = list(range(len(sizes))), []
    while remaining:
        chosen = fullest_subset([sizes[i] for i in remaining], slots)
        groups.append([remaining[i] for i in chosen])
        remaining = [window for i, window in enumerate(remaining) if i not in set(chosen)]
    return groups


def group_windows(sizes: Sequence[int], most_slots: int | None = None) -> tuple[int, list[list[int]]]:
    """Choose the number of slots with the lowest cost of attention, the smallest one if costs are equal.

    Args:
        sizes: Tokens of every window, at least 1.
        most_slots: Largest number of slots, at least the size of the largest window; None for no limit.

    Returns:
        The slots per group, and the indices of the windows of every group.
    """
    tokens = sum(sizes)
    best: tuple[int, int, list[list[int]]] | None = None
    for slots in range(max(sizes), min(tokens, most_slots or tokens) + 1):
        if best is not None and tokens * slots >= best[0]:
            break  # groups >= tokens / slots, so neither this number of slots nor a larger one costs less
        groups = fill_groups(sizes, slots)
        cost = len(groups) * slots**2
        if best is None or cost < best[0]:
            best = cost, slots, groups
    return best[1:]
