"""Validate one config on a tiny data set: training steps, a checkpoint and an evaluation."""

import copy
import re
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mixmae_bench.backbones.loading import read_weights
from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.cost.models import built_on
from mixmae_bench.datasets.catalog import CATALOG, make_tiny
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.batch import fit_lr
from mixmae_bench.engine.config import check_model, load_config, mentions, relocate
from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.engine.prepare import prepare, train
from mixmae_bench.errors import UserError
from mixmae_bench.registry import HOOKS, MODELS
from mixmae_bench.system.redirect import printing_into
from mixmae_bench.transfer.audit import fit_model, pretrained, try_checkpoint
from mixmae_bench.validate.narrow import narrow

IMAGES = 4
"""Images per split of a data set: two steps of two images."""


@dataclass(frozen=True)
class Proof:
    """Result of the validation of a config.

    Attributes:
        config: File of the config.
        params: Parameters of the whole model at full width, or None if it could not be built.
        seconds: Wall time of the validation.
        peak_memory_mb: Peak memory in MB.
        error: The first error in one line, or None.
    """

    config: Path
    params: int | None
    seconds: float
    peak_memory_mb: float
    error: str | None


def prove(config: Path, folder: Path, full: bool, checkpoint: Path | None) -> Proof:
    """Build, audit, train and evaluate a config; write its output to `log.txt` in `folder`.

    Args:
        config: The config.
        folder: Folder for the tiny data sets and the run.
        full: Whether to use the model at full width.
        checkpoint: Checkpoint to try in the full-width backbone, or None.
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
        except Exception as failure:  # a config can raise anything
            traceback.print_exc()
            kind = "" if isinstance(failure, UserError) else f"{type(failure).__name__}: "
            error = " ".join(f"{kind}{failure}".split())[:300]
    return Proof(config, params, round(time.monotonic() - started, 1), round(peak_memory() / 2**20), error)


def _params(cfg: Config) -> int:
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"), built_on("meta"):
        return sum(p.numel() for p in MODELS.build(cfg.model).parameters())


def _check_named(cfg: Config) -> None:
    """Audit the checkpoints of a config with its full-width model, and remove them from the config.

    A tokenizer's weights are removed without an audit.

    Raises:
        UserError: See `load_backbone`.
    """
    if file := pretrained(cfg.model.backbone.get("init_cfg")):
        try_checkpoint(cfg, file)
        del cfg.model.backbone.init_cfg
    if tokenizer := cfg.model.get("target_generator"):
        tokenizer.pop("init_cfg", None)  # its file is of another project; two steps need none
    if file := cfg.pop("load_from", None):
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
            model = MODELS.build(cfg.model)
        fit_model(model, read_weights(file, model.state_dict().keys()), file)


def _processes(config: Path) -> int:
    """Return the number of processes from a config's name: 16 for '16xb128'."""
    told = re.search(r"_(\d+)xb\d+", config.stem)
    if not told:
        raise UserError(f"config {config}: the name must state processes and batch size, such as 16xb128")
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
    cfg.pop("auto_scale_lr", None)  # `prove` has checked it for the batch size in the name
    for key in ("runner_type", "strategy"):  # sharding needs several processes (tests/distributed)
        cfg.pop(key, None)
    train(prepare(cfg, folder, processes=1, hooks=[dict(type="mixmae_bench.RandomBiasesHook")]))


@HOOKS.register_module()
class RandomBiasesHook(Hook):
    """Draws biases that are 0, as the pretrained ones that they stand for are not.

    With UM-MAE's initialisation, tokens of windows that lie in padding are 0 in all blocks. Every norm
    multiplies their gradients by the root of 1 / eps, which overflows.
    """

    def before_train(self, runner: Runner) -> None:
        for name, parameter in unwrapped(runner.model).named_parameters():
            if name.endswith(".bias") and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)


def _on_tiny_data(cfg: Config, folder: Path) -> Config:
    """Return a config with its data sets replaced by tiny ones, created in `folder`."""
    for name, entry in CATALOG.items():
        if entry.make_tiny and mentions(cfg, entry.root):
            shutil.rmtree(folder / name, ignore_errors=True)  # left by a process that died
            make_tiny(name, folder / name)
            cfg = relocate(cfg, entry.root, folder / name)
    return cfg
