"""Predictions among a subset of classes, several right labels, and both means of corruption errors."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mixmae_bench.datasets.catalog.imagenet_c import CORRUPTIONS, EXTRA
from mixmae_bench.results.record import append_record, read_records
from mixmae_bench.results.robustness import (
    ROBUSTNESS_SCHEMA,
    RobustnessRecord,
    of_same_weights,
    read_robustness,
)
from mixmae_bench.robustness.corruption_error import ALEXNET_ERRORS, mce_alexnet, mean_error
from mixmae_bench.robustness.measure import best_classes, correct

DIGITS = Path(__file__).parents[2] / "results/measured/digits/records.jsonl"


def brute_force(logits: Sequence[float], classes: Sequence[int]) -> list[int]:
    return sorted(classes, key=lambda label: logits[label], reverse=True)[:5]


@pytest.mark.parametrize("classes", [range(30), [3, 7, 8, 20, 21, 29]])
def test_the_best_classes_are_those_of_brute_force(classes: Sequence[int]) -> None:
    logits = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    expected = [brute_force(own, classes) for own in logits.tolist()]
    assert best_classes(logits, list(classes)).tolist() == expected


def test_a_class_outside_of_the_subset_is_never_predicted() -> None:
    logits = torch.tensor([[9.0, 1.0, 8.0, 3.0, 2.0, -1.0, 0.0]])
    assert best_classes(logits, [1, 3, 4, 5, 6]).tolist() == [[3, 4, 1, 6, 5]]


def test_a_prediction_is_right_if_it_is_one_of_the_labels() -> None:
    best = np.array([[7, 1, 2, 3, 4], [7, 1, 2, 3, 4], [0, 1, 2, 9, 4], [5, 6, 7, 8, 9]])
    truth = [{7}, {2, 50}, {9, 0}, {1}]
    assert correct(best, truth).tolist() == [
        [True] * 5,
        [False, False, True, True, True],
        [True] * 5,
        [False] * 5,
    ]
    tops = 100 * correct(best, truth).mean(axis=0)
    assert tops.tolist() == [50, 50, 75, 75, 75]


def errors_of(factor: dict[str, float]) -> dict[str, list[float]]:
    """Return errors with the mean FACTOR x AlexNet's, different for every severity."""
    spread = (-20, -10, 0, 5, 25)
    return {name: [factor.get(name, 1) * ALEXNET_ERRORS[name] + s for s in spread] for name in CORRUPTIONS}


def test_alexnet_errors_are_those_of_the_benchmarks_corruptions() -> None:
    assert tuple(ALEXNET_ERRORS) == CORRUPTIONS
    assert len(CORRUPTIONS) == 15
    assert not {*EXTRA} & {*CORRUPTIONS}


def test_the_normalised_error_is_the_mean_of_the_ratios_to_alexnets() -> None:
    assert mce_alexnet(errors_of({})) == pytest.approx(100)
    assert mce_alexnet(errors_of({"fog": 0.4, "snow": 1.9})) == pytest.approx(100 * (13 + 0.4 + 1.9) / 15)
    zero = {name: [0.0] * 5 for name in CORRUPTIONS}
    only = {**zero, "brightness": [10.0, 20.0, 30.0, 40.0, 50.0]}
    assert mce_alexnet(only) == pytest.approx(100 * 150 / (5 * 56.4592) / 15)


def test_the_mean_error_is_over_all_corruptions_and_severities() -> None:
    errors = {name: [float(5 * place + n) for n in range(5)] for place, name in enumerate(CORRUPTIONS)}
    assert mean_error(errors) == pytest.approx(37)  # the mean of 0 to 74


@pytest.mark.parametrize("mean", [mean_error, mce_alexnet])
def test_other_corruptions_do_not_count(mean) -> None:
    errors = errors_of({"fog": 0.5})
    assert mean({**errors, **{name: [100.0] * 5 for name in EXTRA}}) == mean(errors)


def record(**changes: object) -> RobustnessRecord:
    values = dict(
        schema=ROBUSTNESS_SCHEMA,
        key="a",
        dataset="imagenet-a",
        metrics={"top1": 50.0},
        num_samples=7500,
        classes=200,
        backbone="Swin",
        config="config",
        config_hash="b",
        checkpoint="c",
        checkpoint_source="file",
        data_hash="d",
        image_shape=[32, 32],
        precision="float32",
        device="cpu",
        seconds=1.0,
        threads=1,
        started="2026-01-01T00:00:00+00:00",
        code="1",
        code_hash="e",
        packages={},
        hardware={},
    )
    return RobustnessRecord(**{**values, **changes})


def test_a_record_is_read_as_written_and_a_newer_one_without_its_new_fields(tmp_path: Path) -> None:
    path = tmp_path / "robustness.jsonl"
    append_record(path, record())
    newer = {**asdict(record(key="n")), "schema": ROBUSTNESS_SCHEMA + 1, "ece": 0.1}
    older = {key: value for key, value in asdict(record(key="o")).items() if key not in ("stderr", "errors")}
    with path.open("a") as file:
        file.writelines(json.dumps(values) + "\n" for values in (newer, older))
    records, complaints = read_robustness(path)
    assert complaints == []
    assert records[0] == record()
    assert [own.key for own in records] == ["a", "n", "o"]


def test_a_reader_of_runs_skips_the_record_and_keeps_the_runs(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(DIGITS.read_bytes())
    runs = read_records(path)[0]
    append_record(path, record())
    found, complaints = read_records(path)
    assert found == runs
    assert len(complaints) == 1
    assert f"line {len(runs) + 1} is skipped" in complaints[0]


def test_the_last_record_of_every_set_with_the_same_weights_is_shown() -> None:
    records = [
        record(dataset=name, checkpoint=checkpoint, key=f"{number}")
        for number, (name, checkpoint) in enumerate(itertools.product(("imagenet-a", "imagenet-r"), "cxc"))
    ]
    assert [own.key for own in of_same_weights(records, records[0])] == ["2", "5"]
    assert of_same_weights([record(config_hash="other")], records[0]) == []
