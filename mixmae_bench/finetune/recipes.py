"""Configs for a user's data: the generic configs of the three tasks with other data, sizes and lengths."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.datasets.tuning_split import carve
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.finetune.found import SEED, SHARE, Found
from mixmae_bench.finetune.start import Start
from mixmae_bench.registry import MODELS
from mixmae_bench.system.environment import cores

KEPT = {*inspect.signature(Runner.__init__).parameters, "auto_scale_lr", "custom_imports"}
"""Keys of a config that are written; the others are variables of its base files."""

LEAST_STEPS = 1000
"""Steps that a training has at least, as the published number of epochs is too short for little data."""

WARM_UP = 0.05
"""Share of the epochs in which the learning rate rises."""

EVALUATIONS = 10
"""Evaluations during a training."""

MOST_WORKERS = 8

LEAST_SIDE = 224
"""Smaller images are enlarged in dense tasks, so that the last map has a few tokens."""

SIZE_KEYS = ("scale", "crop_size", "size", "img_size", "stride")
"""Keys of transforms and models that hold sizes in pixels."""


@dataclass(frozen=True)
class Options:
    """What a user may give instead of the recipe's choice; None for the recipe's.

    Attributes:
        epochs: Length of the training.
        batch_size: Training images per process.
        lr: Learning rate.
        img_size: Side of the training images in pixels.
        processes: Number of processes that train together.
    """

    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    img_size: int | None = None
    processes: int = 1


@dataclass(frozen=True)
class Recipe:
    """A task's recipe.

    Attributes:
        config: Generic config that it changes.
        side: Size of the training images in that config, in pixels.
        batch_size: Training images per process.
        epochs: Published length, in epochs.
        fit: Function that fits data, classes and head to what was found, in place.
    """

    config: str
    side: int
    batch_size: int
    epochs: int
    fit: Callable[[Config, Found], None]


def make_config(
    task: str, found: Found, start: Start, options: Options, file: str
) -> tuple[Config, tuple[str, ...]]:
    """Return the config of a fine-tuning, with open channels, and lines that describe its recipe.

    `file` is where it will be written, for messages.

    Raises:
        UserError: If an option does not fit the data.
    """
    recipe = RECIPES[task]
    base = load_config(recipe.config)
    side = options.img_size or _side(task, found, start)
    if side < 32 or (side % 32 and task != "classification"):
        raise UserError(f"--img-size is {side}; give a multiple of 32")
    content = {key: value for key, value in base.to_dict().items() if key in KEPT}
    cfg = Config(_resized(content, _sizes(recipe.side, side)), cfg_text=" ", filename=file)  # not there yet
    _set_backbone(cfg, task, start, side)
    recipe.fit(cfg, found)
    facts = [
        f"recipe: {recipe.config}, training images of {side} px",
        *_set_batch(cfg, recipe, found, options),
    ]
    facts += _set_schedule(cfg, recipe, found, options)
    if found.val is None:
        cfg = carve(cfg, SHARE, SEED)
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    return cfg, tuple(facts)


def _side(task: str, found: Found, start: Start) -> int:
    """Return the side of the training images: the checkpoint's, or for dense tasks that of the data."""
    if task == "classification":
        return start.size
    least, most = min(found.size), max(found.size)
    side = most if task == "detection" else least
    return min(RECIPES[task].side, max(LEAST_SIDE, 32 * round(side / 32)))


