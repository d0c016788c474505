"""Check that a label means the same class in training, validation and test."""

from collections.abc import Sequence

from mixmae_bench.errors import UserError

Names = tuple[str, ...]


def check_class_names(told: Sequence[tuple[str, Names]]) -> None:
    """Check that all sources give the same class names.

    Args:
        told: Pairs of a source and its class names in the order of the labels.

    Raises:
        UserError: If two sources differ. The message names both.
    """
    for what, names in told[1:]:
        first, wanted = told[0]
        if names != wanted:
            raise UserError(
                f"data: labels mean other classes in {first} than in {what}: "
                f"{_difference(wanted, names)}; give both the same classes in the same order"
            )


def _difference(one: Names, other: Names) -> str:
    for label, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            return f"label {label} is '{first}' in the one and '{second}' in the other"
    return f"the one has {len(one)} and the other {len(other)}"
