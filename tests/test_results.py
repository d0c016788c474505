"""The committed results are those of the committed configs, and the README shows them."""

from pathlib import Path

import pytest

from mixmae_bench.config import content_hash, load_config
from mixmae_bench.record import read_records
from mixmae_bench.report.suite import suite_table
from mixmae_bench.report.table import markdown_body
from mixmae_bench.suite.spec import read_suite

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "results" / "measured" / "digits"


def test_the_digits_results_cover_three_seeds_of_the_whole_suite() -> None:
    records, complaints = read_records(DIGITS / "records.jsonl")
    assert complaints == []
    suite = read_suite(ROOT / "configs" / "suites" / "digits.yaml", seeds=[0, 1, 2])
    cells = {(cell.method.name, cell.task, cell.seed) for cell in suite.cells()}
    assert {(r.method, r.task, r.seed) for r in records} == cells
    assert {r.suite_version for r in records} == {suite.version}


def test_the_digits_results_are_of_todays_configs() -> None:
    records, _ = read_records(DIGITS / "records.jsonl")
    hashes = {record.config: record.config_hash for record in records}
    assert hashes
    for config, recorded in hashes.items():
        assert content_hash(load_config(ROOT / "configs" / "suites" / config)) == recorded, (
            f"{config} changed: run the suite again"
        )


@pytest.mark.parametrize("file", [DIGITS / "table.md", ROOT / "README.md"])
def test_the_tables_shown_are_those_of_the_records(file: Path) -> None:
    records, _ = read_records(DIGITS / "records.jsonl")
    table = markdown_body(suite_table("digits", records)).strip()
    assert table in file.read_text(encoding="utf-8")
