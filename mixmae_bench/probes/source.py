"""What is probed: backbone, weights and data, from a config or the folder of a run."""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mixmae_bench.datasets.catalog import CATALOG
from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.datasets.digits import EMBEDDED
from mixmae_bench.datasets.leaves import type_name
from mixmae_bench.datasets.tuning_split import as_validated, only_leaf
from mixmae_bench.engine.config import (
    check_model,
    find_data,
    load_config,
    mentions,
    options_of_source,
    relocate,
)
from mixmae_bench.engine.run_folder import checkpoint_of, config_in
from mixmae_bench.errors import UserError
from mixmae_bench.system.hub import is_source
from mixmae_bench.transfer.audit import pretrained

DIGITS = "digits"
"""Value of --data for the embedded digits, with any config."""


@dataclass(frozen=True)
class Source:
    """What is probed.

    Attributes:
        name: Config or folder of a run, as given.
        cfg: The config. Both of its loaders use the pipeline of validation, and yield every image in order.
        checkpoint: Checkpoint of the backbone, or None for random weights.
        dataset: Name of the data set in the catalog, or its folder.
    """

    name: str
    cfg: Config
    checkpoint: str | None
    dataset: str


def find_source(name: str, data: str | None = None, checkpoint: str | None = None) -> Source:
    """Return what is probed, with checked data.

    Args:
        name: Classification config, by path or name, or the folder of a run, which has its config and
            checkpoints.
        data: 'digits', or a folder in the layout of the config's data; None for the config's own.
        checkpoint: Checkpoint of the backbone: a file, a name of `system.hub`, or the folder of a run. None
            for that of the run or of the config, if it has one.

    Raises:
        UserError: If config, data or checkpoint are missing or do not fit.
    """
    folder = Path(name) if Path(name).is_dir() else None
    path = config_in(folder) if folder else name
    cfg = load_config(path)
    for key in ("model.backbone", "train_dataloader.dataset", "val_dataloader.dataset"):
        part, _, inside = key.partition(".")
        if not (cfg.get(part) or {}).get(inside):
            raise UserError(
                f"config {cfg.filename} has no '{key}'; give a classification config, and the weights with "
                "--checkpoint"
            )
    if is_source(checkpoint) and type_name(cfg.model.backbone) == "TimmBackbone":
        cfg = load_config(path, options_of_source(checkpoint))
    check_model(cfg)
    checkpoint = checkpoint_of(checkpoint or folder or pretrained(cfg.model.backbone.get("init_cfg")))
    if data == DIGITS:
        cfg = _on_digits(cfg)
    dataset = _dataset_name(cfg)
    if data and data != DIGITS:
        cfg = _moved(cfg, Path(data))
    cfg = find_data(_as_probed(cfg), by_option=False)
    check_datasets(_data_only(cfg), processes=1)
    return Source(name, cfg, checkpoint, dataset)


def _on_digits(cfg: Config) -> Config:
    """Return a config with the images of the embedded digits in place of its own."""
    layouts = {part.name: part.layouts[0] for part in CATALOG[DIGITS].parts}
    pipeline = only_leaf(cfg, "val_dataloader").get("pipeline", [])
    for split in ("train", "val"):
        own = dict(layouts[f"classification/{split}"], data_root=EMBEDDED, pipeline=pipeline)
        cfg[f"{split}_dataloader"]["dataset"] = own
    return cfg


def _moved(cfg: Config, folder: Path) -> Config:
    """Return a config with its data in another folder."""
    roots = [entry.root for entry in CATALOG.values() if mentions(cfg, entry.root)]
    roots += [str(only_leaf(cfg, "train_dataloader").get("data_root") or "")]
    if not roots[0]:
        raise UserError(f"config {cfg.filename} has no data_root to replace by --data {folder}")
    return relocate(cfg, roots[0], folder)


def _dataset_name(cfg: Config) -> str:
    names = [name for name, entry in CATALOG.items() if mentions(cfg, entry.root)]
    return names[0] if names else str(only_leaf(cfg, "train_dataloader").get("data_root") or ".")


def _as_probed(cfg: Config) -> Config:
    datasets = {"train": as_validated(cfg), "val": only_leaf(cfg, "val_dataloader")}
    sampler = dict(type="DefaultSampler", shuffle=False)
    for split, dataset in datasets.items():
        own = {**cfg.val_dataloader, "dataset": dataset, "sampler": sampler, "drop_last": False}
        cfg[f"{split}_dataloader"] = own
    cfg.pop("test_dataloader", None)
    return cfg


def _data_only(cfg: Config) -> Config:
    """Return the loaders alone: the classes of the config's head do not matter."""
    keys = ("default_scope", "train_dataloader", "val_dataloader")
    return Config({key: cfg[key] for key in keys if key in cfg}, filename=cfg.filename)
