"""Channels that a config leaves open, because they follow from its backbone."""

import torch
from mmengine.config import Config

from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

SEVERAL, ONE = ("neck", "decode_head"), ("head", "auxiliary_head")
"""Parts of models that read several maps of the backbone, and parts that read one."""


def fill_channels(cfg: Config) -> Config:
    """Set every `in_channels=None` of necks and heads to the channels of the backbone's maps, in place.

    A part with an `in_index` reads that map; others read the last one.

    Raises:
        UserError: If the backbone cannot be built.
    """
    model = cfg.get("model") or {}
    parts = {name: model[name] for name in (*SEVERAL, *ONE) if isinstance(model.get(name), dict)}
    parts = {name: part for name, part in parts.items() if part.get("in_channels", 0) is None}
    if not parts:
        return cfg
    channels = channels_of(cfg)
    for name, part in parts.items():
        part.in_channels = channels if name in SEVERAL else channels[part.get("in_index", -1)]
    return cfg


def channels_of(cfg: Config) -> list[int]:
    """Return the channels of the maps that the backbone of a config returns.

    Raises:
        UserError: If the backbone cannot be built.
    """
    backbone = {key: value for key, value in cfg.model.backbone.items() if key != "init_cfg"}
    try:
        with torch.device("meta"):
            built = MODELS.build(backbone)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"config {cfg.filename}, model.backbone cannot be built: {reason}") from error
    return [built.out_channels[i] for i in getattr(built, "out_indices", [-1])]
