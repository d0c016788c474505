"""What a fine-tuning starts from: the backbone that a checkpoint is for, recognised or given."""

import re
from dataclasses import dataclass
from pathlib import Path

import timm
from timm.models import get_pretrained_cfg

from mixmae_bench.backbones.plain_vit import PlainViT
from mixmae_bench.convert.run import Identified, identify
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.registry import MODELS
from mixmae_bench.system.hub import (
    BACKBONE,
    HUB,
    LOCAL,
    TIMM,
    absolute,
    config_of,
    is_local,
    is_source,
    local_file,
    model_of,
)
from mixmae_bench.system.shipped import names

SIDE = 224
"""Side in pixels of the images of a checkpoint that does not state it."""

OF_RECIPES = ("init_cfg", "drop_path_rate", "out_indices", "pooled", "frozen_stages")
"""Arguments of a given backbone that the recipe of the task replaces."""


@dataclass(frozen=True)
class Start:
    """A backbone and its checkpoint.

    Attributes:
        name: Name of the checkpoint in records.
        backbone: Config of the backbone, without its checkpoint.
        checkpoint: A file, or a name of `system.hub`.
        converted: The checkpoint with our names if it has to be written first, else None.
        size: Side in pixels of the images that the checkpoint was made with.
        pixels: Mean and standard deviation of the images, RGB from 0 to 255, or None for ImageNet's.
        facts: Lines that describe them.
    """

    name: str
    backbone: dict
    checkpoint: str
    converted: Identified | None
    size: int
    pixels: tuple[list[float], list[float]] | None
    facts: tuple[str, ...]

    @property
    def in_timm(self) -> bool:
        """Whether the backbone is a model of timm."""
        return self.backbone["type"] == "mixmae_bench.TimmBackbone"


def start_of(checkpoint: str, given: str | None, dense: bool) -> Start:
    """Return the backbone of a checkpoint.

    Args:
        checkpoint: A file, or a name of `system.hub` ('timm:MODEL.TAG').
        given: The backbone: a model of timm, or a config; None to recognise it from the checkpoint.
        dense: Whether the task needs maps of strides 4 to 32.

    Raises:
        UserError: If the checkpoint does not exist or is of no known kind, or the backbone is unknown.
    """
    if is_source(checkpoint):
        if given:
            raise UserError(f"--backbone {given}: {checkpoint} names its backbone already; leave it out")
        if not checkpoint.startswith(TIMM) and BACKBONE in config_of(checkpoint):  # of `mixmae-bench push`
            return _recognised(str(local_file(checkpoint).resolve()), None, dense)
        return _of_timm(absolute(checkpoint), *model_of(checkpoint))
    if not Path(checkpoint).is_file():
        raise UserError(
            f"checkpoint {checkpoint} does not exist; give a file, timm:MODEL.TAG, hf-hub:REPO[@REVISION] or "
            "local-dir:FOLDER"
        )
    file = str(Path(checkpoint).resolve())
    if given and timm.is_model(given.partition(".")[0]):
        return _of_timm(f"{TIMM}{given}@{file}", given, {})
    backbone = _of_config(given) if given else None
    if backbone and backbone["type"] == "mixmae_bench.TimmBackbone":
        return _of_timm(
            f"{TIMM}{backbone['model']}@{file}", backbone["model"], backbone.get("model_args", {})
        )
    return _recognised(file, backbone, dense)


def _of_timm(source: str, name: str, arguments: dict) -> Start:
    if not timm.is_model(name.partition(".")[0]):
        raise UserError(f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}")
    if is_local(source):
        local_file(source)  # refused here if it does not exist
    size, pixels, facts = SIDE, None, [f"backbone: timm's {name}", f"checkpoint: {source}"]
    if known := _pretrained_cfg(source, name):
        size = known["input_size"][-1]
        pixels = tuple([255 * value for value in known[key]] for key in ("mean", "std"))
        facts[0] += f", made for {size} px, pixels with mean {known['mean']} and std {known['std']}"
    backbone = dict(type="mixmae_bench.TimmBackbone", model=name)
    if arguments:
        backbone["model_args"] = arguments
    plain = source.rpartition("@")[2] if is_local(source) else source
    return Start(_name(plain), backbone, source, None, size, pixels, tuple(facts))


def _pretrained_cfg(source: str, name: str) -> dict | None:
    """Return what timm, or the config of a repository, states about the images of a model's weights."""
    stated = {} if source.startswith(TIMM) else config_of(source).get("pretrained_cfg") or {}
    try:
        known = get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag; the model's default has the sizes
        known = get_pretrained_cfg(name.partition(".")[0])
    return known and {**known.to_dict(), **stated}


def _of_config(given: str) -> dict:
    """Return the backbone of a config, given by path or name."""
    if not Path(given).is_file() and given not in names("configs"):
        near = did_you_mean(given, [*timm.list_models(), *names("configs")])
        raise UserError(f"--backbone {given} is no model of timm and no config.{near}")
    cfg = load_config(given)
    backbone = (cfg.get("model") or {}).get("backbone") or {}
    if not str(backbone.get("type")).startswith("mixmae_bench."):
        raise UserError(f"--backbone {given}: its model has no backbone of mixmae_bench; give another config")
    return {key: value for key, value in backbone.to_dict().items() if key not in OF_RECIPES}


def _recognised(file: str, backbone: dict | None, dense: bool) -> Start:
    """Return the start from a file whose kind is recognised by its names, if it is of a registered kind."""
    try:
        found = identify(Path(file))
    except UserError as error:
        if backbone is None:
            raise UserError(f"{error}; for the weights of a model of timm, give --backbone NAME") from error
        # A backbone that no kind describes: its checkpoint has the names of the model, or is refused.
        side = backbone.get("img_size", SIDE)
        facts = (f"backbone: {backbone['type']}, as given", f"checkpoint: {file}")
        return Start(_name(file), backbone, file, None, side, None, facts)
    own = {key: v for key, v in found.config.get("backbone", found.config).items() if key not in OF_RECIPES}
    if backbone and backbone["type"] != own["type"]:
        raise UserError(f"--backbone is {backbone['type']}, but {file} is for {own['type']}; give its config")
    own = backbone or own
    arch = own.get("arch", "")
    facts = [f"backbone: {found.kind.backbone.name} {arch}".rstrip()]
    side = own.get("img_size") or SIDE
    facts.append(f"checkpoint: {file}: {found.report.found}" + ("" if found.own_names else "; converted"))
    if dense and MODELS.get(own["type"]) is PlainViT:
        model = f"vit_{arch}_patch16_224"
        if not timm.is_model(model):
            raise UserError(
                f"checkpoint {file} is a plain ViT of a size that timm lacks; give --backbone NAME"
            )
        own = dict(type="mixmae_bench.TimmBackbone", model=model)
        facts[0] += f", as timm's {model}, which has a feature pyramid"
    converted = None if found.own_names else found
    return Start(_name(file), own, file, converted, side, None, tuple(facts))


def _name(checkpoint: str) -> str:
    """Return a checkpoint's name for records: letters, digits and .+-_ only."""
    path = Path(checkpoint.removeprefix(TIMM).removeprefix(HUB).removeprefix(LOCAL))
    stem = path.stem if path.suffix in (".pth", ".pt", ".safetensors", ".bin", ".ckpt") else path.name
    return re.sub(r"[^\w.+-]+", "-", stem).lstrip(".+-") or "checkpoint"
