"""Infer the config of the model that a checkpoint fits, and check all names and shapes against the model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mixmae_bench.backbones.official.kinds import Kind
from mixmae_bench.backbones.official.shapes import under
from mixmae_bench.registry import MODELS

BROKEN = (KeyError, IndexError, TypeError, ValueError, RuntimeError, ZeroDivisionError, StopIteration)
"""Exceptions that may occur when sizes are read from tensors of arbitrary shapes."""


def model_config(kind: Kind, state: Mapping[str, Tensor], img_size: int | None) -> dict:
    """Infer the config of the model that a checkpoint fits: a method, a classifier or a backbone.

    Args:
        kind: Kind of the checkpoint.
        state: Its parameters under our names.
        img_size: Side of its images in pixels; None for the smallest that fits.

    Raises:
        ValueError: If the shapes do not fit any model of this kind.
    """
    try:
        backbone = kind.backbone.config(under("backbone.", state), img_size)
        if kind.fits == "ImageClassifier":
            return _classifier(state, backbone)
        settings = kind.settings(state, backbone)
    except BROKEN as error:
        raise ValueError(f"its shapes do not fit {kind.backbone.name}: {error}") from error
    return {"type": f"mixmae_bench.{kind.fits}", "backbone": backbone, **settings}


def _classifier(state: Mapping[str, Tensor], backbone: dict) -> dict:
    """Return the config of a classifier with the backbone, or the backbone's config if there is no head."""
    if "head.fc.weight" not in state:
        return backbone
    classes, channels = state["head.fc.weight"].shape
    neck = dict(type="GlobalAveragePooling")
    if "neck.norm.weight" in state:
        neck = dict(type="mixmae_bench.PoolNorm", in_channels=channels)
    head = dict(type="LinearClsHead", num_classes=classes, in_channels=channels)
    return dict(type="mmpretrain.ImageClassifier", backbone=backbone, neck=neck, head=head)


def check(config: dict, state: Mapping[str, Tensor], added: tuple[str, ...] = ()) -> None:
    """Compare every name and shape of `state` with those of the model that `config` builds.

    Args:
        config: See `model_config`.
        state: Parameters under our names.
        added: Beginnings of names inside the backbone that may be missing.

    Raises:
        ValueError: If a tensor is missing, unexpected or of another shape.
    """
    try:
        with torch.device("meta"):
            own = _build(config).state_dict()
        lacking = tuple(f"backbone.{name}" for name in added)
        own = {name: tensor for name, tensor in own.items() if name in state or not name.startswith(lacking)}
    except BROKEN as error:
        raise ValueError(f"its shapes do not fit {config['type']}: {error}") from error
    problems = mismatches(own, state)
    if problems:
        raise ValueError(f"as a checkpoint of {config['type'].split('.')[-1]}, it {problems}")


def mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Describe the names and shapes of `state` that differ from `own`, or return '' if none differ."""
    problems = [f"lacks '{name}'" for name in own if name not in state]
    problems += [f"has the unexpected '{name}'" for name in state if name not in own]
    problems += [
        f"has '{name}' of shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return ", ".join(problems[:3]) + more


def snippet(config: dict) -> str:
    """Format a config as Python code that can be pasted into a config file."""

    def write(value: object) -> str:
        if isinstance(value, dict):
            return f"dict({', '.join(f'{key}={write(item)}' for key, item in value.items())})"
        return repr(value)

    return write(config)


def defaults(kind: Kind, config: dict) -> list[str]:
    """Return the names of settings that cannot be inferred and therefore have their published values."""
    names = [f"{name} of the backbone" for name in kind.backbone.defaults]
    names += kind.defaults
    if config.get("neck", {}).get("type") == "mixmae_bench.PoolNorm":
        names.append("norm_eps of the neck")
    return names


def _build(config: dict) -> nn.Module:
    """Build a model; for a classifier, only parts with parameters, as importing mmpretrain takes seconds."""
    if config["type"] != "mmpretrain.ImageClassifier":
        return (
            MODELS.build(config)
            if "backbone" in config
            else nn.ModuleDict({"backbone": MODELS.build(config)})
        )
    head = config["head"]
    parts = {
        "backbone": MODELS.build(config["backbone"]),
        "head": nn.ModuleDict({"fc": nn.Linear(head["in_channels"], head["num_classes"])}),
    }
    if "in_channels" in config["neck"]:
        parts["neck"] = MODELS.build(config["neck"])
    return nn.ModuleDict(parts)
