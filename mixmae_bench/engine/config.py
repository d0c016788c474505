"""Read and check configs, and find their data; errors are reported in one line."""

import difflib
import hashlib
import inspect
import json
import math
import sys
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import OPTIMIZERS, DefaultScope
from mmengine.runner import Runner

from mixmae_bench.compat import openmmlab
from mixmae_bench.datasets.digits import EMBEDDED, build_digits
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.channels import fill_channels
from mixmae_bench.engine.old_names import (
    KEYS,
    SETTINGS,
    settings_renamed,
    with_new_names,
    with_old_names,
)
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.registry import MODELS
from mixmae_bench.system.hub import model_of
from mixmae_bench.system.shipped import find_config


@openmmlab.reading_configs()
def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config, by path or name, merge `options` (dotted keys) into it, and fill in open channels.

    Raises:
        UserError: If the file is missing or cannot be read, or an option does not fit; and see
            `openmmlab.family` and `fill_channels`.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code and can raise anything
        raise UserError(f"config {path} cannot be read: {_reason(error)}") from error
    for key, value in (options or {}).items():
        _check_key(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except Exception as error:  # the type depends on the values that are merged
            raise UserError(f"config {path} does not accept {key}={value!r}: {_reason(error)}") from error
    return fill_channels(_with_new_names(cfg))


def _with_new_names(cfg: Config) -> Config:
    """Rename outdated keys to their current names, with one message per process and key."""
    content, old_settings = settings_renamed(cfg._cfg_dict.to_dict())
    content, old = with_new_names(content)
    old |= old_settings
    if not old:
        return cfg
    for name in sorted(old - _told):
        print(
            f"config {cfg.filename}: '{name}' has been renamed to '{(KEYS | SETTINGS)[name]}'; both work",
            file=sys.stderr,
        )
    _told.update(old)
    return Config(content, filename=cfg.filename)


_told: set[str] = set()


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"


def _check_key(cfg: Config, key: str) -> None:
    """Refuse an unknown key that resembles a known one: it would have no effect, without a warning."""
    known = {*cfg, *inspect.signature(Runner.__init__).parameters}
    name = key.partition(".")[0]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    if name not in known and near:
        raise UserError(f"config {cfg.filename} has no '{name}' ({key}). Did you mean '{near[0]}'?")


def content_hash(cfg: Config) -> str:
    """Return the first 16 hex digits of the SHA-256 of a config's content, independent of its file name."""
    text = json.dumps(with_old_names(cfg.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def options_of_source(source: str) -> dict:
    """Return the options of a config for any timm model that name the model of a checkpoint.

    Args:
        source: The checkpoint by a name of `system.hub`, such as 'timm:MODEL.TAG'.

    Raises:
        UserError: See `model_of`.
    """
    name, arguments = model_of(source)
    return {"model.backbone.model": name, **({"model.backbone.model_args": arguments} if arguments else {})}


def backbone_name(cfg: Config) -> str:
    """Return the type and architecture of a config's backbone, such as 'MixMAESwin-base', for records."""
    backbone = cfg.model.backbone
    arch = backbone.get("arch") or backbone.get("model", "")
    return f"{backbone.type.rpartition('.')[2]}-{arch}" if isinstance(arch, str) and arch else backbone.type


def find_data(cfg: Config, by_option: bool = True) -> Config:
    """Return `cfg` with existing data: create the embedded digits, and check that other data exists.

    Args:
        cfg: The config.
        by_option: Whether the calling command has --cfg-options, for the error message.

    Raises:
        UserError: If a data folder or an annotation file is missing.
    """
    if mentions(cfg, EMBEDDED):
        try:
            root = build_digits()
        except OSError as error:
            raise UserError(str(error)) from error
        cfg = relocate(cfg, EMBEDDED, root)
    for leaf in leaves(cfg):
        _check_dataset(leaf.dataset, leaf.key, cfg.filename, by_option)
    return cfg


def mentions(cfg: Config, folder: str) -> bool:
    """Return whether a config contains a path in a data folder."""
    return _has(cfg.to_dict(), folder)


def relocate(cfg: Config, folder: str, new: Path) -> Config:
    """Return `cfg` with all paths in a data folder moved to a new folder."""
    return Config(_replace(cfg.to_dict(), folder, str(new)), filename=cfg.filename)


def check_training(cfg: Config) -> None:
    """Check that a config can train: its parts, optimiser, batch size, training length and learning rate.

    Raises:
        UserError: If a part is missing, or a value is not a number or out of range.
    """
    for key in ("model", "train_dataloader", "optim_wrapper", "train_cfg"):
        if not cfg.get(key):
            raise UserError(f"config {cfg.filename} has no '{key}' and cannot train; give another config")
    optimizer = cfg.optim_wrapper.get("optimizer") or {}
    for key, value, least, kinds in (
        ("train_dataloader.batch_size", cfg.train_dataloader.get("batch_size", 1), 1, int),
        ("train_cfg.max_epochs", cfg.train_cfg.get("max_epochs", 1), 1, int),
        ("train_cfg.max_iters", cfg.train_cfg.get("max_iters", 1), 1, int),
        ("optim_wrapper.accumulative_counts", cfg.optim_wrapper.get("accumulative_counts", 1), 1, int),
        ("optim_wrapper.optimizer.lr", optimizer.get("lr", 0), 0, int | float),
    ):
        if not isinstance(value, kinds) or not least <= value < math.inf:
            kind = "an integer" if kinds is int else "a number"
            raise UserError(f"config {cfg.filename}: {key} is {value!r}; give {kind} of {least} or more")
    scope = OPTIMIZERS.switch_scope_and_registry(cfg.get("default_scope"))
    with openmmlab.quiet(), scope as registry:  # the lookup imports the framework
        if (name := optimizer.get("type")) and registry.get(name) is None:
            near = did_you_mean(str(name), [*registry.module_dict, *OPTIMIZERS.module_dict])
            raise UserError(f"config {cfg.filename}: unknown optimizer '{name}'.{near}")


def check_model(cfg: Config) -> None:
    """Check a model config by building its parts from this package on the meta device.

    Raises:
        UserError: If a type of this package is unknown or its arguments do not fit.
    """
    model = cfg.get("model") or {}
    for where, part in (("model", model), ("model.backbone", model.get("backbone") or {})):
        type_ = str(part.get("type"))
        if not type_.startswith("mixmae_bench."):
            continue
        if MODELS.get(type_) is None:
            name, known = type_.removeprefix("mixmae_bench."), list(MODELS.module_dict)
            near = did_you_mean(name, known)
            raise UserError(
                f"config {cfg.filename}, {where}: unknown type '{type_}'; known: {', '.join(known)}.{near}"
            )
        part = {key: value for key, value in part.items() if key != "data_preprocessor"}
        try:
            # Another config may have set its scope in this process.
            scope = DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine")
            with scope, torch.device("meta"):
                MODELS.build(part)
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"config {cfg.filename}, {where} cannot be built: {reason}") from error


def _check_dataset(dataset: ConfigDict, key: str, config: str, by_option: bool) -> None:
    root = Path(dataset.get("data_root") or ".")
    prefix = dataset.get("data_prefix") or {}
    prefixes = [prefix] if isinstance(prefix, str) else list(prefix.values())
    wanted = [root, *(root / p for p in prefixes if p)]
    if dataset.get("ann_file"):
        wanted.append(root / dataset["ann_file"])
    for path in wanted:
        if not path.exists():
            raise UserError(
                f"data: {path} does not exist ({key} of {config}); put the data there, or give another "
                + (
                    f"folder with --cfg-options {key}.data_root=FOLDER"
                    if by_option
                    else "data_root in the config"
                )
            )


def _has(node: object, text: str) -> bool:
    if isinstance(node, dict):
        return any(_has(v, text) for v in node.values())
    if isinstance(node, list | tuple):
        return any(_has(v, text) for v in node)
    return isinstance(node, str) and _inside(node, text)


def _replace(node: object, text: str, new: str) -> object:
    if isinstance(node, dict):
        return type(node)({k: _replace(v, text, new) for k, v in node.items()})
    if isinstance(node, list | tuple):
        return type(node)(_replace(v, text, new) for v in node)
    return new + node.removeprefix(text) if isinstance(node, str) and _inside(node, text) else node


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
