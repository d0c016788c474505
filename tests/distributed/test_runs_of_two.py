"""Runs run by two processes are recorded as one does, where images, masks and batch are the same.

What one process does with eight images (or, where a loss is normalised per batch and MixMAE looks for
partners in it, with twice four) two processes do with four each. Shuffling, augmentation, drop path and
sampling of
regions are off, arithmetic is in float32, and SGD takes the steps, as Adam's of a gradient of nothing but
rounding errors are as long as any.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pair import SMOKE, Pair, output_kept
from torch import Tensor

from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.results.outcomes import Outcomes, check_values, read_outcomes
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.plan import plan
from mixmae_bench.suite.progress import failure, progress, try_lock
from mixmae_bench.suite.run import _job
from mixmae_bench.suite.spec import read_suite

SUITE = """
name: two
version: 1
dataset: digits
methods:
  mixmae: {pretrain: pretraining.py}
tasks:
  classification: classification.py
  detection: detection.py
  segmentation: segmentation.py
seeds: [0]
"""
COMMON = """
_base_ = {base!r}
train_dataloader = dict(
    batch_size={batch}, sampler=dict(shuffle=False), dataset=dict(indices={indices}{dataset})
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(_delete_=True, type="SGD", lr=0.02, weight_decay=0.05),
    accumulative_counts={accumulate},
)
auto_scale_lr = dict(base_batch_size=8)
"""
EVALUATION = """
val_dataloader = dict(batch_size=4, dataset=dict(indices=13))
test_dataloader = val_dataloader
"""
CHANGES = {
    "pretraining": "",
    "classification": EVALUATION + "model = dict(backbone=dict(drop_path_rate=0.0))",
    "detection": EVALUATION
    + """
every = dict(sampler=dict(num=100_000))
model = dict(
    backbone=dict(drop_path_rate=0.0),
    train_cfg=dict(rpn=every, rcnn=every),
    test_cfg=dict(rcnn=dict(score_thr=0.0)),  # after four iterations, scores are low
)
""",
    "segmentation": EVALUATION
    + """
sync_bn = "torch"
head = dict(dropout_ratio=0.0, loss_decode=dict(class_weight=None))
model = dict(backbone=dict(drop_path_rate=0.0), decode_head=head, auxiliary_head=head)
""",
}
"""What makes a task's loss of eight images the mean of those of four and four."""

PER_BATCH = ("pretraining", "detection")
"""Tasks where one process takes four images at a time, those of one process of two and then of the other."""

UNAUGMENTED = ", pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]"


def write_suite(folder: Path, processes: int) -> Path:
    """Write the suite for two processes, or what is the same for one."""
    folder.mkdir()
    turns = [block + rank + step for block in (0, 8) for rank in (0, 1) for step in (0, 2, 4, 6)]
    for task, changes in CHANGES.items():
        by_turns = processes == 1 and task in PER_BATCH
        common = COMMON.format(
            base=str(SMOKE / f"{task}.py"),
            batch=4 if processes == 2 or by_turns else 8,
            indices=turns if by_turns else 16,
            accumulate=2 if by_turns else 1,
            dataset=UNAUGMENTED if task == "classification" else "",
        )
        (folder / f"{task}.py").write_text(common + changes)
    (folder / "suite.yaml").write_text(SUITE)
    return folder / "suite.yaml"


def jobs(file: Path) -> dict[str, Job]:
    """Return the jobs of a suite by task; they write beside it."""
    suite = read_suite(file)
    return {p.run.task: _job(suite, p, file.parent / "work", 1, False, ()) for p in plan(suite).values()}


def run_with_one_mask(job: Job) -> Record | None:
    """Run a run whose method, if it has one, draws the same mask whenever asked."""
    from mixmae_bench.suite.execute import run_job

    def draw_mask(self: MixMAE, images: Tensor) -> Tensor:
        mask = torch.zeros(self.mask_grid(images), dtype=torch.long)
        mask.view(-1)[::2] = 1
        return mask

    drawn, MixMAE.draw_mask = MixMAE.draw_mask, draw_mask
    try:
        return run_job(job)
    finally:
        MixMAE.draw_mask = drawn


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    return jobs(write_suite(tmp_path_factory.mktemp("runs") / "two", 2))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    return jobs(write_suite(tmp_path_factory.mktemp("runs") / "one", 1))


def weights(job: Job) -> dict[str, Tensor]:
    return read_checkpoint(job.folder / "epoch_2.pth")["state_dict"]


