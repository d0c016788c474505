"""Which published row a run belongs to: that of its config and of the config of its pretraining."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath, PurePosixPath

from mixmae_bench.report.columns import latest
from mixmae_bench.results.outline import PRETRAINING
from mixmae_bench.results.published import Published
from mixmae_bench.results.record import Record

Key = tuple[str, str]
"""Names of the config of a task and of the config of its pretraining; fields `model` and `pretrain` of a
published row."""

PublishedRows = Mapping[Key, list[Published]]
"""Published rows by the configs of this repository that follow their recipe."""


def by_configs(tables: Mapping[str, Sequence[Published]]) -> PublishedRows:
    """Return the published rows that name both configs, by their names."""
    found: dict[Key, list[Published]] = {}
    for row in (row for rows in tables.values() for row in rows):
        if row.model and row.pretrain:
            found.setdefault((stem(row.model), stem(row.pretrain)), []).append(row)
    return found


def key_of(record: Record, by_key: Mapping[str, Record]) -> Key | None:
    """Return the key of a record, or None if the pretraining of its initial weights is unknown.

    Args:
        record: A record of a transfer.
        by_key: Records by their field `key`; those of its parents tell the pretraining.
    """
    first = record
    while first.parent in by_key:
        first = by_key[first.parent]
    made_by = first.config if first.task == PRETRAINING else first.pretrained_by
    return (stem(record.config), stem(made_by)) if made_by else None


def joined(rows: Sequence[Published], records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the records of every published row."""
    by_key = {record.key: record for record in records}
    found: dict[Key | None, list[Record]] = {}
    for record in latest(records):
        found.setdefault(key_of(record, by_key), []).append(record)
    for row in rows:
        yield found.get((stem(row.model), stem(row.pretrain)), []) if row.model and row.pretrain else []


def published_value(rows: PublishedRows, keys: Iterable[Key | None], metric: str) -> float | None:
    """Return the published value of a metric for one of some keys, or None."""
    values = (row.values.get(metric) for key in keys if key in rows for row in rows[key])
    return next((value for value in values if value is not None), None)


def stem(config: str | PurePath) -> str:
    """Return the name of a config without folder and suffix."""
    return PurePosixPath(config).stem
