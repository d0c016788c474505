"""The weights of a run in the forms of timm and OpenMMLab."""

import json
import sys
from pathlib import Path

import timm
import torch
from mmengine.config import Config
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import Tensor, nn

import mixmae_bench.timm_models  # noqa: F401  (registers MixMAE's encoders in timm)
from mixmae_bench.backbones.loading import ADDED, MIN_FILLED, read_state_dict
from mixmae_bench.convert.run import for_package, identify
from mixmae_bench.datasets.leaves import dicts, leaves
from mixmae_bench.engine.config import relocate
from mixmae_bench.errors import UserError
from mixmae_bench.system.hub import BACKBONE, CONFIG, FILES

OPENMMLAB = "openmmlab.pth"
"""The whole model for OpenMMLab."""

OPENMMLAB_CONFIG = "config.py"

OF_A_RUN = ("work_dir", "resume", "load_from", "experiment_name")
HOOKS_OF_A_RUN = ("mixmae_bench.CurvesHook", "mixmae_bench.ProgressHook", "mixmae_bench.OutcomesHook")
"""Keys and hooks that a config has for one run, with folders of the machine."""

HEAD = "head.fc."
"""Prefix of the classifier's head in mmpretrain."""

OF_OTHER_WEIGHTS = (
    *("tag", "hf_hub_id", "url", "license", "origin_url", "label_names", "label_descriptions"),
    *("test_input_size", "test_crop_pct"),
)
"""Keys of timm's pretrained_cfg that describe the weights that timm has for the model."""

GENERIC = {"Swin": "swin_tiny_patch4_window7_224", "MixMAESwin": "mixmae_swin_base_w14_224"}
"""Models of timm that, with other arguments, have the architecture of a backbone of this package."""


def write_weights(cfg: Config, checkpoint: Path, classes: list[str], data: str, folder: Path) -> str | None:
    """Write `model.safetensors` and `config.json` for timm, and the model and its config for OpenMMLab.

    The first two hold the backbone, and the head of a classifier.

    Args:
        cfg: Config of the run.
        checkpoint: Its final checkpoint.
        classes: Names of the classes, or an empty list if they are unknown.
        data: Name of the data set; it replaces folders of this machine in the config.
        folder: Folder to write to.

    Returns:
        The name of the model in timm, or None if timm has no model of this backbone.

    Raises:
        UserError: If the weights do not fit timm's model.
    """
    state = read_state_dict(checkpoint)
    torch.save({"state_dict": state, "meta": {"dataset_meta": {"classes": classes}}}, folder / OPENMMLAB)
    (folder / OPENMMLAB_CONFIG).write_text(_portable(cfg, data).pretty_text, encoding="utf-8")
    backbone = {k: v for k, v in cfg.model.backbone.to_dict().items() if k != "init_cfg"}
    if backbone["type"] == "mixmae_bench.TimmBackbone":
        own = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
        own = {k: v for k, v in own.items() if not k.startswith(ADDED)}
        name, arguments, side = backbone["model"], backbone.get("model_args", {}), backbone.get("img_size")
        head = {k: v for k, v in state.items() if k.startswith(HEAD)} if backbone.get("pooled") else {}
        model = _filled(name, arguments, side, own, head)
        _save(model, cfg, classes, folder)
        return name.partition(".")[0]
    found = identify(checkpoint)
    generic = GENERIC.get(found.kind.backbone.name)
    inferred = found.config.get("backbone", found.config)
    if generic is None or inferred.get("ape"):
        save_file({k: v.contiguous() for k, v in found.state.items()}, folder / FILES[0], {"format": "pt"})
        (folder / CONFIG).write_text(json.dumps({BACKBONE: inferred}, indent=2))
        return None
    own = for_package(found, "timm")
    head = {k: own.pop(k) for k in [*own] if k.startswith("head.")}
    model = _filled(generic, _arguments(found.state, inferred), inferred["img_size"], own, head)
    _save(model, cfg, classes, folder, {BACKBONE: inferred})
    return generic


