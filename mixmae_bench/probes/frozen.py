"""A frozen backbone with its data: the features of both data sets, for every seed of the weights."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mixmae_bench.datasets.identity import data_hash, file_hash
from mixmae_bench.engine.config import backbone_name, content_hash
from mixmae_bench.probes.cache import features_of, identity_of, items_of
from mixmae_bench.probes.features import Features, build_model, of_all_stages, weights_hash
from mixmae_bench.probes.source import Source
from mixmae_bench.system.hub import is_source, local_file, origin


@dataclass(frozen=True)
class Split:
    """A data set.

    Attributes:
        loader: Loader that yields every image in order.
        config: Config of the data set.
        labels: Labels (N,).
        content: Hash of its images.
        shape: Height and width of the first image.
    """

    loader: DataLoader
    config: dict
    labels: NDArray[np.int64]
    content: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Probed:
    """The features of both data sets.

    Attributes:
        train: Features of the training images.
        val: Features of the validation images.
        about: Fields of the record that describe the weights.
    """

    train: Features
    val: Features
    about: dict


@dataclass
class Frozen:
    """A frozen backbone with its data.

    Args:
        source: What is probed.
        progress: Called with 'training' or 'validation', the number of images with features, and their total
            number.

    Raises:
        UserError: If the backbone is not of this package, or an image has no single label.
    """

    source: Source
    progress: Callable[[str, int, int], None]
    _last: tuple[tuple, Probed] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        cfg = self.source.cfg
        self.device = get_device()
        self._scope = cfg.get("default_scope") or "mmpretrain"
        with DefaultScope.overwrite_default_scope(self._scope):
            self._backbone = of_all_stages(cfg.model.backbone.to_dict())
            self.train, self.val = (_split(cfg[f"{name}_dataloader"].to_dict()) for name in ("train", "val"))
        self.stages = len(self._backbone.get("out_indices", (0,)))
        classes = self.train.loader.dataset.metainfo.get("classes")
        last = max(self.train.labels.max(), self.val.labels.max())
        self.class_names = list(classes or map(str, range(last + 1)))

    @property
    def about(self) -> dict:
        """Fields of the record that are the same for all probes."""
        cfg = self.source.cfg
        return dict(
            backbone=backbone_name(cfg),
            config=self.source.name,
            config_hash=content_hash(cfg),
            dataset=self.source.dataset,
            data_hash=data_hash(self.train.config),
            val_data_hash=data_hash(self.val.config),
            image_shape=list(self.val.shape),
            device=self.device,
        )

    def probed(self, seed: int, tokens: bool) -> Probed:
        """Return the features, from the cache if they are there; random weights are those of the seed.

        Args:
            seed: Seed of random weights; of no effect with a checkpoint.
            tokens: Whether tokens are needed besides pooled features.

        Raises:
            UserError: See `build_model` and `features_of`.
        """
        key = (None if self.source.checkpoint else seed, tokens)
        if self._last is None or self._last[0] != key:
            self._last = key, self._probed(seed, tokens)
        return self._last[1]

    def _probed(self, seed: int, tokens: bool) -> Probed:
        cfg, checkpoint = self.source.cfg, self.source.checkpoint
        given = cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor")
        preprocessor = given and given.to_dict()
        start = 0 if checkpoint else seed
        model = build_model(self._backbone, preprocessor, checkpoint, start, self._scope).to(self.device)
        parts = dict(backbone=self._backbone, preprocessor=preprocessor)
        modules = (cfg.get("custom_imports") or {}).get("imports", [])

        def features(name: str, split: Split) -> Features:
            own = {**parts, "dataset": split.config, "content": split.content, "shape": split.shape}
            identity = identity_of(own, model, self.device, modules)
            done = lambda images: self.progress(name, images, len(split.labels))  # noqa: E731
            return features_of(model, split.loader, split.labels, identity, self.stages, tokens, done)

        with DefaultScope.overwrite_default_scope(self._scope):
            train, val = features("training", self.train), features("validation", self.val)
        return Probed(train, val, {"weights": weights_hash(model.backbone), **self._checkpoint(model)})

    def _checkpoint(self, model: torch.nn.Module) -> dict:
        checkpoint = self.source.checkpoint
        if checkpoint is None:
            return {"initialisation": "random"}
        return {
            "initialisation": "checkpoint",
            "checkpoint": file_hash(local_file(checkpoint)),
            "checkpoint_source": origin(checkpoint) if is_source(checkpoint) else checkpoint,
            "checkpoint_filled": round(model.backbone.audit["filled"], 4),
        }


def _split(loader: dict) -> Split:
    built = Runner.build_dataloader(loader)
    content, labels = items_of(built.dataset)
    shape = tuple(built.dataset[0]["inputs"].shape[-2:])
    return Split(built, loader["dataset"], labels, content, shape)
