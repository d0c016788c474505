"""The model of ours that a checkpoint fits: its config, told from shapes, and a check of every name."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mixmae_bench.backbones.official.kinds import Kind
from mixmae_bench.backbones.official.shapes import under
from mixmae_bench.registry import MODELS

BROKEN = (KeyError, IndexError, TypeError, ValueError, RuntimeError, ZeroDivisionError, StopIteration)
"""What reading sizes from tensors of any shape may raise."""


def model_config(kind: Kind, state: Mapping[str, Tensor], img_size: int | None) -> dict:
    """Tell the config of the model that a checkpoint fits: of a method, a classifier or, alone, a backbone.

    Args:
        kind: What the checkpoint is.
        state: Its parameters under our names.
        img_size: Pixels per side of its images; None takes the smallest that fits.

    Raises:
        ValueError: Where the shapes are those of no such model.
    """
    try:
        backbone = kind.backbone.config(under("backbone.", state), img_size)
        if kind.fits == "ImageClassifier":
            return _classifier(state, backbone)
        settings = kind.settings(state, backbone)
    except BROKEN as error:
        raise ValueError(f"its shapes are those of no {kind.backbone.name}: {error}") from error
    return {"type": f"mixmae_bench.{kind.fits}", "backbone": backbone, **settings}


def _classifier(state: Mapping[str, Tensor], backbone: dict) -> dict:
    """Return the config of a classifier around a backbone, or the backbone's where there is no head."""
    if "head.fc.weight" not in state:
        return backbone
    classes, channels = state["head.fc.weight"].shape
    neck = dict(type="GlobalAveragePooling")
    if "neck.norm.weight" in state:
        neck = dict(type="mixmae_bench.PoolNorm", in_channels=channels)
    head = dict(type="LinearClsHead", num_classes=classes, in_channels=channels)
    return dict(type="mmpretrain.ImageClassifier", backbone=backbone, neck=neck, head=head)


def check(config: dict, state: Mapping[str, Tensor]) -> None:
    """Compare every name and shape of `state` with those of the model that `config` builds.

    Raises:
        ValueError: Where one is missing, unknown or of another shape.
    """
    try:
        with torch.device("meta"):
            own = _build(config).state_dict()
    except BROKEN as error:
        raise ValueError(f"its shapes are those of no {config['type']}: {error}") from error
    problems = mismatches(own, state)
    if problems:
        raise ValueError(f"as {config['type'].split('.')[-1]} it {problems}")


def mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say which names and shapes of `state` are not those of `own`; nothing where all are."""
    problems = [f"lacks '{name}'" for name in own if name not in state]
    problems += [f"has '{name}', which there is no place for" for name in state if name not in own]
    problems += [
        f"has '{name}' of shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return ", ".join(problems[:3]) + more


def snippet(config: dict) -> str:
    """Write a config so that it can be pasted into one."""

    def write(value: object) -> str:
        if isinstance(value, dict):
            return f"dict({', '.join(f'{key}={write(item)}' for key, item in value.items())})"
        return repr(value)

    return write(config)


def defaults(kind: Kind, config: dict) -> list[str]:
    """Name the settings of a config that no shape tells, so that they are the published ones."""
    names = [f"{name} of the backbone" for name in kind.backbone.defaults]
    names += kind.defaults
    if config.get("neck", {}).get("type") == "mixmae_bench.PoolNorm":
        names.append("norm_eps of the neck")
    return names


def _build(config: dict) -> nn.Module:
    """Build a model; of a classifier, what has parameters (importing mmpretrain takes seconds)."""
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