def _arguments(state: dict[str, Tensor], backbone: dict) -> dict:
    """Return the arguments of timm's model for a windowed backbone of this package."""
    tables = {k: v for k, v in state.items() if k.endswith("relative_position_bias_table")}
    stages = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in tables)
    of_stage = [[v for k, v in tables.items() if f".layers.{i}." in k] for i in range(stages)]
    arch = dict(
        embed_dim=len(state["backbone.patch_embed.proj.weight"]),
        depths=[len(own) for own in of_stage],
        num_heads=[own[0].shape[1] for own in of_stage],
    )
    if "window_size" in backbone:
        return dict(arch, window_size=backbone["window_size"])
    windows = [(round(len(own[0]) ** 0.5) + 1) // 2 for own in of_stage]
    return dict(arch=dict(arch, window_size=windows))


def _filled(
    name: str, arguments: dict, side: int | None, state: dict[str, Tensor], head: dict[str, Tensor]
) -> nn.Module:
    """Return timm's model with the weights of a backbone and a head.

    Layers that no map needs, such as a norm before the classifier, are not in the backbone of a dense task:
    they keep their initialisation.

    Raises:
        UserError: If the weights do not fit it.
    """
    classes = next((len(value) for key, value in head.items() if key.endswith("bias")), 0)
    sized = dict(arguments, img_size=side) if side else arguments
    try:
        model = timm.create_model(name, num_classes=classes, **sized)
    except TypeError:  # a model without this argument
        model = timm.create_model(name, num_classes=classes, **arguments)
    if head:
        classifier = model.pretrained_cfg["classifier"]
        state = state | {f"{classifier}.{key.rpartition('.')[2]}": value for key, value in head.items()}
    own = model.state_dict()
    missing = sum(own[key].numel() for key in own if key not in state)
    least = (100 - MIN_FILLED) / 100 * sum(value.numel() for value in own.values())
    misfits = [key for key, value in state.items() if key not in own or own[key].shape != value.shape]
    if misfits or missing > least:
        first = (misfits or [key for key in own if key not in state])[0]
        raise UserError(f"the weights of this run do not fit timm's {name}: '{first}'")
    model.load_state_dict(state, strict=False)
    return model


def _save(model: nn.Module, cfg: Config, classes: list[str], folder: Path, more: dict | None = None) -> None:
    """Write timm's model with its arguments, and the size and statistics of the images."""
    backbone = cfg.model.backbone
    if side := backbone.get("img_size"):
        size = (backbone.get("in_chans", 3), side, side)
        model.pretrained_cfg.update(input_size=size, crop_pct=224 / 256, interpolation="bicubic")
    preprocessor = cfg.get("data_preprocessor") or cfg.model.get("data_preprocessor") or {}
    for key in ("mean", "std"):
        if key in preprocessor:
            model.pretrained_cfg[key] = tuple(round(value / 255, 6) for value in preprocessor[key])
    for key in OF_OTHER_WEIGHTS:
        model.pretrained_cfg.pop(key, None)
    names = {"label_names": classes} if classes and len(classes) == model.num_classes else {}
    save_for_hf(model, folder, model_config={**names, **(more or {})}, safe_serialization=True)


def _portable(cfg: Config, data: str) -> Config:
    """Return a config without folders of this machine and without the initial checkpoint."""
    roots = {leaf.dataset.get("data_root") for leaf in leaves(cfg)} - {None, ""}
    for root in sorted((root for root in roots if Path(root).is_absolute()), key=len, reverse=True):
        cfg = relocate(cfg, root.rstrip("/"), Path("data", data))
    content = {key: value for key, value in cfg.to_dict().items() if key not in OF_A_RUN}
    content["model"]["backbone"].pop("init_cfg", None)
    wrapper = content.get("optim_wrapper", {})
    if (wrapper.get("clip_grad") or {}).get("max_norm", 0) >= sys.float_info.max:  # only logs the norm
        del wrapper["clip_grad"]
    hooks = content.get("custom_hooks", [])
    content["custom_hooks"] = [hook for hook in hooks if hook.get("type") not in HOOKS_OF_A_RUN]
    for node in dicts(content):
        node.pop("skips", None)
    return Config(content)
