"""Configs of mmpretrain's methods: a backbone in three tasks, its checkpoints, and pretraining FLOPs."""

import math
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config

from mixmae_bench.backbones.backbone import Backbone
from mixmae_bench.backbones.loading import ADDED
from mixmae_bench.backbones.official.kinds import registered
from mixmae_bench.backbones.timm_parts.depths import forward_order
from mixmae_bench.cost import count
from mixmae_bench.cost.flops import Cost
from mixmae_bench.cost.models import load_call
from mixmae_bench.engine.config import load_config
from mixmae_bench.registry import MODELS
from mixmae_bench.validate.narrow import narrow

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = {
    "spark_resnet-50": ("SparK pretraining, ResNet", "8xb256-300e"),
    "spark_convnext-s": ("SparK pretraining, ConvNeXt", "8xb256-300e"),
    "mae_hivit-b-p16": ("MAE pretraining, HiViT", "8xb128-100e"),
    "itpn_hivit-b-p16": ("iTPN pretraining, HiViT", "8xb128-100e"),
    "beit_vit-b-p16": ("BEiT pretraining", "8xb128-100e"),
    "maskfeat_vit-b-p16": ("MaskFeat pretraining, ViT", "8xb256-100e"),
}
"""Kind of the checkpoints, and fine-tuning on ImageNet-1K, by the start of the names of configs."""

every = pytest.mark.parametrize("method", METHODS)
in_every_task = pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])


def load(method: str, task: str) -> Config:
    encoder = method.replace("itpn_", "mae_")  # the same encoder and recipe
    name = {
        "classification": f"{encoder}_{METHODS[method][1]}_in1k",
        "detection": f"mask-rcnn_{encoder}_8xb2-lsj-3x_coco",
        "segmentation": f"upernet_{encoder}_8xb2-160k_ade20k-512px",
    }[task]
    return load_config(CONFIGS / task / f"{name}.py")


def small(method: str, task: str) -> Backbone:
    """Return the backbone of a task, narrow and for small images."""
    config = narrow(load(method, task)).model.backbone
    if "img_size" in config:
        config.img_size = 128
    torch.manual_seed(0)
    return MODELS.build(dict(config)).eval()


@every
@in_every_task
def test_maps_have_the_sizes_of_their_strides_for_an_image_that_is_not_square(method: str, task: str) -> None:
    backbone = small(method, task)
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 96, 72))
    if task == "classification":
        assert len(maps) == 1
        pooled = getattr(backbone, "pooled", False)
        assert maps[0].shape == (2, backbone.out_channels[-1], *((1, 1) if pooled else (6, 5)))
        return
    strides = [4, 8, 16] if "hivit" in method else [4, 8, 16, 32]
    assert [backbone.out_strides[i] for i in backbone.out_indices] == strides
    assert [m.shape for m in maps] == [
        (2, backbone.out_channels[i], math.ceil(96 / s), math.ceil(72 / s)) for i, s in enumerate(strides)
    ]


@every
@in_every_task
def test_layer_depths_never_decrease_in_forward_order(method: str, task: str) -> None:
    backbone = small(method, task)
    order = forward_order(backbone, (128, 128), 3)
    depths = [backbone.get_layer_depth(f"backbone.{name}", "backbone.")[0] for name in order]
    assert len(order) == len(list(backbone.named_parameters()))
    assert depths == sorted(depths)
    assert (depths[0], len(set(depths)) > 3) == (0, True)


@every
@in_every_task
def test_a_checkpoint_of_the_method_has_all_parameters_but_norms_of_outputs(method: str, task: str) -> None:
    """By names; the converter compares shapes with the model."""
    kind = next(kind for kind in registered() if kind.name == METHODS[method][0])
    with torch.device("meta"):
        backbone = MODELS.build(dict(load(method, task).model.backbone))
    new = (*ADDED, "norm.", "fc_norm.", "head.norm.")
    names = {name for name in backbone.state_dict() if not name.startswith(new)}
    assert len(names) > 100
    unknown, missing = kind.unmatched(names)
    assert unknown == []
    assert [pattern for pattern in missing if not pattern.startswith("norm")] == []


def cost(name: str) -> Cost:
    call = load_call(str(CONFIGS / "pretrain" / f"{name}_in1k.py"), None, "meta")
    return count(call.model, *call.inputs, forward=call.forward, images=call.images)


def vit(tokens: int) -> int:
    """Return the multiply-adds of ViT-B's patch embedding and 12 blocks, with a class token."""
    return (tokens - 1) * 768 * 768 + 12 * (12 * tokens * 768**2 + 2 * tokens**2 * 768)


def test_maskfeat_costs_a_vit_on_all_tokens_a_linear_layer_and_two_gradient_filters() -> None:
    found = cost("maskfeat_vit-b-p16_8xb256-300e")
    filters = 2 * 3 * 9 * 224**2
    assert found.flops == vit(197) + 197 * 768 * 108 + filters


def test_beit_costs_a_vit_on_all_tokens_and_its_tokenizer() -> None:
    by_module = cost("beit_vit-b-p16_8xb256-300e").by_module
    assert by_module["backbone"] == vit(197)
    assert by_module["target_generator"] > by_module["backbone"] / 2


def test_spark_computes_masked_pixels_too() -> None:
    with torch.device("meta"):
        resnet = timm.create_model("resnet50", num_classes=0)
        dense = count(resnet, torch.zeros(1, 3, 224, 224)).flops
    assert cost("spark_resnet-50_8xb512-800e").by_module["backbone"] == dense
