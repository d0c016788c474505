"""The accepted submissions keep to the rules, as long as their version of the suite is the current one."""

import json
from pathlib import Path

import pytest

from mixmae_bench.submissions.check import check
from mixmae_bench.suite.spec import shipped_outlines
from mixmae_bench.system.shipped import shipped

VERSIONS = {name: outline.version for name, outline in shipped_outlines().items()}


def is_current(submission: Path) -> bool:
    first = json.loads((submission / "records.jsonl").read_text(encoding="utf-8").partition("\n")[0])
    return VERSIONS.get(first["suite"]) == first["suite_version"]


ACCEPTED = [file.parent for file in sorted((shipped("results") / "submissions").glob("*/records.jsonl"))]


@pytest.mark.parametrize("submission", [own for own in ACCEPTED if is_current(own)], ids=lambda own: own.name)
def test_an_accepted_submission_keeps_to_the_rules(submission: Path) -> None:
    assert check(submission) == []
