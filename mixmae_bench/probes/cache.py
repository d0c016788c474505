"""Cache of features on disk, each under a hash of everything that determines them."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from mixmae_bench.engine.config import content_hash
from mixmae_bench.errors import UserError
from mixmae_bench.probes.features import POOLED, TOKENS, Features, extract, names, weights_hash
from mixmae_bench.system.environment import code_hash
from mixmae_bench.system.files import cache_folder, check_writable, write_atomically

FOLDER = "features"
"""Folder in the cache folder, with a folder per identity."""

IDENTITY = "identity.json"
"""File in the folder of an identity, for humans and as a check."""

COMPUTED_BY = "mixmae_bench.probes.features"
"""Module that computes features, besides the sources that `code_hash` covers."""


LOCATIONS = ("data_root", "ann_file")
"""Keys of a data set for its location; its images are hashed instead."""


def items_of(dataset: BaseDataset) -> tuple[str, NDArray[np.int64]]:
    """Return a hash of the images of a data set in their order, and their labels (N,).

    Files count by their names, sizes and times of change, as a file of the same name may have other content.
    Images in memory count by their content.

    Raises:
        UserError: If an image has no single label.
    """
    digest, labels = hashlib.sha256(), []
    for number in range(len(dataset)):
        item = dataset.get_data_info(number)
        label = item.get("gt_label")
        if not isinstance(label, int | np.integer):
            raise UserError(
                f"data: image {number} of {dataset.data_root} has no single label; give a config of a "
                "classification with one label per image"
            )
        labels.append(int(label))
        if "img_path" in item:
            status = Path(item["img_path"]).stat()
            own = f"{Path(item['img_path']).name} {status.st_size} {status.st_mtime_ns}".encode()
        else:
            own = np.ascontiguousarray(item["img"]).tobytes()
        digest.update(b"%d %s\n" % (label, own))
    return digest.hexdigest()[:16], np.array(labels, np.int64)


def identity_of(parts: Mapping, model: nn.Module, device: str, modules: Sequence[str]) -> dict:
    """Return everything that determines features, as plain data.

    Args:
        parts: Configs of the backbone, the data preprocessor and the data set with its pipeline; the hash of
            its images and their shape. The location of the data set does not count.
        model: The model with its weights.
        device: Type of the device; kernels round differently.
        modules: `custom_imports` of the config.
    """
    dataset = {key: value for key, value in parts["dataset"].items() if key not in LOCATIONS}
    weights, code = weights_hash(model.backbone), code_hash([*modules, COMPUTED_BY])
    found = {**parts, "dataset": dataset, "weights": weights, "device": device, "code": code}
    return json.loads(json.dumps(found, sort_keys=True, default=str))


def features_of(
    model: nn.Module,
    loader: DataLoader,
    labels: NDArray[np.int64],
    identity: dict,
    stages: int,
    tokens: bool,
    progress: Callable[[int], None],
) -> Features:
    """Return the features of a loader's images from the cache, or compute and cache them.

    Args:
        model: See `features.extract`.
        loader: See there.
        labels: Labels of the images.
        identity: Result of `identity_of`.
        stages: Number of stages.
        tokens: Whether tokens are needed besides pooled features.
        progress: See `features.extract`; not called if all features are cached.

    Raises:
        UserError: See `features.extract`; also if the cache folder is not writable.
    """
    key = content_hash(Config(identity))
    folder = cache_folder() / FOLDER / key
    kinds = (POOLED, TOKENS) if tokens else (POOLED,)
    if not is_cached(folder, identity, names(stages, kinds), len(labels)):
        check_writable(folder, "set MIXMAE_BENCH_CACHE to another")
        extract(model, loader, kinds, folder, progress)
        write_atomically(folder / IDENTITY, json.dumps(identity, indent=1, sort_keys=True))
    found = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names(stages, kinds)}
    pooled = [np.array(found[name]) for name in names(stages, (POOLED,))]
    return Features(pooled, [found[name] for name in names(stages, kinds)[stages:]], labels, key)


def is_cached(folder: Path, identity: dict, wanted: list[str], images: int) -> bool:
    """Return whether a folder has all wanted arrays of an identity, each with a row per image."""
    try:
        known = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        rows = [len(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in wanted]
    except (OSError, ValueError):
        return False
    return known == identity and set(rows) == {images}
