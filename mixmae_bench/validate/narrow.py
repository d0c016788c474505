"""Copy a config with a model of fewer channels and blocks; all else is unchanged.

Windows, strides, position tables, image sizes, heads and losses are kept, as mistakes in a config rarely
depend on widths. Only backbones and methods of this package and the models in `FAMILIES` are narrowed.
"""

import copy
import sys

import torch
from mmengine.config import Config, ConfigDict

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import named_arch
from mixmae_bench.backbones.timm_backbone import timm_backbone
from mixmae_bench.registry import MODELS
from mixmae_bench.validate.families import FAMILIES

WIDTHS = ("in_channels", "out_channels", "feat_channels", "conv_out_channels", "fc_out_channels", "channels")
"""Keys of necks and heads that contain numbers of channels."""

FACTOR = 4
"""Factor by which necks and heads are narrowed; 256 / 4 = 64 channels still divide into 32 groups."""

DEPTH = 2
"""Blocks per stage; the second one has shifted windows."""

READERS = ("neck", "head", "decode_head", "auxiliary_head")
"""Model parts with an input that may come from the backbone."""


def narrow(cfg: Config) -> Config:
    """Return a copy with a narrow model, or a plain copy if the backbone is not known."""
    cfg = copy.deepcopy(cfg)
    model = cfg.model
    small = _small(model.backbone)
    if not small:
        return cfg
    before = _channels(model.backbone)
    model.backbone.update(small)
    widths = dict(zip(before, _channels(model.backbone), strict=True))
    for name, part in model.items():
        if isinstance(part, dict) and name not in ("backbone", "data_preprocessor", "train_cfg", "test_cfg"):
            # With mmdet's FPN, heads get their input from the neck.
            reads = name in READERS and (name == "neck" or model.get("neck", {}).get("type") != "FPN")
            _narrow(part, widths if reads else {})
    return cfg


def _small(backbone: ConfigDict) -> dict:
    """Return arguments that make a backbone narrow, or nothing for a backbone that is kept."""
    kind = MODELS.get(backbone.type)
    if kind is timm_backbone:
        family = _family(backbone.model)
        small = next((own for name, own in FAMILIES.items() if _family(name) == family), None)
        return {} if small is None else dict(model_args={**backbone.get("model_args", {}), **small})
    if not (isinstance(kind, type) and issubclass(kind, Encoder)):
        return {}
    known = sys.modules[kind.__module__].ARCHS
    default = "small" if "small" in known and "base" not in known else "base"
    return dict(arch=narrow_arch(named_arch(backbone.get("arch", default), known)))


def _family(name: str) -> str:
    """Return the family of a timm model, such as 'hiera' of 'hiera_base_224.mae'."""
    return name.partition(".")[0].partition("_")[0]


def narrow_arch(arch: dict) -> dict:
    """Return a narrow architecture for a backbone of this package, with the same width per attention head."""
    if "embed_dims" in arch:  # a pyramid
        return {
            **arch,
            "embed_dims": [dim // 2 for dim in arch["embed_dims"]],
            "depths": [DEPTH for _ in arch["depths"]],
        }
    if "depth" in arch:  # a plain ViT
        width = arch["embed_dim"] // arch["num_heads"]
        return {**arch, "embed_dim": 2 * width, "num_heads": 2, "depth": DEPTH}
    first = arch["num_heads"][0]
    return {
        **arch,
        "embed_dim": arch["embed_dim"] // first,
        "num_heads": [heads // first for heads in arch["num_heads"]],
        "depths": [DEPTH for _ in arch["depths"]],
    }


def _narrow(part: ConfigDict, widths: dict[int, int]) -> None:
    """Narrow a part of a model in place; `widths` maps the backbone's channels to the narrow ones."""
    if "dim" in part and "depth" in part:  # a decoder of this package's methods
        heads = part.num_heads // FACTOR
        part.update(dim=part.dim // FACTOR, depth=DEPTH, num_heads=heads)
    for key, value in part.items():
        if key in WIDTHS:
            own = widths if key == "in_channels" else {}
            part[key] = (
                [own.get(v, v // FACTOR) for v in value]
                if isinstance(value, list | tuple)
                else own.get(value, value // FACTOR)
            )
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict):
                _narrow(child, {})


def _channels(backbone: ConfigDict) -> list[int]:
    with torch.device("meta"):
        return MODELS.build(dict(backbone)).out_channels
