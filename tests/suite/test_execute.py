"""What a run of a suite records."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mixmae_bench.errors import UserError
from mixmae_bench.results.outcomes import Classified, make_outcomes
from mixmae_bench.results.record import append_record, read_records
from mixmae_bench.suite.execute import _metrics, _outcomes, finished

RECORDS = Path(__file__).parents[2] / "results" / "measured" / "digits" / "records.jsonl"


def metrics_of(**returned: float) -> dict[str, float]:
    runner = SimpleNamespace(
        val_loop=object(),
        val=lambda: {},
        val_evaluator=SimpleNamespace(metrics=[]),
        cfg=SimpleNamespace(filename="x.py"),
    )
    values = {name.replace("__", "/"): value for name, value in returned.items()}
    return _metrics(runner, SimpleNamespace(metrics=values))


def test_metrics_of_the_catalog_are_recorded_in_its_unit_and_others_left_out() -> None:
    assert metrics_of(coco__bbox_mAP=0.64123, coco__bbox_mAP_50=0.9) == {"box_ap": 64.123}


def test_an_evaluator_without_any_metric_of_the_catalog_is_an_error_that_names_what_it_returned() -> None:
    with pytest.raises(
        UserError, match=r"^config x.py: .*\(single__recall\).*add-a-metric".replace("__", "/")
    ):
        metrics_of(single__recall=50.0)
    with pytest.raises(UserError, match="it returned none"):
        metrics_of()


def test_outcomes_that_do_not_give_the_evaluators_metrics_are_left_out_and_the_training_is_not_lost() -> None:
    half = make_outcomes(["a", "b"], {"top1": Classified(np.array([True, False]), np.zeros(2, np.float32))})
    hook = SimpleNamespace(outcomes=lambda runner, metrics: half)
    assert _outcomes(hook, None, {"top1": 50.0}) is half
    assert _outcomes(hook, None, {"top1": 80.0}) is None
    assert _outcomes(SimpleNamespace(), None, {"top1": 50.0}) is None


def test_a_run_is_finished_with_a_checkpoint_and_a_record_of_this_version_of_the_suite(
    tmp_path: Path,
) -> None:
    record = read_records(RECORDS)[0][0]
    records = tmp_path / "records.jsonl"
    append_record(records, record)

    def recorded(suite: str, version: int) -> bool:
        plan = SimpleNamespace(key=record.key)
        job = SimpleNamespace(records=records, plan=plan, suite=suite, suite_version=version, folder=tmp_path)
        return finished(job) == record

    assert not recorded(record.suite, record.suite_version)
    torch.save({"state_dict": {}}, tmp_path / "epoch_2.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_2.pth"))
    assert recorded(record.suite, record.suite_version)
    assert not recorded(record.suite, record.suite_version + 1)
    assert recorded("another", record.suite_version + 1)