def _sizes(old: int, new: int) -> dict[int, int]:
    """Return the sizes that replace those of a generic config for images of side `old`."""
    factors = {old: 1, 4 * old: 4, old * 2 // 3: 2 / 3, round(old * 256 / 224): 256 / 224}
    return {size: round(factor * new) for size, factor in factors.items()}


def _resized(node: object, sizes: dict[int, int], key: str = "") -> object:
    """Return a config with other sizes in pixels."""
    if isinstance(node, dict):
        return {name: _resized(value, sizes, name) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_resized(value, sizes, key) for value in node)
    return sizes.get(node, node) if key in SIZE_KEYS and type(node) is int else node


def _set_backbone(cfg: Config, task: str, start: Start, side: int) -> None:
    """Set the backbone, its checkpoint, and pixel statistics; leave the channels of necks and heads open."""
    pretrained = dict(type="Pretrained", checkpoint=start.checkpoint)
    backbone = dict(start.backbone, drop_path_rate=0.1, init_cfg=pretrained)
    dense = task != "classification"
    if start.in_timm:
        backbone |= dict(img_size=side) if dense else dict(img_size=side, pooled=True)
    elif dense:
        backbone["out_indices"] = (0, 1, 2, 3)
    elif "img_size" in inspect.signature(MODELS.get(start.backbone["type"])).parameters:
        backbone["img_size"] = side
    cfg.model.backbone = backbone
    for part in ("neck", "head", "decode_head", "auxiliary_head"):
        if "in_channels" in cfg.model.get(part, {}):
            cfg.model[part].in_channels = None
    if start.pixels:
        preprocessor = cfg.model.data_preprocessor if dense else cfg.data_preprocessor
        preprocessor.mean, preprocessor.std = start.pixels


def _set_batch(cfg: Config, recipe: Recipe, found: Found, options: Options) -> list[str]:
    """Set batches, workers and learning rate; return the lines that describe them."""
    share = found.images[0] // options.processes
    batch = options.batch_size or min(recipe.batch_size, share)
    if not 1 <= batch <= share:
        raise UserError(
            f"a batch of {batch} on {options.processes} processes needs {batch * options.processes} training "
            f"images, the data has {found.images[0]}; give a smaller --batch-size"
        )
    effective = batch * options.processes
    workers = min(MOST_WORKERS, max(0, cores() - 1))
    for loader, size in ((cfg.train_dataloader, batch), (cfg.val_dataloader, None)):
        loader.batch_size = size or loader.batch_size
        loader.num_workers, loader.persistent_workers = workers, workers > 0
    cfg.train_dataloader.sampler = dict(type="DefaultSampler", shuffle=True)
    cfg.train_dataloader.drop_last = True
    published, base = cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size
    lr = options.lr or published * effective / base
    cfg.optim_wrapper.type = "mixmae_bench.Bf16OptimWrapper"
    cfg.optim_wrapper.optimizer.lr = lr
    cfg.auto_scale_lr = dict(base_batch_size=effective)
    decay = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    why = "as given" if options.lr else f"{published:g} for {base} images, scaled linearly"
    return [
        f"effective batch: {effective} images ({batch} on each of {options.processes} processes)",
        f"learning rate: {lr:.3g} ({why}); layer decay {decay}, drop path 0.1",
    ]


def _set_schedule(cfg: Config, recipe: Recipe, found: Found, options: Options) -> list[str]:
    """Set the length, the schedule and intervals; return the line that describes them."""
    steps = found.images[0] // (cfg.train_dataloader.batch_size * options.processes)
    epochs = options.epochs or max(recipe.epochs, math.ceil(LEAST_STEPS / steps))
    warm = round(WARM_UP * epochs, 3)
    warmed = int(warm * steps) > 0
    cfg.param_scheduler = [
        *([dict(type="LinearLR", start_factor=1e-3, end=warm, convert_to_iter_based=True)] if warmed else []),
        dict(
            type="CosineAnnealingLR",
            begin=warm if warmed else 0,
            end=epochs,
            eta_min=0.0,
            convert_to_iter_based=True,
        ),
    ]
    interval = max(1, epochs // EVALUATIONS)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=interval)
    hooks = cfg.default_hooks
    hooks.logger = dict(type="LoggerHook", interval=min(50, steps))
    hooks.checkpoint = dict(type="CheckpointHook", interval=interval, max_keep_ckpts=1)
    cfg.log_processor = dict(by_epoch=True)
    why = "as given" if options.epochs else f"published: {recipe.epochs}; at least {LEAST_STEPS} steps"
    return [
        f"schedule: {epochs} epochs of {steps} steps ({why}); warm-up {WARM_UP:.0%}, cosine to 0; evaluated "
        f"every {interval} epochs"
    ]


def _classification(cfg: Config, found: Found) -> None:
    count = len(found.classes)
    cfg.data_preprocessor.num_classes = cfg.model.head.num_classes = count
    _set_data(cfg, found)
    cfg.val_evaluator = dict(type="Accuracy", topk=(1, 5) if count > 5 else (1,))


def _detection(cfg: Config, found: Found) -> None:
    roi_head = cfg.model.roi_head
    roi_head.bbox_head.num_classes = len(found.classes)
    _set_data(cfg, found)
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True, min_size=1)
    cfg.val_dataloader.dataset.test_mode = True
    truth = found.val or found.train
    cfg.val_evaluator.ann_file = f"{truth['data_root']}/{truth['ann_file']}"
    if found.masks:
        roi_head.mask_head.num_classes = len(found.classes)
        return
    cfg.model.type = "FasterRCNN"
    del roi_head["mask_head"], roi_head["mask_roi_extractor"], cfg.model.train_cfg.rcnn["mask_size"]
    cfg.val_evaluator.metric = "bbox"
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for step in loader.dataset.pipeline:
            if "with_mask" in step:
                step.with_mask = False


def _segmentation(cfg: Config, found: Found) -> None:
    count = len(found.classes)
    cfg.model.decode_head.num_classes = cfg.model.auxiliary_head.num_classes = count
    _set_data(cfg, found)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == "mixmae_bench.LoadSegMap":
                step.num_classes = count


def _set_data(cfg: Config, found: Found) -> None:
    """Set the data sets; pipelines are kept."""
    for loader, data in ((cfg.train_dataloader, found.train), (cfg.val_dataloader, found.val or found.train)):
        loader.dataset = dict(data, pipeline=loader.dataset.pipeline)


RECIPES = {
    "classification": Recipe("timm_8xb128-100e_in1k", 224, 64, 100, _classification),
    "detection": Recipe("mask-rcnn_timm_8xb2-lsj-3x_coco", 1024, 4, 36, _detection),
    # 160,000 iterations of 16 images on the 20,210 images of ADE20K are 127 epochs.
    "segmentation": Recipe("upernet_timm_8xb2-160k_ade20k-512px", 512, 8, 127, _segmentation),
}
"""The recipe of every task."""
