"""`mixmae-bench compare`: inside and outside the band of reference runs, and midway."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.results.curves import FILE, TOLERANCE, WIDER, Curve, bands, curves_of
from mixmae_bench.results.record import Record, append_record, read_records

DIGITS = Path(__file__).parents[1] / "results/measured/digits/records.jsonl"
CONFIG = "mixmae_mixmae-swin-small_1xb32-12e_digits"


@pytest.fixture
def runs() -> list[Record]:
    """Return the pretrainings with MixMAE of the digits."""
    return [r for r in read_records(DIGITS)[0] if (r.method, r.task) == ("mixmae", "pretraining")]


def training(folder: Path, losses: list[float], **changes: object) -> str:
    """Write the folder of a training after as many epochs as there are losses."""
    content = dict(
        name="mixmae/seed7/pretraining", config=CONFIG, epoch=len(losses), losses=losses, curves={}
    )
    (folder / FILE).write_text(json.dumps(content | changes))
    return str(folder)


def test_the_band_is_the_range_of_the_runs_widened_by_their_pooled_relative_spread() -> None:
    first: Curve = [(1, 2.0), (2, 1.0)]
    second: Curve = [(1, 4.0), (2, 1.0)]
    one, two = bands("loss", [first, second], [1, 2])
    # Relative variances: 2 / 3**2 and 0.
    share = WIDER * math.sqrt((2 / 9 + 0) / 2)
    assert (one.low, one.high) == pytest.approx((2 - 3 * share, 4 + 3 * share))
    assert (two.low, two.high) == pytest.approx((1 - share, 1 + share))
    # The scale of a metric is that of its largest mean.
    one, two = bands("top1", [first, second], [1, 2])
    share = WIDER * math.sqrt((2 / 9 + 0) / 2)
    assert (two.low, two.high) == pytest.approx((1 - 3 * share, 1 + 3 * share))


def test_one_reference_run_has_a_tolerance_and_values_between_epochs_are_interpolated() -> None:
    (band,) = bands("loss", [[(1.0, 4.0), (2.0, 2.0)]], [0.5, 1.5, 2.5])
    assert (band.epoch, band.low, band.high) == pytest.approx((1.5, 3 - 3 * TOLERANCE, 3 + 3 * TOLERANCE))


@pytest.mark.parametrize("epochs", [1, 7, 12])
def test_a_training_inside_the_band_is_so_at_any_point_of_it(
    runs: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str], epochs: int
) -> None:
    mean = [sum(values) / len(runs) for values in zip(*(r.losses for r in runs), strict=True)]
    assert main(["compare", training(tmp_path, mean[:epochs]), "digits"]) == 0
    assert f"inside   loss: up to epoch {epochs} ({epochs} points)" in capsys.readouterr().out


def test_the_first_point_outside_is_named(
    runs: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = [*runs[0].losses[:4], 1.5 * runs[0].losses[4], runs[0].losses[5]]
    assert main(["compare", training(tmp_path, losses), str(DIGITS)]) == 1
    assert "outside  loss: from epoch 5 on: " in capsys.readouterr().out
    assert main(["compare", training(tmp_path, [runs[0].losses[0], math.nan]), str(DIGITS)]) == 1
    assert "outside  loss: from epoch 2 on: nan" in capsys.readouterr().out


def test_before_the_first_epoch_there_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", training(tmp_path, []), "digits"]) == 0
    assert "nothing to compare yet" in capsys.readouterr().out


def test_a_record_is_compared_with_the_other_records_of_its_config_and_method(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", f"{DIGITS}:mixmae/seed0/pretraining", "digits"]) == 0
    assert "reference runs of seeds 1, 2, 3, 4" in capsys.readouterr().out


def test_the_record_of_a_finished_folder_is_no_reference_of_it(
    runs: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = training(tmp_path, runs[0].losses)
    assert main(["compare", folder, "digits"]) == 0
    assert "reference runs of seeds 1, 2, 3, 4" in capsys.readouterr().out
    append_record(tmp_path / "own.jsonl", runs[0])
    assert main(["compare", folder, str(tmp_path / "own.jsonl")]) == 2
    assert "own.jsonl has only the record of this training" in capsys.readouterr().err


def test_metrics_are_compared_at_their_epochs(
    runs: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "references.jsonl"
    for r in runs:
        top1 = 80.0 + r.seed
        own = dict(task="a", metrics={"top1": top1}, curves={"top1": [[6.0, top1 - 20]]})
        append_record(file, replace(r, **own))
    inside = training(tmp_path, [], name="mixmae/seed7/a", curves={"top1": [[6, 61.0], [12, 81.0]]})
    assert main(["compare", inside, str(file)]) == 0
    assert "inside   top-1: up to epoch 12 (2 points)" in capsys.readouterr().out
    outside = training(tmp_path, [], name="mixmae/seed7/a", curves={"top1": [[6, 50.0]]})
    assert main(["compare", outside, str(file)]) == 1
    assert "outside  top-1: from epoch 6 on: 50, band" in capsys.readouterr().out


def test_losses_of_a_record_end_where_its_training_ended(runs: list[Record]) -> None:
    by_iterations = replace(
        runs[0], epochs=None, iterations=250, epoch_iterations=100, losses=[3.0, 2.0, 1.0]
    )
    assert curves_of(by_iterations) == {"loss": [(0.5, 3.0), (1.5, 2.0), (2.5, 1.0)]}


@pytest.mark.parametrize(
    ("run", "reference", "says"),
    [
        ("nowhere", "digits", "nowhere is no folder of a training"),
        (".", "digits", f"has no {FILE}"),
        (f"{DIGITS}:mixmae/seed9/pretraining", "digits", "Did you mean 'mixmae/seed"),
        (f"{DIGITS}:mixmae/seed0/pretraining", "imagenet", f"imagenet has no run of config {CONFIG}"),
        (f"{DIGITS}:mixmae/seed0/pretraining", "nowhere.jsonl", "records nowhere.jsonl do not exist"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: str,
    reference: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", run, reference]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_training_that_does_not_tell_its_method_needs_references_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "mixmae-swin-small_1xb50-40e_digits"
    assert main(["compare", training(tmp_path, [1.0], name="", config=name), "digits"]) == 2
    assert "by several methods (mixmae, scratch, simmim, um-mae)" in capsys.readouterr().err
