"""Detectors and segmentors whose backbone does not see the padding of a batch."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS, DefaultScope, init_default_scope
from torch import Tensor, nn

from mixmae_bench.compat import openmmlab
from mixmae_bench.errors import UserError
from mixmae_bench.transfer.own_area import see_own_area_only

CONFIGS = Path(__file__).parents[2] / "configs"
DETECTION = "detection/mask-rcnn_mixmae-swin-small_1xb8-8e_digits.py"
SEGMENTATION = "segmentation/upernet_mixmae-swin-small_1xb8-20e_digits.py"
SIZES = [(37, 53), (64, 41)]  # padded to 64x56 px by the detector, 64x64 by the segmentor


@pytest.fixture(autouse=True)
def _any_scope(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave mmengine's default scope as it was."""
    monkeypatch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())
    with openmmlab.reading_configs():
        yield


def build(config: str) -> nn.Module:
    cfg = Config.fromfile(CONFIGS / config)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


def data_of(config: str) -> dict:
    """Two images of different sizes, as a data loader gives them."""
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in SIZES]
    if config == DETECTION:
        from mmdet.structures import DetDataSample

        samples = [
            DetDataSample(metainfo=dict(img_shape=s, ori_shape=s, scale_factor=(1.0, 1.0))) for s in SIZES
        ]
    else:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        samples = [SegDataSample(metainfo=dict(img_shape=s, ori_shape=s)) for s in SIZES]
        for sample, size in zip(samples, SIZES, strict=True):
            sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.int64))
    return dict(inputs=images, data_samples=samples)


@pytest.fixture
def maps(request: pytest.FixtureRequest) -> Iterator[list[tuple[Tensor, ...]]]:
    """What backbones return while the test runs."""
    from mixmae_bench.backbones import MixMAESwin

    seen: list[tuple[Tensor, ...]] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.append(out) if type(module) is MixMAESwin else None
    )
    yield seen
    handle.remove()


@pytest.mark.parametrize("config", [DETECTION, SEGMENTATION])
def test_a_backbone_gives_each_image_of_a_batch_what_it_gives_it_alone(
    config: str, maps: list[tuple[Tensor, ...]]
) -> None:
    """As the package's own data preprocessor pads them and its own model calls the backbone."""
    model = build(config)
    data = data_of(config)
    with torch.no_grad():
        batch = model.data_preprocessor(data, training=config == SEGMENTATION)
        model(**batch, mode="tensor")
        see_own_area_only(model)
        model(**batch, mode="tensor")
        normalised = batch["inputs"]
        for i, (height, width) in enumerate(SIZES):
            model.backbone(normalised[i : i + 1, :, :height, :width])
    seen, own, *alone = maps
    assert normalised.shape[2:] == ((64, 56) if config == DETECTION else (64, 64))
    for i in range(2):
        for ours, reference, published in zip(own, alone[i], seen, strict=True):
            height, width = reference.shape[2:]
            torch.testing.assert_close(ours[i, :, :height, :width], reference[0], rtol=1e-4, atol=1e-4)
            assert (published[i, :, :height, :width] - reference[0]).abs().max() > 0.01


@pytest.mark.parametrize("config", [DETECTION, SEGMENTATION])
def test_training_and_testing_go_through(config: str) -> None:
    model = build(config)
    HOOKS.build(dict(type="mixmae_bench.OwnAreaHook")).before_run(SimpleNamespace(model=model))
    sizes = []
    model.backbone.patch_embed.register_forward_pre_hook(
        lambda module, args: sizes.append(tuple(args[0].shape[2:]))
    )
    data = data_of(config)
    if config == SEGMENTATION:
        batch = model.data_preprocessor(data, training=True)
        sum(v for k, v in model(**batch, mode="loss").items() if "loss" in k).backward()
        assert model.backbone.patch_embed.proj.weight.grad.any()
    else:
        model.test_step(data)
    assert sizes == SIZES


def test_the_hook_finds_the_model_in_its_wrapper() -> None:
    model = build(DETECTION)
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    HOOKS.build(dict(type="mixmae_bench.OwnAreaHook")).before_run(SimpleNamespace(model=wrapper))
    assert model.backbone._forward_pre_hooks


def test_sizes_of_one_batch_do_not_reach_the_next(maps: list[tuple[Tensor, ...]]) -> None:
    """Also not after an error, and a call of the backbone alone is as it was."""
    model = build(SEGMENTATION)
    batch = model.data_preprocessor(data_of(SEGMENTATION), training=True)
    with torch.no_grad():
        model.backbone(batch["inputs"])
        see_own_area_only(model)
        model(**batch, mode="tensor")
        with pytest.raises(RuntimeError, match="Invalid mode"):
            model(**batch, mode="none")
        model.backbone(batch["inputs"])
    assert torch.equal(maps[0][0], maps[-1][0])
    assert not torch.equal(maps[0][0], maps[1][0])


def test_sliding_windows_over_a_padded_batch_are_refused_and_over_one_without_padding_work() -> None:
    model = build(SEGMENTATION)
    model.test_cfg.update(mode="slide", crop_size=(32, 32), stride=(24, 24))
    see_own_area_only(model)
    batch = model.data_preprocessor(data_of(SEGMENTATION), training=True)
    with torch.no_grad():
        with pytest.raises(UserError, match=r"2 crops of \(32, 32\) px out of a padded batch"):
            model(**batch, mode="predict")
        for sample in batch["data_samples"]:
            sample.set_metainfo(dict(img_shape=(64, 64), padding_size=(0, 0, 0, 0)))
        assert len(model(**batch, mode="predict")) == 2


def test_an_image_said_to_be_larger_than_its_batch_is_refused() -> None:
    model = build(DETECTION)
    see_own_area_only(model)
    batch = model.data_preprocessor(data_of(DETECTION))
    batch["data_samples"][0].set_metainfo(dict(img_shape=(65, 50)))
    with pytest.raises(
        UserError, match=r"img_shape of an image is \(65, 50\) px, its batch is of \(64, 56\)"
    ):
        model(**batch, mode="tensor")


@pytest.mark.parametrize("backbone", [None, nn.Conv2d(3, 4, 1)])
def test_another_packages_backbone_is_refused(backbone: nn.Module | None) -> None:
    model = nn.Module()
    model.backbone = backbone
    with pytest.raises(UserError, match=f"{type(backbone).__name__} as backbone of Module cannot leave out"):
        see_own_area_only(model)
