"""Versions of suites: which results of older versions hold for the current one.

`tools/suite_versions.py` writes the file of this package's suites.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mixmae_bench.results.record import Record
from mixmae_bench.suite.plan import Plan
from mixmae_bench.suite.spec import Run, Suite
from mixmae_bench.system.shipped import shipped

FILE = Path("suites", "versions.json")

Versions = dict[str, dict]
"""By suite: 'version', and 'runs' with 'hash' and 'since' of every METHOD/TASK."""


def read_versions() -> Versions:
    """Return the content of the file."""
    return json.loads((shipped("configs") / FILE).read_text(encoding="utf-8"))


def since(suite: Suite, run: Run) -> int:
    """Return the oldest version of a suite from which the result of a run is still valid.

    Results of another identity are never valid (see `suite.identity`). In the suites of this package, a
    change of metrics, of defaults of classes or of the grid makes older results invalid too.
    """
    own = read_versions().get(suite.name)
    if own is None or own["version"] != suite.version:
        return 1
    entry = own["runs"].get(f"{run.method.name}/{run.task}")
    return entry["since"] if entry else 1


def holding(
    suite: Suite, plans: Mapping[str, Plan], records: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Sort out the records of older versions of a suite.

    Args:
        suite: The suite.
        plans: Its runs by name.
        records: Records in the suite's folder.

    Returns:
        The records, without those of older versions that do not hold for the suite's version; and, with this
        version, the last of those that hold, for every run without a record of this version.
    """
    kept, raised = list(records), []
    for planned in plans.values():
        own = [record for record in records if (record.suite, record.key) == (suite.name, planned.key)]
        if not own or any(record.suite_version >= suite.version for record in own):
            continue
        oldest = since(suite, planned.run)
        if held := [record for record in own if record.suite_version >= oldest]:
            raised.append(replace(held[-1], suite_version=suite.version))
        else:
            kept = [record for record in kept if record not in own]
    return kept, raised
