"""Annotations made up for timed training steps, by package of the model."""

import numpy as np
import torch
from torch import Tensor, nn

OBJECTS = 7
"""Objects per image, as in COCO on average."""


def mmpretrain_samples(images: Tensor, model: nn.Module) -> list:
    """Return the data samples of images (B, 3, H, W) for mmpretrain's models: a label, and a mask of patches.

    60 % of the mask patches of 32 px are masked. A mask has one entry per token of the patch embedding;
    models without one get no mask.
    """
    from mmpretrain.structures import DataSample

    embedding = getattr(getattr(model.backbone, "patch_embed", None), "projection", None)
    samples = []
    for _ in images:
        sample = DataSample().set_gt_label(0)
        if embedding is not None:
            h, w = (side // 32 for side in images.shape[-2:])
            patches = (torch.rand(h * w).argsort() < 0.6 * h * w).float().view(h, w)
            tokens = 32 // embedding.stride[0]
            sample.set_field(patches.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1), "mask")
        samples.append(sample.to(images.device))
    return samples


def mmpretrain_inputs(images: Tensor, model: nn.Module) -> Tensor | list[Tensor]:
    """Return the inputs of a model of mmpretrain: BEiT's tokenizer gets the images in half of their size."""
    from mmpretrain.models import BEiT

    return [images, images[..., ::2, ::2]] if isinstance(model, BEiT) else images


def mmdet_samples(images: Tensor) -> list:
    """Return the data samples of images (B, 3, H, W) for mmdet's models: random boxes with full masks."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    size = tuple(images.shape[-2:])
    about = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size)
    samples = []
    for _ in images:
        corners = torch.rand(OBJECTS, 2, 2).sort(1).values * torch.tensor([size[1], size[0]])
        boxes = corners.flatten(1).round()
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        masks = np.zeros((OBJECTS, *size), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        objects = InstanceData(
            bboxes=boxes, labels=torch.zeros(OBJECTS, dtype=torch.int64), masks=BitmapMasks(masks, *size)
        )
        sample = DetDataSample(metainfo={**about, "scale_factor": (1.0, 1.0)}, gt_instances=objects)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=objects.labels[:0])
        samples.append(sample.to(images.device))
    return samples


def mmseg_samples(images: Tensor, model: nn.Module) -> list:
    """Return the data samples of images (B, 3, H, W) for mmseg's models: a random label per pixel."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    size = tuple(images.shape[-2:])
    samples = []
    for _ in images:
        labels = torch.randint(model.num_classes, (1, *size), device=images.device)
        about = dict(img_shape=size, ori_shape=size, pad_shape=size)
        samples.append(SegDataSample(metainfo=about, gt_sem_seg=PixelData(data=labels)))
    return samples
