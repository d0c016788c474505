"""One config on a tiny data set: training steps, a checkpoint, an evaluation, through mmengine's Runner."""

import copy
import re
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixmae_bench.backbones.loading import read_weights
from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.cost.models import built_on
from mixmae_bench.datasets.catalog import CATALOG, make_tiny
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.batch import fit_lr
from mixmae_bench.engine.config import check_model, load_config, mentions, relocate
from mixmae_bench.engine.prepare import prepare, train
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.system.redirect import printing_into
from mixmae_bench.transfer.audit import fit_model, pretrained, try_checkpoint
from mixmae_bench.validate.narrow import narrow

IMAGES = 4
"""Of each half of a data set: two steps of two images."""


@dataclass(frozen=True)
class Proof:
    """What came of a config.

    Attributes:
        config: Its file.
        params: Parameters of the whole model at its full width, or None if that could not be built.
        seconds: Wall time of all that was done.
        peak_memory_mb: Largest memory meanwhile.
        error: The first error in one line, or None.
    """

    config: Path
    params: int | None
    seconds: float
    peak_memory_mb: float
    error: str | None


def prove(config: Path, folder: Path, full: bool, checkpoint: Path | None) -> Proof:
    """Build, audit, train and evaluate a config; all it prints goes to `log.txt` of its folder.

    Args:
        config: The config.
        folder: Where the tiny data sets and the run are written.
        full: Whether to take the model at its full width.
        checkpoint: One to try in the full-size backbone, or None.
    """
    started, params, error = time.monotonic(), None, None
    torch.set_num_threads(1)
    reset_peak_memory()
    folder.mkdir(parents=True, exist_ok=True)
    with printing_into(folder / "log.txt"):
        try:
            cfg = load_config(config)
            params = _params(cfg)
            check_model(cfg)
            fit_lr(copy.deepcopy(cfg), _processes(config), rescale=False)
            if checkpoint:
                try_checkpoint(cfg, checkpoint)
            _check_named(cfg)
            _run(cfg if full else narrow(cfg), folder)
        except Exception as failure:  # a config can fail in any way
            traceback.print_exc()
            kind = "" if isinstance(failure, UserError) else f"{type(failure).__name__}: "
            error = " ".join(f"{kind}{failure}".split())[:300]
    return Proof(config, params, round(time.monotonic() - started, 1), round(peak_memory() / 2**20), error)


def _params(cfg: Config) -> int:
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"), built_on("meta"):
        return sum(p.numel() for p in MODELS.build(cfg.model).parameters())


def _check_named(cfg: Config) -> None:
    """Audit the checkpoints that a config names on its model at full width, and take them out of it.

    Raises:
        UserError: As `load_backbone`.
    """
    if file := pretrained(cfg.model.backbone.get("init_cfg")):
        try_checkpoint(cfg, file)
        del cfg.model.backbone.init_cfg
    if file := cfg.pop("load_from", None):
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
            model = MODELS.build(cfg.model)
        fit_model(model, read_weights(file, model.state_dict().keys()), file)


def _processes(config: Path) -> int:
    """Return the processes that a config's name tells: 16 of '16xb128'."""
    told = re.search(r"_(\d+)xb\d+", config.stem)
    if not told:
        raise UserError(f"config {config}: the name does not tell processes and batch, such as 16xb128")
    return int(told[1])


def _run(cfg: Config, folder: Path) -> None:
    cfg = _on_tiny_data(cfg, folder / "data")
    for key in ("train_dataloader", "val_dataloader"):
        if cfg.get(key):
            cfg[key].update(batch_size=2, num_workers=0, persistent_workers=False)
    for leaf in leaves(cfg):
        leaf.dataset["indices"] = IMAGES
    steps = IMAGES // 2
    if "max_epochs" in cfg.train_cfg:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    else:
        cfg.train_cfg.update(max_iters=steps, val_interval=steps)
    if not torch.cuda.is_available():
        cfg.setdefault("env_cfg", {})["dist_cfg"] = dict(backend="gloo")
    cfg.pop("auto_scale_lr", None)  # it is for the batch that the config's name tells, which `prove` checks
    train(prepare(cfg, folder, processes=1))


def _on_tiny_data(cfg: Config, folder: Path) -> Config:
    """Make tiny copies of the data sets that a config names, and return it with their folders."""
    for name, entry in CATALOG.items():
        if entry.make_tiny and mentions(cfg, entry.root):
            shutil.rmtree(folder / name, ignore_errors=True)  # of a process that died with this config
            make_tiny(name, folder / name)
            cfg = relocate(cfg, entry.root, folder / name)
    return cfg
