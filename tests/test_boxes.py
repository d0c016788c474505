"""Boxes of detectors stay float32 under autocast."""

import pytest
import torch
from mmengine.structures import InstanceData

from mixmae_bench.cost.models import load_call
from mixmae_bench.cost.samples import mmdet_samples
from mixmae_bench.engine.boxes import keep_boxes_float32

DETECTOR = "mask-rcnn_mixmae-swin-small_1xb8-24e_digits"


def proposals_and_loss(keep: bool) -> tuple[InstanceData, torch.Tensor]:
    torch.manual_seed(0)
    detector = load_call(DETECTOR, (64, 64), "cpu").model.train()
    if keep:
        keep_boxes_float32(detector)
    images = torch.randn(2, 3, 64, 64)
    samples = mmdet_samples(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = detector.rpn_head.predict(detector.extract_feat(images), samples, rescale=False)
        return found[0], detector.parse_losses(detector.loss(images, samples))[0]


@pytest.mark.filterwarnings("ignore:roi_align got RoIs in bfloat16")  # of the detector without the change
def test_boxes_are_not_rounded_to_bfloat16_and_losses_are_float32() -> None:
    rounded, _ = proposals_and_loss(keep=False)
    assert rounded.bboxes.dtype == torch.bfloat16  # else mmdet no longer needs this
    found, loss = proposals_and_loss(keep=True)
    assert found.bboxes.dtype == loss.dtype == torch.float32
    assert (found.bboxes.bfloat16().float() != found.bboxes).any()
    assert loss.isfinite()
