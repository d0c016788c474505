"""Audit of the weights loaded into whole models, and into backbones of any package."""

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mixmae_bench.backbones.backbone import Backbone
from mixmae_bench.backbones.loading import compare, fit, of_backbone, summary
from mixmae_bench.backbones.weights import Weights
from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.registry import MODELS


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone of a model, or the model itself if it has no backbone."""
    return getattr(model, "backbone", model)


def fit_model(model: nn.Module, weights: Weights, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that fit a model, under the model's names, and log an audit.

    The backbone is audited as in `load_backbone`, with or without the prefix `backbone.`. Heads use the
    tensors that fit: heads of another task or other classes keep their initialisation, and their names are
    logged.

    Raises:
        UserError: See `load_backbone`.
    """
    backbone, prefix = backbone_of(model), "" if backbone_of(model) is model else "backbone."
    own = model.state_dict()
    state, rest = of_backbone(weights.state) if prefix else (dict(weights.state), [])
    if isinstance(backbone, Backbone):
        state, audit = fit(backbone, state, path)
    else:
        audit = None  # loading resizes the tables, and `watch` audits it
    heads = [name for name in own if prefix and not name.startswith(prefix)]
    found = {name: weights.state[name] for name in heads if name in weights.state and rest}
    fits = {name: tensor for name, tensor in found.items() if tensor.shape == own[name].shape}
    lines = [] if audit is None else [summary(backbone, len(state), audit, path, weights.notes)]
    if heads:
        lines.append(
            f"heads and others: loaded {len(fits)} of {len(heads)} tensors, the others stay as initialised; "
            f"left out {len(set(rest) - set(own))}"
        )
    lines += [
        f"not loaded: '{name}' has shape {tuple(tensor.shape)}, the model's has {tuple(own[name].shape)}"
        for name, tensor in found.items()
        if name not in fits
    ]
    for line in lines:
        print_log(line, logger="current")
    return {**{prefix + name: tensor for name, tensor in state.items()}, **fits}


def watch(backbone: nn.Module, source: Callable[[], str | Path]) -> None:
    """Audit every later load into a backbone, before it takes effect, and set `backbone.audit` to the result.

    Backbones of other packages use loaders of mmengine or their own, which only log mismatches.

    Args:
        backbone: The backbone.
        source: Returns the file that is being loaded, or an empty value to use the file in `init_cfg`.

    Raises:
        UserError: During loading, see `load_backbone`.
    """

    def audit(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        path = source() or pretrained(getattr(module, "init_cfg", None))
        named = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        fits, found = compare(module, named, path)
        if not isinstance(module, Backbone):  # a Backbone sets its own audit, with `resized`
            module.audit = found
            print_log(summary(module, len(fits), found, path), logger="current")

    backbone.register_load_state_dict_pre_hook(audit)


def pretrained(init_cfg: object) -> str | None:
    """Return the checkpoint in the `init_cfg` of a backbone, or None."""
    parts = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    named = (p["checkpoint"] for p in parts if isinstance(p, dict) and p.get("type") == "Pretrained")
    return next(named, None)


def try_checkpoint(cfg: Config, path: str | Path) -> dict:
    """Build the backbone of a config's model, load a checkpoint as in a run, and return the audit.

    Raises:
        UserError: See `load_backbone`.
    """
    config = {**cfg.model.backbone}
    if pretrained(config.get("init_cfg")) != str(path):
        config["init_cfg"] = dict(type="Pretrained", checkpoint=str(path))
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"), safe_loaders():
        backbone = MODELS.build(config)
        watch(backbone, lambda: path)
        backbone.init_weights()
    return backbone.audit
