"""Selection of rows of a table of published values by method, backbone, data and protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.published import Published
from mixmae_bench.results.record import Record

Row = TypeVar("Row", bound=Published | Record)


def _backbones(row: Published | Record) -> Iterable[str | None]:
    window = getattr(row, "window", None)
    # 'ViT-B/16' is 'ViT-B' too, and 'Swin-B' with window 14 is 'Swin-B/W14' too.
    return row.backbone, row.backbone.partition("/")[0], window and f"{row.backbone}/W{window}"


NAMES: dict[str, Callable[[Published | Record], Iterable[str | None]]] = {
    "method": lambda row: (row.method,),
    "backbone": _backbones,
    "data": lambda row: (row.dataset, getattr(row, "pretrain_data", None)),
    "protocol": lambda row: (getattr(row, "protocol", None),),
}
"""Functions that return the names of a row, by option of `mixmae-bench table`."""

Wanted = Mapping[str, Sequence[str]]
"""Names or patterns such as 'Hiera-*', by key of `NAMES`."""


def select(rows: Sequence[Row], wanted: Wanted) -> list[Row]:
    """Return the rows that have one of the wanted names under every option; upper and lower case are equal.

    Raises:
        UserError: If no row has a name, or no row has a name of every option.
    """
    chosen = list(rows)
    for option, patterns in wanted.items():
        known = sorted({name for row in rows for name in NAMES[option](row) if name})
        for pattern in patterns:
            if not any(_matches(name, pattern) for name in known):
                near = did_you_mean(pattern, known)
                raise UserError(
                    f"--{option} '{pattern}' is not in this table.{near} Known: {'; '.join(known)}"
                )
        chosen = [
            row
            for row in chosen
            if any(_matches(name, pattern) for name in NAMES[option](row) if name for pattern in patterns)
        ]
    if not chosen:
        given = " ".join(f"--{option} '{name}'" for option, names in wanted.items() for name in names)
        raise UserError(f"no row of this table matches {given} together; leave one of them out")
    return chosen


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())
