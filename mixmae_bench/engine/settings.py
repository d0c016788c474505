"""Settings of a recipe that a suite can tune, and the keys of a config that each one changes."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True)
class Setting:
    """A setting.

    Attributes:
        key: Dotted key of the config. The config must have it.
        meaning: Description for messages and documentation.
        least: Smallest value.
        most: Largest value, or None.
        whole: Whether values are integers.
        scheduled: Keys of the entries of `param_scheduler` that are scaled in proportion.
        beside: Other dotted keys, integers of 1 or more, that are scaled in proportion where they exist.
    """

    key: str
    meaning: str
    least: float = 0.0
    most: float | None = None
    whole: bool = False
    scheduled: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


LENGTHS = ("begin", "end", "T_max", "milestones", "step_size")
"""Keys of a scheduler in epochs or iterations."""

SETTINGS = {
    "lr": Setting("optim_wrapper.optimizer.lr", "learning rate, before layer decay", scheduled=("eta_min",)),
    "layer_decay": Setting(
        "optim_wrapper.paramwise_cfg.layer_decay_rate",
        "factor of the learning rate from one layer to the layer below (1: none)",
        most=1.0,
    ),
    "drop_path": Setting("model.backbone.drop_path_rate", "highest rate of stochastic depth", most=1.0),
    "epochs": Setting(
        "train_cfg.max_epochs",
        "length in epochs; schedules and warm-up are scaled with it",
        least=1,
        whole=True,
        scheduled=LENGTHS,
        beside=("train_cfg.val_interval",),
    ),
    "iterations": Setting(
        "train_cfg.max_iters",
        "length in iterations; schedules and warm-up are scaled with it",
        least=1,
        whole=True,
        scheduled=LENGTHS,
        beside=("train_cfg.val_interval",),
    ),
}
"""Every setting by its name in suites."""


def with_settings(cfg: "Config", settings: Mapping[str, float]) -> "Config":
    """Return a copy of a config with other values of some settings.

    Args:
        cfg: The config.
        settings: New values by names of `SETTINGS`.

    Raises:
        UserError: If the config lacks the key of a setting.
    """
    cfg = copy.deepcopy(cfg)
    for name, value in settings.items():
        setting = SETTINGS[name]
        place = _place(cfg, setting.key)
        if place is None:
            raise UserError(
                f"config {cfg.filename} has no {setting.key}, which setting '{name}' changes; write it in "
                "the config, or remove the setting from the suite's grid"
            )
        node, key = place
        old, node[key] = node[key], value
        if value != old:
            _scale(cfg, setting, value / old if old else 1.0)
    return cfg


def _scale(cfg: "Config", setting: Setting, factor: float) -> None:
    """Scale what is in proportion to a setting: parts of the schedules, and other keys."""
    schedules = cfg.get("param_scheduler") or []
    for schedule in schedules if isinstance(schedules, list) else [schedules]:
        for key in setting.scheduled:
            if key in schedule:
                schedule[key] = _scaled(schedule, key, factor)
    for place in filter(None, (_place(cfg, key) for key in setting.beside)):
        node, key = place
        node[key] = max(1, round(node[key] * factor))


def _scaled(schedule: Mapping, key: str, factor: float) -> object:
    value = schedule[key]
    if key == "eta_min":
        return value * factor
    if key == "milestones":
        return [max(1, round(own * factor)) for own in value]
    if schedule.get("convert_to_iter_based") and key in ("begin", "end"):
        return value * factor  # mmengine converts fractions of an epoch to iterations
    return max(1, round(value * factor)) if value else value


def _place(cfg: "Config", dotted: str) -> tuple[dict, str] | None:
    """Return the dict that holds a dotted key and the last part of the key, or None without the key."""
    *path, last = dotted.split(".")
    node = cfg
    for part in path:
        node = node.get(part)
        if not isinstance(node, Mapping):
            return None
    return (node, last) if node.get(last) is not None else None
