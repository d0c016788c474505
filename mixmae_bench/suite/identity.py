"""Identity of a run: all settings that determine its result, as plain data that is hashed and compared.

The identity contains the model, the data and its loading, the optimiser, the schedule, the training length,
the effective batch size, the requested precision, the seed and the initial weights. It excludes settings that
do not change the result: workers, logging, validation and checkpoint intervals, launcher, file paths, and
hooks that only observe.
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from mixmae_bench.datasets.identity import file_hash
from mixmae_bench.engine.batch import effective_batch, fit_lr
from mixmae_bench.engine.old_names import canonical_key, canonical_type
from mixmae_bench.registry import MODELS

LOADER_SETTINGS = (
    *("num_workers", "persistent_workers", "pin_memory", "pin_memory_device", "prefetch_factor"),
    *("timeout", "multiprocessing_context"),
)
"""Keys of a data loader that do not change what it yields."""

PLACES = ("data_root", "ann_file", "backend_args", "file_client_args", "lazy_init", "serialize_data")
"""Keys of a data set for its location and its storage in memory; its content is hashed instead."""

LENGTHS_OF_INTERVALS = ("val_interval", "val_begin", "dynamic_intervals")

EVALUATOR_PLACES = (
    "ann_file",
    "outfile_prefix",
    "backend_args",
    "file_client_args",
    "collect_device",
    "collect_dir",
)

OPTIMIZER_SETTINGS = ("fused", "foreach", "capturable")
"""Optimizer settings that only select an implementation of the same step."""

ONLOOKERS = {
    *(
        "CheckpointHook",
        "EmptyCacheHook",
        "IterTimerHook",
        "LoggerHook",
        "MemoryProfilerHook",
        "NumClassCheckHook",
    ),
    *("ProfilerHook", "RuntimeInfoHook", "SyncBuffersHook"),
    *("DetVisualizationHook", "SegVisualizationHook", "VisualizationHook"),
    *("mixmae_bench.ReconstructionHook", "mixmae_bench.ExactCheckpointHook", "mixmae_bench.ScalarsHook"),
    "mixmae_bench.NonBlockingCopyHook",
}
"""Hooks that do not change the result of a run; all other hooks are part of the identity."""

ALWAYS_THERE = ("ParamSchedulerHook", "DistSamplerSeedHook")
"""Hooks that mmengine adds by default: only their removal is part of the identity."""

SHOWN = 6
SHOWN_CHARACTERS = 60


def identity(cfg: Config, data: Mapping[str, str], processes: int, rescale: bool) -> dict:
    """Return the identity of a config, without the seed and the initial weights, which the suite adds.

    Args:
        cfg: The config.
        data: Hashes of the data (`datasets.identity.data_hash`) by loader.
        processes: Number of processes that would train it.
        rescale: Whether the learning rate is scaled to the effective batch size (see `batch.fit_lr`).
    """
    cfg = copy.deepcopy(cfg)
    rescale = rescale or (cfg.get("auto_scale_lr") or {}).get("enable", False)
    if rescale:
        fit_lr(cfg, processes, rescale=True)
    content = cfg.to_dict()
    parts = {
        "default_scope": content.get("default_scope"),
        "model": _model(content["model"]),
        "data_preprocessor": content.get("data_preprocessor"),
        "train_data": _loader(content["train_dataloader"], data["train_dataloader"], "batch_size"),
        "val_data": _loader(content["val_dataloader"], data["val_dataloader"])
        if "val_dataloader" in data
        else None,
        "val_evaluator": [_without(e, *EVALUATOR_PLACES) for e in _listed(content.get("val_evaluator"))],
        "batch": _batch(cfg, processes, rescale),
        "optim_wrapper": _optim_wrapper(content["optim_wrapper"]),
        "param_scheduler": content.get("param_scheduler"),
        "train_cfg": _without(content["train_cfg"], *LENGTHS_OF_INTERVALS),
        "val_cfg": content.get("val_cfg"),
        "hooks": _hooks(content),
        "strategy": _strategy(content.get("strategy")),
        "load_from": weights(content.get("load_from")),
    }
    return {name: _canonical(part) for name, part in parts.items() if part not in (None, [], {})}


def key_of(parts: Mapping) -> str:
    """Return the first 16 hex digits of the SHA-256 of an identity."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def changes(old: Mapping, new: Mapping) -> list[str]:
    """Return the differences of two identities: `key: old -> new` for every value, sorted by key."""
    before, after = dict(_flat(old)), dict(_flat(new))
    differ = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    return [f"{key}: {_shown(before, key)} -> {_shown(after, key)}" for key in differ]


