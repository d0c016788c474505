"""Tables of verdicts: what a cell says, and what is said with one seed, or without outcomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_records import record

from mixmae_bench.report.verdicts import verdict_tables, verdicts_markdown
from mixmae_bench.results.differences import Runs, difference, holm, mcnemar
from mixmae_bench.results.outcomes import Classified, make_outcomes, write_outcomes
from mixmae_bench.results.record import Record
from mixmae_bench.results.verdicts import matrices

IMAGES = 400


def correct(rate: float, seed: int) -> np.ndarray:
    hard = np.random.default_rng(0).random(IMAGES)
    return hard + 0.1 * np.random.default_rng([seed, int(1000 * rate)]).normal(size=IMAGES) < rate


def with_outcomes(folder: Path, method: str, seed: int, rate: float, images: str = "") -> Record:
    right = correct(rate, seed)
    made = make_outcomes(
        [f"{images}{i}.png" for i in range(IMAGES)], {"top1": Classified(right, np.zeros(IMAGES, np.float32))}
    )
    own = record(method, seed, top1=100 * float(right.mean()))
    name = f"outcomes/{own.key}.npz"
    return replace(own, outcomes=name, outcomes_hash=write_outcomes(folder / name, made))


def three(folder: Path, seeds: int) -> list[Record]:
    rates = {"scratch": 0.5, "simmim": 0.8, "mixmae": 0.81}
    return [with_outcomes(folder, m, seed, rate) for m, rate in rates.items() for seed in range(seeds)]


def cells(records: list[Record], folder: Path) -> dict[tuple[str, str], str]:
    (table,) = verdict_tables(*matrices(records, [folder]))
    return {
        (row[0], column.removeprefix("vs ")): cell
        for row in table.rows
        for column, cell in zip(table.columns[1:-1], row[1:-1], strict=True)
    }


def test_a_cell_has_difference_interval_corrected_p_and_verdict(tmp_path: Path) -> None:
    found = cells(three(tmp_path, 3), tmp_path)
    runs = {}
    for method, rate in (("scratch", 0.5), ("simmim", 0.8), ("mixmae", 0.81)):
        right = np.array([correct(rate, seed) for seed in range(3)])
        generator = np.random.default_rng(0)
        draws = np.array(
            [np.bincount(generator.integers(IMAGES, size=IMAGES), minlength=IMAGES) for _ in range(200)]
        )
        runs[method] = Runs(100 * right.mean(1), 100 * right @ draws.T / IMAGES)
    pairs = [("mixmae", "simmim"), ("mixmae", "scratch"), ("simmim", "scratch")]
    own = [difference(runs[a], runs[b]) for a, b in pairs]
    p = holm([one.p_value() for one in own])
    low, high = own[1].interval()
    assert p[1] < 0.05 < p[0]
    text = f"{float(own[1].estimate):+.2f} [{low:+.2f}, {high:+.2f}], p {p[1]:.2g}"
    assert found["mixmae", "scratch"] == f"{text}: better"
    assert found["scratch", "mixmae"].endswith(": worse")
    assert found["scratch", "mixmae"].startswith(
        f"{-float(own[1].estimate):+.2f} [{-high:+.2f}, {-low:+.2f}]"
    )
    assert found["simmim", "mixmae"].endswith(": not distinguishable")
    assert found["mixmae", "mixmae"] == ""


def test_notes_say_what_is_resampled_and_what_a_difference_of_one_needs(tmp_path: Path) -> None:
    (table,) = verdict_tables(*matrices(three(tmp_path, 3), [tmp_path]))
    notes = " ".join(table.notes)
    assert table.title == "Verdicts: classification on digits, top-1"
    assert "corrected for the 3 comparisons" in notes
    assert "other seeds and other images" in notes
    assert "Only seeds are resampled" not in notes
    assert "A true difference of 1 between" in notes
    assert "Kendall's tau of" in notes


def test_without_outcomes_the_verdict_is_over_seeds_alone_and_says_so(tmp_path: Path) -> None:
    records = [replace(r, outcomes=None, outcomes_hash=None) for r in three(tmp_path, 3)]
    (table,) = verdict_tables(*matrices(records, [tmp_path]))
    assert any(note.startswith("Only seeds are resampled") for note in table.notes)
    assert cells(records, tmp_path)["mixmae", "scratch"].endswith(": better")


def test_runs_on_other_images_are_not_paired(tmp_path: Path) -> None:
    records = three(tmp_path, 2)
    records += [with_outcomes(tmp_path, "um-mae", seed, 0.6, "other/") for seed in range(2)]
    ((matrix,), complaints) = matrices(records, [tmp_path])
    assert complaints == []
    bases = {pair: own.basis for pair, own in matrix.comparisons.items()}
    assert {basis for pair, basis in bases.items() if "um-mae" in pair} == {"seeds"}
    assert {basis for pair, basis in bases.items() if "um-mae" not in pair} == {"seeds and images"}


def test_one_seed_has_no_verdict_but_the_error_over_images_and_mcnemars_test(tmp_path: Path) -> None:
    records = three(tmp_path, 1)[:2]
    (table,) = verdict_tables(*matrices(records, [tmp_path]))
    pair = correct(0.8, 0), correct(0.5, 0)
    per_image = 100 * (pair[0].astype(float) - pair[1])
    cell = cells(records, tmp_path)["simmim", "scratch"]
    estimate, _, error = cell.partition(", ")[0].split()
    assert float(estimate) == pytest.approx(per_image.mean(), abs=0.006)
    assert float(error) == pytest.approx(per_image.std() / IMAGES**0.5, rel=0.15)  # 200 resamples
    assert cell.endswith(f", p {mcnemar(*pair):.2g}")
    assert table.notes == [note for note in table.notes if "No verdict over seeds is possible" in note]


def test_one_seed_without_outcomes_has_the_difference_alone() -> None:
    records = [record("scratch", 0, box_ap=50.0), record("mixmae", 0, box_ap=52.5)]
    (table,) = verdict_tables(*matrices(records, [Path("nowhere")]))
    assert [row[1:-1] for row in table.rows] == [["", "+2.50"], ["-2.50", ""]]
    assert table.notes[0].startswith("No verdict is possible")


def test_outcomes_that_are_gone_or_changed_or_untrue_are_told_and_not_used(tmp_path: Path) -> None:
    records = three(tmp_path, 2)
    (tmp_path / records[0].outcomes).unlink()
    (tmp_path / records[1].outcomes).write_bytes(b"other")
    records[2] = replace(records[2], metrics={"top1": 12.0})
    (table,) = verdict_tables(*matrices(records, [tmp_path]))
    last = table.notes[-1]
    assert "scratch/seed0/classification: outcomes " in last
    assert "cannot be read" in last
    assert "scratch/seed1/classification: outcomes " in last
    assert "another hash" in last
    assert "simmim/seed0/classification: top1 is " in last
    assert any(note.startswith("Only seeds are resampled") for note in table.notes)


def test_outcomes_are_found_in_any_of_the_folders(tmp_path: Path) -> None:
    records = three(tmp_path / "b", 2)
    ((matrix,), complaints) = matrices(records, [tmp_path / "a", tmp_path / "b"])
    assert complaints == []
    assert {own.basis for own in matrix.comparisons.values()} == {"seeds and images"}


def test_of_two_files_for_a_run_the_one_that_the_record_names_is_used(tmp_path: Path) -> None:
    """A run of two suites with one recipe has one key, and an outcome file of that name in both folders."""
    records = three(tmp_path / "b", 2)
    for own in records:
        other = tmp_path / "a" / own.outcomes
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"another run")
    ((matrix,), complaints) = matrices(records, [tmp_path / "a", tmp_path / "b"])
    assert complaints == []
    assert {own.basis for own in matrix.comparisons.values()} == {"seeds and images"}


def test_a_lower_value_is_better_where_the_catalog_says_so() -> None:
    from mixmae_bench.results.metrics import METRICS, Metric

    METRICS["ece"] = Metric("ece", "ECE", "%", higher_is_better=False)
    try:
        values = {"scratch": (20.0, 20.5, 21.0), "mixmae": (2.0, 2.5, 3.0)}
        records = [
            replace(record(method, seed, top1=0.0), metrics={"ece": value})
            for method, own in values.items()
            for seed, value in enumerate(own)
        ]
        text = verdicts_markdown(records, [])
    finally:
        del METRICS["ece"]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[2][0] == "| mixmae"
    assert rows[2][2].startswith("-18.00")
    assert rows[2][2].endswith("better")


def test_pretraining_and_lone_methods_have_no_table() -> None:
    alone = [record("mixmae", seed, top1=80.0 + seed) for seed in range(3)]
    losses = [record(method, 0, loss=0.5) for method in ("mixmae", "simmim")]
    assert verdict_tables(*matrices([*alone, *losses], [])) == []
    assert verdicts_markdown([], []) == ""
