"""Every config at paper scale: it builds, its recipe is the published one, its name tells the truth."""

import copy
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import (
    DATASETS,
    METRICS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    DefaultScope,
    init_default_scope,
)
from mmengine.utils import scandir
from torch import nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.cost.models import built_on
from mixmae_bench.datasets.catalog import CATALOG, make_tiny, published_images
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.config import check_model, load_config
from mixmae_bench.registry import MODELS
from mixmae_bench.suite.spec import Run, read_suite

CONFIGS = Path(__file__).parents[2] / "configs"
FOLDERS = ("pretrain", "classification", "detection", "segmentation")
NAMES = [
    f"{folder}/{name.removesuffix('.py')}"
    for folder in FOLDERS
    for name in sorted(scandir(CONFIGS / folder, ".py"))
    if "digits" not in name
]
DENSE = [name for name in NAMES if name.startswith(FOLDERS[2:])]


@pytest.fixture(autouse=True)
def _any_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave mmengine's default scope as it was."""
    monkeypatch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())


@cache
def load(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.py")


@cache
def build(name: str) -> nn.Module:
    cfg = load(name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), built_on("meta"):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize("name", NAMES)
def test_types_resolve(name: str) -> None:
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    types = [(OPTIM_WRAPPERS, cfg.optim_wrapper.type), (OPTIMIZERS, cfg.optim_wrapper.optimizer.type)]
    types += [(PARAM_SCHEDULERS, scheduler.type) for scheduler in cfg.param_scheduler]
    if "constructor" in cfg.optim_wrapper:
        types.append((OPTIM_WRAPPER_CONSTRUCTORS, cfg.optim_wrapper.constructor))
    if not name.startswith("pretrain"):
        types.append((METRICS, cfg.val_evaluator.type))
    for root, type_ in types:
        with root.switch_scope_and_registry(cfg.default_scope) as registry:
            assert registry.get(type_), type_


def test_every_distinct_model_of_this_package_builds() -> None:
    distinct = {repr((load(name).model.type, load(name).model.backbone)): name for name in NAMES}
    assert len(distinct) < len(NAMES)
    for name in distinct.values():
        check_model(load(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_of_a_base_moves_into_the_model(name: str) -> None:
    assert "backbone" not in load(name)
    assert "type" in load(name).model.backbone


@pytest.mark.parametrize("name", NAMES)
def test_the_name_tells_gpus_batch_length_and_data(name: str) -> None:
    cfg = load(name)
    gpus, batch, schedule, data = re.fullmatch(r".*_(\d+)xb(\d+)-(.+)_([^_]+)", name).groups()
    data = data.split("-")[0]
    if data != "ade20k":
        assert cfg.train_dataloader.batch_size == int(batch)
    assert cfg.auto_scale_lr.base_batch_size == int(gpus) * int(batch)
    lengths = {"1x": 12, "3x": 36, "160k": 160_000, "40k": 40_000, "12k": 12_000}
    length = schedule.split("-")[-1]
    expected = 1 if length == "knn" else lengths.get(length) or int(length.removesuffix("e"))
    assert (cfg.train_cfg.get("max_epochs") or cfg.train_cfg.max_iters) == expected
    root = CATALOG["imagenet" if data in ("in1k", "in100") else data].root
    assert {leaf.dataset.data_root.rstrip("/") for leaf in leaves(cfg)} == {root}
    assert all(published_images(leaf.dataset) for leaf in leaves(cfg))


@pytest.mark.parametrize("name", NAMES)
def test_the_schedule_ends_where_training_does(name: str) -> None:
    cfg = load(name)
    if cfg.model.type == "mixmae_bench.KNNClassifier":
        return  # nothing is trained
    in_epochs = [s for s in cfg.param_scheduler if s.get("by_epoch", True)]
    last = in_epochs[-1].end if "max_epochs" in cfg.train_cfg else cfg.param_scheduler[-1].end
    assert last == (cfg.train_cfg.get("max_epochs") or cfg.train_cfg.max_iters)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_tells_source_and_result(name: str) -> None:
    doc = " ".join((CONFIGS / f"{name}.py").read_text().split('"""')[1].split())
    assert "ublished" in doc
    assert any(word in doc for word in ("ecipe", "Chosen", "MixMAE's, as for every row"))


PRETRAINING = {  # lr, epochs of warm-up, millions of parameters of the backbone
    "mixmae_swin-b-w14_16xb128-600e_in1k": (1.2e-3, 40, 87.3),
    "mixmae_swin-b-w14_16xb128-300e_in1k": (1.2e-3, 40, 87.3),
    "mixmae_swin-l-w14_16xb128-600e_in1k": (1.2e-3, 40, 195.9),
    "mixmae_swin-h-w14_32xb64-600e_in1k": (1.2e-3, 40, 656.4),
    "simmim_swin-b-w6_16xb128-100e_in1k-192px": (8e-4, 10, 86.7),
    "simmim_swin-b-w6_16xb128-800e_in1k-192px": (4e-4, 10, 86.7),
    "simmim_swin-l-w12_16xb128-800e_in1k-192px": (4e-4, 10, 195.2),
    "um-mae_swin-t_16xb256-200e_in1k-256px": (2.4e-3, 10, 27.5),
    "um-mae_pvt-s_16xb256-200e_in1k-256px": (2.4e-3, 10, 21.0),
    "um-mae_swin-l_32xb128-800e_in1k-256px": (2.4e-3, 40, 194.9),
    "simmim_mixmae-swin-b-w14_16xb128-300e_in1k": (1.2e-3, 40, 87.3),
    "um-mae_mixmae-swin-b-w14_16xb128-300e_in1k-256px": (1.2e-3, 40, 87.4),
    "greenmim_mixmae-swin-b-w14_16xb128-300e_in1k": (1.2e-3, 40, 87.3),
    "greenmim_swin-b-w7_8xb256-800e_in1k": (8e-4, 40, 86.7),
}


@pytest.mark.parametrize("name", PRETRAINING)
def test_pretraining_is_as_published(name: str) -> None:
    lr, warm_up, millions = PRETRAINING[name]
    cfg = load(f"pretrain/{name}")
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.param_scheduler[0].end == warm_up
    assert "drop_path_rate" not in cfg.model.backbone  # 0
    backbone = build(f"pretrain/{name}").backbone
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    crop = cfg.train_dataloader.dataset.pipeline[1]
    assert crop.scale == backbone.grid[0] * backbone.out_strides[0]


FINE_TUNING = {  # lr, layer decay, drop path, pixels
    "mixmae_swin-b-w14_8xb128-100e_in1k": (2e-3, 0.7, 0.1, 224),
    "mixmae_swin-b-w16_16xb64-100e_in1k-384px": (2e-3, 0.7, 0.1, 384),
    "simmim-100e_swin-b-w6_16xb128-100e_in1k-192px": (5e-3, 0.9, 0.1, 192),
    "simmim-100e_swin-b-w7_16xb128-100e_in1k": (5e-3, 0.9, 0.1, 224),
    "simmim-800e_swin-b-w7_16xb128-100e_in1k": (5e-3, 0.8, 0.1, 224),
    "simmim-800e_swin-l-w14_16xb128-100e_in1k": (5e-3, 0.7, 0.2, 224),
    "um-mae_swin-t_8xb128-100e_in1k-256px": (2e-3, 0.85, 0.1, 256),
    "mae_vit-b-p16_8xb128-100e_in1k": (2e-3, 0.65, 0.1, 224),
}


@pytest.mark.parametrize("name", FINE_TUNING)
def test_fine_tuning_is_as_published(name: str) -> None:
    lr, layer_decay, drop_path, pixels = FINE_TUNING[name]
    cfg = load(f"classification/{name}")
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == layer_decay
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.model.backbone.get("img_size", 256) == pixels
    assert cfg.param_scheduler[1].eta_min_ratio * lr == pytest.approx(1e-6)
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline
    assert (train[1].scale, test[2].crop_size) == (pixels, pixels)
    assert [a.alpha for a in cfg.model.train_cfg.augments] == [0.8, 1.0]


def test_dense_recipes_are_as_published() -> None:
    mask_rcnn = load("detection/mask-rcnn_simmim_swin-b-w7_8xb2-lsj-3x_coco")
    assert mask_rcnn.optim_wrapper.optimizer.lr == 6e-5
    assert mask_rcnn.param_scheduler[1].milestones == [27, 33]
    assert (mask_rcnn.model.backbone.window_size, mask_rcnn.model.backbone.drop_path_rate) == (7, 0.2)
    gfl = load("detection/gfl_um-mae_swin-t_8xb2-lsj-25e_coco")
    assert (gfl.optim_wrapper.optimizer.lr, gfl.model.backbone.drop_path_rate) == (1e-4, 0.1)
    upernet = load("segmentation/upernet_um-mae_swin-t_8xb2-160k_ade20k-512px")
    assert upernet.model.test_cfg == dict(mode="slide", crop_size=(512, 512), stride=(341, 341))
    assert upernet.param_scheduler[0].end == 1500
    for cfg in (mask_rcnn, gfl, upernet):
        assert "layer_decay_rate" not in (cfg.optim_wrapper.get("paramwise_cfg") or {})


@pytest.mark.parametrize("name", DENSE)
def test_dense_models_build_around_their_backbone(name: str) -> None:
    model = build(name)
    channels = load(name).model.get("neck", load(name).model.get("decode_head")).get("in_channels")
    if channels:  # mmseg's own MAE has necks of other names
        assert list(channels) == model.backbone.out_channels


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("mixmae_swin-b-w14_16xb128-600e_in1k", {0: 1e-4, 40: 1, 320: 0.5, 599: 0}, 1.2e-3),
        ("simmim_swin-b-w6_16xb128-800e_in1k-192px", {10: 1, 699: 1, 700: 0.1, 799: 0.1}, 4e-4),
    ],
)
def test_the_learning_rate_goes_where_the_recipe_says(
    name: str, at: dict[int, float], expected: float
) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=expected)
    wrapper = OptimWrapper(optimizer)
    schedulers = []
    for config in load(f"pretrain/{name}").param_scheduler:
        config = {key: value for key, value in config.items() if key != "convert_to_iter_based"}
        schedulers.append(PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper)))
    found = {}
    for epoch in range(800):
        found[epoch] = optimizer.param_groups[0]["lr"] / expected
        for scheduler in schedulers:
            scheduler.step()
    for epoch, share in at.items():
        assert found[epoch] == pytest.approx(share, abs=2e-3)