@pytest.mark.parametrize("task", CHANGES)
def test_two_processes_record_what_one_does(
    task: str, pair: Pair, two: dict[str, Job], one: dict[str, Job]
) -> None:
    both = pair(run_with_one_mask, two[task])
    with output_kept():
        expected = run_with_one_mask(one[task])
    record = both[0]
    assert both == [record, record]
    assert read_records(two[task].records)[0][-1] == record

    assert (record.processes, expected.processes) == (2, 1)
    images = 16 if task == "pretraining" else 13  # which two processes cannot share evenly
    same = ("effective_batch", "num_samples", "epochs", "params", "backbone_params", "flops", "lr")
    assert [getattr(record, name) for name in same] == [getattr(expected, name) for name in same]
    assert (record.effective_batch, record.num_samples, record.iterations) == (8, images, 4)
    assert (
        record.checkpoint_filled == expected.checkpoint_filled == (None if task == "pretraining" else 100.0)
    )
    assert record.losses == pytest.approx(expected.losses, rel=1e-4)
    assert record.grad_norms == pytest.approx(expected.grad_norms, rel=1e-3)
    assert record.metrics == pytest.approx(expected.metrics, rel=1e-4)
    assert record.stderr == pytest.approx(expected.stderr, rel=1e-3)
    assert record.images_per_s > 0

    if task != "pretraining":
        check_outcomes(*(outcomes(job[task], own) for job, own in ((two, record), (one, expected))))

    found = weights(two[task])
    for name, value in weights(one[task]).items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(
                found[name], value, atol=1e-5, rtol=1e-4, msg=lambda m, k=name: f"{k} {m}"
            )
    assert progress(two[task].folder)[0] == 1.0
    log = (two[task].folder / "log.txt").read_text()
    assert log.count("Epoch(train) [2][2/2]") == 1
    if task == "detection":
        detections, others = (
            json.loads((job[task].folder / "predictions.bbox.json").read_text()) for job in (two, one)
        )
        assert len({detection["image_id"] for detection in others}) > 5
        assert [d["image_id"] for d in detections] == [d["image_id"] for d in others]
        assert [d["score"] for d in detections] == pytest.approx([d["score"] for d in others], abs=1e-3)


def outcomes(job: Job, record: Record) -> Outcomes:
    found = read_outcomes(job.records.parent / record.outcomes, record.outcomes_hash)
    check_values(found, record.metrics)
    assert found.parts.keys() == record.metrics.keys()
    return found


def check_outcomes(both: Outcomes, alone: Outcomes) -> None:
    """Check that two processes leave every image exactly once, with the outcome that one process finds."""
    assert both.images == alone.images
    assert len({*both.images}) == len(both.images)
    for name, part in both.parts.items():
        other = alone.parts[name]
        if name == "top1":
            assert len(both.images) == 13
            assert part.correct.tolist() == other.correct.tolist()
            assert part.margin == pytest.approx(other.margin, abs=1e-3)
        elif name == "miou":
            pixels = np.bincount(part.image, part.pixels, minlength=13)
            assert pixels.tolist() == [32 * 32] * 13
            assert part.areas[1].sum(1) == pytest.approx(other.areas[1].sum(1), rel=1e-2)
        else:
            assert {*part.image.tolist()} == {*other.image.tolist()}
            assert (part.objects == other.objects).all()
        assert both.resampled[name] == pytest.approx(alone.resampled[name], rel=1e-3, abs=1e-3, nan_ok=True)


def test_what_is_recorded_is_not_run_again(pair: Pair, two: dict[str, Job]) -> None:
    job = two["classification"]
    before = (job.folder / "log.txt").read_bytes()
    (record,) = [r for r in read_records(job.records)[0] if r.task == "classification"]
    assert pair(run_with_one_mask, job) == [record, record]
    assert (job.folder / "log.txt").read_bytes() == before


def test_a_run_that_another_run_is_at_is_left_to_it(pair: Pair, two: dict[str, Job]) -> None:
    with try_lock(two["segmentation"].folder) as free:
        assert free
        assert pair(run_with_one_mask, two["segmentation"]) == [None, None]


def test_a_run_without_its_record_is_evaluated_again_by_both(pair: Pair, two: dict[str, Job]) -> None:
    job = two["segmentation"]
    records = read_records(job.records)[0]
    job.records.unlink()
    again = pair(run_with_one_mask, job)[0]
    (before,) = [r for r in records if r.task == "segmentation"]
    assert (again.metrics, again.stderr, again.losses) == (before.metrics, before.stderr, before.losses)
    assert again.images_per_s is None
    assert failure(job.folder) is None