def summary(items: list[str]) -> str:
    """Return the first few items of a list in one line, with the number of the others."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def weights(checkpoint: str | None) -> str | None:
    """Return the content hash of a checkpoint named in a config, or its address if there is no local file."""
    if not checkpoint:
        return None
    file = Path(checkpoint).expanduser()
    return file_hash(file) if file.is_file() else str(checkpoint)


def _model(model: dict) -> object:
    """Return a model config without memory-saving options, with content hashes in place of checkpoints."""

    def walk(node: object) -> object:
        if isinstance(node, list | tuple):
            return [walk(value) for value in node]
        if not isinstance(node, dict):
            return node
        if "checkpoint" in node and node.get("type") == "Pretrained":
            node = {**node, "checkpoint": weights(node["checkpoint"])}
        return {key: walk(value) for key, value in node.items() if key != "with_cp"}

    return walk(model)


def _loader(loader: dict, content: str, *more: str) -> dict:
    own = _without(loader, *LOADER_SETTINGS, *more, "dataset")
    return {**own, "dataset": _dataset(loader["dataset"]), "content": content}


def _dataset(node: object) -> object:
    """Return a data set config, wrappers included, without file locations, also in its transforms."""
    if isinstance(node, list | tuple):
        return [_dataset(value) for value in node]
    if not isinstance(node, dict):
        return node
    own = {key: _dataset(value) for key, value in _without(node, *PLACES, "data_prefix").items()}
    prefix = node.get("data_prefix") or {}
    inside = prefix if isinstance(prefix, dict) else {"": prefix}
    inside = {key: value for key, value in inside.items() if value and not Path(value).is_absolute()}
    return {**own, "data_prefix": inside} if inside else own


def _batch(cfg: Config, processes: int, rescale: bool) -> dict:
    """Return the effective batch size and, for methods that mix images within a process, the process's batch.

    A config that states the batch size of its learning rate is only trained with that one (`batch.fit_lr`).
    """
    base = (cfg.get("auto_scale_lr") or {}).get("base_batch_size")
    batch = {"effective": base if base and not rescale else effective_batch(cfg, processes)}
    type_ = _type(cfg.model)
    if type_.startswith("mixmae_bench.") and getattr(MODELS.get(type_), "mixes_batch", False):
        batch["per_process"] = cfg.train_dataloader.batch_size
    return batch


def _optim_wrapper(wrapper: dict) -> dict:
    own = _without(wrapper, "accumulative_counts", "optimizer")
    return {**own, "optimizer": _without(wrapper.get("optimizer") or {}, *OPTIMIZER_SETTINGS)}


def _hooks(content: dict) -> list:
    default = content.get("default_hooks") or {}
    hooks = [*default.values(), *(content.get("custom_hooks") or [])]
    counted = [h for h in hooks if h and _type(h) not in ONLOOKERS and _type(h) not in ALWAYS_THERE]
    removed = [name for name in ("param_scheduler", "sampler_seed") if default.get(name, ...) is None]
    return [*counted, *removed]


def _strategy(strategy: dict | None) -> dict | None:
    """Return the config of the training strategy, which may set a precision, or None for this package's."""
    return None if strategy and _type(strategy) == "mixmae_bench.FullyShardedStrategy" else strategy


def _type(node: dict) -> str:
    return canonical_type(_name(node.get("type")))


def _name(value: object) -> str:
    """Return the name of a type or function that a config contains as an object."""
    return value if isinstance(value, str) else f"{value.__module__}.{value.__qualname__}"


def _canonical(node: object, type_: str | None = None) -> object:
    """Return JSON-compatible data with old names replaced by new ones, and 1.0 written as 1."""
    if isinstance(node, Mapping):
        own = _type(node) if node.get("type") is not None else None
        return {
            canonical_key(str(key), own): own if key == "type" and own else _canonical(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_canonical(value) for value in node]
    if isinstance(node, set | frozenset):
        return sorted((_canonical(value) for value in node), key=str)
    if isinstance(node, float) and node.is_integer():
        return int(node)
    if node is None or isinstance(node, str | bool | int | float):
        return node
    return _name(node) if callable(node) else str(node)


def _without(node: dict, *keys: str) -> dict:
    return {key: value for key, value in node.items() if key not in keys}


def _listed(value: object) -> list:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _flat(node: object, path: str = "") -> Iterator[tuple[str, object]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else None
    if items is None or not node:
        yield path, node
        return
    for key, value in items:
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _shown(values: dict[str, object], key: str) -> str:
    text = "nothing" if key not in values else json.dumps(values[key])
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
