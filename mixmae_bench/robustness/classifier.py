"""The evaluated classifier: a config and the checkpoint of the whole model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from torch import nn

from mixmae_bench.backbones.loading import load_model
from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.datasets.catalog.imagenet import ImageNet, wordnet_ids
from mixmae_bench.datasets.tuning_split import only_leaf
from mixmae_bench.engine.config import check_model, load_config
from mixmae_bench.engine.run_folder import checkpoint_of, class_names, config_in
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.system.hub import local_file

CLASSES = 1000
"""Classes of ImageNet-1K, in the order of their WordNet IDs."""


@dataclass(frozen=True)
class Classifier:
    """A classifier of ImageNet-1K.

    Attributes:
        name: Config or folder of a run, as given.
        cfg: The config.
        checkpoint: File with the weights of the whole model.
    """

    name: str
    cfg: Config
    checkpoint: Path

    @property
    def scope(self) -> str:
        """mmengine's default scope of the config."""
        return self.cfg.get("default_scope") or "mmpretrain"

    @property
    def model(self) -> dict:
        """Config of the model, with its data preprocessor."""
        model = self.cfg.model.to_dict()
        preprocessor = model.get("data_preprocessor") or self.cfg.get("data_preprocessor")
        return {**model, "data_preprocessor": preprocessor}

    @property
    def pipeline(self) -> list[dict]:
        """Transforms of the validation images."""
        return only_leaf(self.cfg, "val_dataloader")["pipeline"]

    @property
    def half(self) -> bool:
        """Whether validation uses autocast, as in mmengine's loop."""
        return bool((self.cfg.get("val_cfg") or {}).get("fp16"))

    def load(self) -> nn.Module:
        """Build the model and load all of its weights.

        Raises:
            UserError: If the checkpoint does not fit, or its classes are not ImageNet-1K's.
        """
        check_classes(self.checkpoint)
        torch.backends.cudnn.allow_tf32 = False  # as in the validation of a run
        with DefaultScope.overwrite_default_scope(self.scope), safe_loaders(), torch.random.fork_rng():
            model = MODELS.build(self.model)
        load_model(model, self.checkpoint)
        return model.requires_grad_(False).eval().to(get_device())


def find_classifier(name: str, checkpoint: str | None = None) -> Classifier:
    """Return a classifier with a checked config.

    Args:
        name: Classification config, by path or name, or the folder of a run.
        checkpoint: Checkpoint of the whole model: a file, or the folder of a run. None for that of the run.

    Raises:
        UserError: If the config is missing or is none of a classifier of 1000 classes, or there is no
            checkpoint.
    """
    folder = Path(name) if Path(name).is_dir() else None
    cfg = load_config(config_in(folder) if folder else name)
    head = (cfg.get("model") or {}).get("head") or {}
    if head.get("num_classes") != CLASSES:
        raise UserError(
            f"config {cfg.filename}: model.head.num_classes is {head.get('num_classes')}; give a classifier "
            f"of the {CLASSES} classes of ImageNet-1K"
        )
    if not only_leaf(cfg, "val_dataloader").get("pipeline"):
        raise UserError(f"config {cfg.filename} has no pipeline of validation images; give another config")
    check_model(cfg)
    found = checkpoint_of(checkpoint or folder)
    if found is None:
        raise UserError(f"config {cfg.filename} has no weights; give the classifier's with --checkpoint")
    return Classifier(name, cfg, local_file(found))


def check_classes(checkpoint: Path) -> None:
    """Check that the classes that mmengine saved in a checkpoint are ImageNet-1K's, in their order.

    Raises:
        UserError: If they are others, or the file cannot be read.
    """
    found = class_names(checkpoint)
    orders = [list(ImageNet.METAINFO["classes"]), list(wordnet_ids())]
    if found and found not in orders:
        raise UserError(
            f"checkpoint {checkpoint}: its {len(found)} classes ({found[0]}, ...) are not those of "
            "ImageNet-1K in the order of WordNet IDs; give a classifier of ImageNet-1K"
        )