def test_every_optimiser_rule_reaches_a_parameter() -> None:
    """One config per rule and backbone: a rate or a name that matches nothing is an error."""
    for name in (
        "classification/simmim-800e_swin-b-w7_16xb128-100e_in1k",
        "classification/mae_vit-b-p16_8xb128-100e_in1k",
        "classification/um-mae_pvt-s_8xb128-100e_in1k-256px",
        "pretrain/simmim_swin-b-w6_16xb128-100e_in1k-192px",
        "detection/mask-rcnn_simmim_swin-b-w7_8xb2-lsj-3x_coco",
    ):
        wrapper = load(name).optim_wrapper
        constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=wrapper.constructor,
                optim_wrapper_cfg=dict(type="OptimWrapper", optimizer=wrapper.optimizer),
                paramwise_cfg=wrapper.get("paramwise_cfg"),
            )
        )
        constructor(build(name))


DATA = {  # one config per data set and pipeline, and what `make_tiny` calls the data
    "pretrain/mixmae_swin-b-w14_16xb128-600e_in1k": "imagenet",
    "pretrain/simmim_swin-b-w6_16xb128-100e_in1k-192px": "imagenet",
    "pretrain/um-mae_swin-t_16xb256-200e_in1k-256px": "imagenet",
    "classification/mixmae_swin-b-w14_8xb128-100e_in1k": "imagenet",
    "classification/mixmae_swin-b-w16_16xb64-100e_in1k-384px": "imagenet",
    "classification/mixmae_swin-b-w14_8xb2048-linear-90e_in1k": "imagenet",
    "classification/mixmae_swin-b-w14_8xb64-200e_in1k-1pct": "imagenet",
    "classification/mixmae_swin-b-w14_8xb64-100e_in1k-10pct": "imagenet",
    "classification/mixmae_swin-b-w14_8xb96-360e_inat2018": "inat2018",
    "classification/mixmae_swin-b-w14_8xb96-360e_inat2019": "inat2019",
    "classification/mixmae_swin-b-w14_8xb128-50e_places205": "places205",
    "classification/mixmae_swin-b-w14_8xb128-50e_places365": "places365",
    "classification/mixmae_swin-b-w14_8xb64-100e_cifar100": "cifar100",
    "detection/mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco": "coco",
    "detection/mask-rcnn_mixmae_swin-b-w14_8xb2-ms-3x_coco": "coco",
    "detection/mask-rcnn_mixmae_swin-b-w14_8xb2-lsj-1x_coco": "coco",
    "detection/mask-rcnn_mixmae_swin-b-w14_8xb2-lsj-3x_coco": "coco",
    "detection/gfl_um-mae_swin-t_8xb2-lsj-25e_coco": "coco",
    "segmentation/upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px": "ade20k",
    "segmentation/upernet_mixmae_swin-l-w14_16xb1-160k_ade20k-640px": "ade20k",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def make(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        make_tiny(name, root)
        return root

    return make


@pytest.mark.parametrize("name", DATA)
def test_data_is_read_in_its_published_layout_and_goes_through_the_pipelines(
    name: str, tiny: Callable[[str], Path]
) -> None:
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.get("val_dataloader")):
        if loader is None:
            continue
        dataset = copy.deepcopy(loader.dataset)
        dataset.get("dataset", dataset).data_root = str(tiny(DATA[name]))
        item = DATASETS.build(dataset)[0]
        assert item["inputs"].shape[0] == 3
        if loader is cfg.train_dataloader and not name.startswith("detection"):
            size = 256 if "256px" in name else cfg.model.backbone.get("img_size", 224)
            if name.startswith("segmentation"):  # a scene scaled below the crop is padded in the batch
                assert max(item["inputs"].shape[1:]) <= cfg.model.data_preprocessor.size[0]
            else:
                assert item["inputs"].shape[1:] == (size, size)
        if "lsj" in name and loader is cfg.train_dataloader:
            assert item["inputs"].shape[1:] == (1024, 1024)


@pytest.mark.parametrize("name", ["imagenet", "transfer", "controlled"])
def test_a_suite_starts_every_backbone_from_one_of_its_kind(name: str) -> None:
    runs = {run.name: run for run in read_suite(CONFIGS / "suites" / f"{name}.yaml").runs()}

    def backbone(run: Run) -> nn.Module:
        return build(run.config.resolve().relative_to(CONFIGS).with_suffix("").as_posix()).backbone

    def sizes(found: Encoder) -> tuple[type, list[int], tuple[int, ...]]:
        return type(found), found.out_channels, found.depths

    children = [run for run in runs.values() if run.parent]
    own = [run for run in children if isinstance(backbone(runs[run.parent]), Encoder)]
    assert len(own) > 15
    for run in own:
        assert sizes(backbone(run)) == sizes(backbone(runs[run.parent]))
    # The encoders of mmpretrain are compared in test_mmpretrain_methods.py.
    assert all(
        backbone(runs[run.parent]).__module__.startswith("mmpretrain.") for run in children if run not in own
    )


def test_intermediate_fine_tuning_is_where_the_recipes_have_it() -> None:
    runs = read_suite(CONFIGS / "suites" / "transfer.yaml").runs()
    after_imagenet = {(run.method.name, run.task) for run in runs if run.initialisation == "in1k"}
    assert {("um-mae-swin-t", "coco-gfl"), ("um-mae-swin-t", "ade20k"), ("simmim-swin-b", "coco-lsj")} < (
        after_imagenet
    )
    assert ("mixmae-swin-b", "coco-1x") not in after_imagenet


def test_a_model_is_checked_in_its_own_scope_whatever_another_config_has_left() -> None:
    with DefaultScope.overwrite_default_scope("mmdet"):
        check_model(load("classification/mae_vit-b-p16_1xb256-knn_in1k"))
