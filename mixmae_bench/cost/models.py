"""Models to count, from a config, timm or mmpretrain, with the call for one forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.fx.experimental import _config as fx_config
from torch.nn.modules.module import register_module_parameter_registration_hook

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.cost.samples import mmpretrain_inputs, mmpretrain_samples
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.methods.method import Method
from mixmae_bench.registry import MODELS


@dataclass(frozen=True)
class Call:
    """A forward pass to count.

    Attributes:
        model: The model.
        inputs: Its inputs; the first are images (B, 3, H, W).
        forward: Function to call with `inputs`.
        what: Description of the forward pass, without the size of the images.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    forward: Callable[..., object]
    what: str

    @property
    def images(self) -> int:
        return len(self.inputs[0])


def load_call(name: str, shape: tuple[int, int] | None, device: str) -> Call:
    """Build a model with random weights and the inputs of one forward pass.

    Args:
        name: A config file with a `model`, `timm:NAME` or `mmpretrain:NAME`.
        shape: Height and width of the images, or None for the model's own (`image_shape`).
        device: Device of the model; on 'meta', parameters take no memory.

    Raises:
        UserError: If there is no such model.
    """
    source, _, model_name = name.rpartition(":")
    if source == "timm":
        return _timm(model_name, shape, device)
    cfg = _mmpretrain_config(model_name) if source == "mmpretrain" else load_config(name)
    if "model" not in cfg:
        raise UserError(f"{name} has no model; give the config of a training")
    return config_call(cfg, shape, device)


def config_call(cfg: Config, shape: tuple[int, int] | None, device: str) -> Call:
    """Build the model of a config; see `load_call`."""
    scope = cfg.get("default_scope") or "mmengine"
    with DefaultScope.overwrite_default_scope(scope), built_on(device):
        model = MODELS.build(cfg.model).eval().to(device)
    images = torch.zeros(1, 3, *(shape or image_shape(model, cfg)), device=device)
    if isinstance(model, Method):
        return pretraining_call(model, images)
    return CALLS.get(scope, _plain)(model, images)


@contextmanager
def built_on(device: str) -> Iterator[None]:
    """Move parameters to a device when a module registers them.

    `with torch.device("meta")` affects all tensors, so it fails in constructors that read values of tensors.
    """

    def move(module: nn.Module, name: str, param: nn.Parameter | None) -> nn.Parameter | None:
        if param is None or param.device.type == device:
            return None  # unchanged
        return nn.Parameter(param.to(device), requires_grad=param.requires_grad)

    hook = register_module_parameter_registration_hook(move)
    try:
        yield
    finally:
        hook.remove()


def image_shape(model: nn.Module, cfg: Config) -> tuple[int, int]:
    """Return the default height and width of the images to count a model at.

    Detection: 800x1280, mmdet's convention, or the size of the test pipeline if it is square. Segmentation:
    the size of the data preprocessor, else 512x512. Others: the native size of the backbone, else 224x224.
    """
    scope = cfg.get("default_scope")
    if scope == "mmdet":
        tests = [leaf.dataset.get("pipeline", []) for leaf in leaves(cfg) if leaf.loader == "test_dataloader"]
        steps = (step for pipeline in tests for step in pipeline)
        width, height = next((step.scale for step in steps if step.type == "Resize"), (1333, 800))
        return (height, width) if height == width else (800, 1280)
    if scope == "mmseg":
        return tuple((cfg.model.get("data_preprocessor") or {}).get("size") or (512, 512))
    if isinstance(getattr(model, "backbone", None), Encoder):
        return tuple(side * model.backbone.out_strides[0] for side in model.backbone.grid)
    size = cfg.model.get("backbone", {}).get("img_size", 224)
    return (size, size) if isinstance(size, int) else tuple(size)


def _timm(name: str, shape: tuple[int, int] | None, device: str) -> Call:
    import timm

    import mixmae_bench.timm_models  # noqa: F401 (registers this package's own)

    if not timm.is_model(name):
        raise UserError(f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}")
    with built_on(device):
        model = timm.create_model(name).eval().to(device)
    shape = shape or model.default_cfg["input_size"][1:]
    return _plain(model, torch.zeros(1, 3, *shape, device=device))


def _mmpretrain_config(name: str) -> Config:
    from mmpretrain.apis.model import ModelHub, list_models

    try:
        return ModelHub.get(name).config
    except ValueError:
        near = did_you_mean(name, list_models())
        raise UserError(f"mmpretrain has no model '{name}'.{near}") from None


def _plain(model: nn.Module, images: Tensor) -> Call:
    return Call(model, (images,), model, "")


def pretraining_call(method: Method, images: Tensor) -> Call:
    """Return the call that predicts masked patches by a pretraining method, for images (1, 3, H, W)."""
    # Methods that mix the images of a batch need at least two.
    images = images.repeat(2 if method.mixes_batch else 1, 1, 1, 1)
    mask = method.draw_mask(torch.empty(images.shape)).to(images.device)  # drawing reads values
    return Call(method, (images, mask), method.predict, "pretraining, decoder included")


def _mmpretrain(model: nn.Module, images: Tensor) -> Call:
    from mmpretrain.models import BaseSelfSupervisor

    if isinstance(model, BaseSelfSupervisor):
        samples = mmpretrain_samples(images, model)

        def forward(images: Tensor) -> dict:
            # SparK selects the visible pixels for its norms. On the meta device, these are all pixels.
            with fx_config.patch(meta_nonzero_assume_all_nonzero=True):
                return model(mmpretrain_inputs(images, model), data_samples=samples, mode="loss")

        return Call(model, (images,), forward, "pretraining, decoder included")
    return _plain(model, images)


def _mmdet(detector: nn.Module, images: Tensor) -> Call:
    from mmdet.models.detectors import TwoStageDetector
    from mmdet.models.roi_heads import CascadeRoIHead
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size = tuple(images.shape[-2:])
    sample = DetDataSample(
        metainfo=dict(
            img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0)
        )
    )
    if not (isinstance(detector, TwoStageDetector) and detector.with_rpn):
        return Call(
            detector,
            (images,),
            lambda images: detector(images, data_samples=[sample] * len(images)),
            "without post-processing",
        )

    # As mmdet's tensor mode, but with the maximum number of proposals of the RPN: the number that the RPN
    # returns depends on the random weights.
    rois = detector.test_cfg.rpn.max_per_img
    boxes = torch.tensor([[0.0, 0.0, size[1], size[0]]], device=images.device).repeat(rois, 1)

    def forward(images: Tensor) -> None:
        maps = detector.extract_feat(images)
        detector.rpn_head(maps)
        # The level that a box is cropped from depends on its size. On the meta device it is cropped from all
        # levels, but the heads still process each box once.
        with fx_config.patch(meta_nonzero_assume_all_nonzero=True):
            proposals = [InstanceData(bboxes=boxes)] * len(images)
            detector.roi_head.forward(maps, proposals, [sample] * len(images))

    # In this mode, mmdet's Mask R-CNN predicts masks for the first 100 proposals, its cascades for all.
    masks = rois if isinstance(detector.roi_head, CascadeRoIHead) else min(rois, 100)
    what = f"{rois} proposals, {masks} masks" if detector.roi_head.with_mask else f"{rois} proposals"
    return Call(detector, (images,), forward, f"{what}, without post-processing")


CALLS = {"mmpretrain": _mmpretrain, "mmdet": _mmdet}
"""Functions that build the call by package; models of other packages are called with images only."""
