"""docs/add-a-metric.md as a reader follows it: its files and its suite, unchanged, on a shortened config."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import arguments, commands, read_page, write_files, write_short_configs

from mixmae_bench.cli import main
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.record import read_records

PAGE = read_page("add-a-metric.md")


@pytest.fixture(autouse=True)
def _metrics_as_before() -> Iterator[None]:
    yield
    METRICS.pop("ece", None)


def test_the_metric_of_the_document_is_in_the_record_and_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = "classification/mixmae-swin-small_1xb50-40e_digits.py"
    write_short_configs(tmp_path / "mixmae-bench", {config: "classification.py"})
    folder = write_files(PAGE, tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (run,) = arguments(*commands(PAGE))
    assert main([*run, "--jobs", "1"]) == 0

    ((record,), complaints) = read_records(folder / "work_dirs" / "calibration" / "records.jsonl")
    assert complaints == []
    assert record.metrics.keys() == {"top1", "ece"}
    assert 0 < record.metrics["ece"] <= 100
    title, *_, row = [
        line.strip("| ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")
    ]
    values = dict(zip(title.split(" | "), row.split(" | "), strict=True))
    assert values["ECE"] == f"{record.metrics['ece']:.2f}"
    table = (folder / "work_dirs" / "calibration" / "table.md").read_text()
    assert "ECE: expected calibration error over 15 bins of confidence, %." in table
    assert "ECE" in (folder / "work_dirs" / "calibration" / "report.html").read_text()
