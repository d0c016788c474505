"""Layer-wise learning rate decay and weight decay per parameter, for any backbone and task."""

from itertools import groupby

import torch
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.registry import OPTIM_WRAPPER_CONSTRUCTORS

OPTIONS = dict(layer_decay_rate=1.0, head_decays=False, no_decay=())
"""Options of `paramwise_cfg` and their defaults."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rate decay, as in BEiT (arXiv 2106.08254) and later fine-tuning recipes.

    The learning rate of a backbone parameter is lr * layer_decay_rate ** (num_depths - 1 - depth), with depth
    and num_depths from `model.backbone.get_layer_depth(name, "backbone.")`. All other parameters (necks,
    heads, decoders) use lr. Biases, norms and all other 1-D parameters have no weight decay. Frozen
    parameters are not optimised. The backbone determines the depths of norms and downsamples, which differ
    between the official codes (M10). The other differences are options of `paramwise_cfg`:

    - `layer_decay_rate`: in (0, 1]. Default: 1.0, no layer decay, as in pretraining.
    - `head_decays`: whether parameters outside the backbone have the depth of the last block instead of the
      next depth (M10: MixMAE's recipe). Default: False.
    - `no_decay`: names, or last parts of names, of further parameters without weight decay, such as
      `relative_position_bias_table`. Default: none.

    Schedulers multiply the lr of each group, which preserves the ratios. `eta_min` is the same value for all
    groups: use `eta_min_ratio` instead, as the official codes scale the minimum lr per group.

    Args:
        optim_wrapper_cfg: Config of the optimiser wrapper; its `optimizer` needs `lr` and `weight_decay`.
        paramwise_cfg: The options above.

    Raises:
        UserError: If an option is unknown or has an invalid value, or a name in `no_decay` matches no trained
            parameter; with a rate below 1, if the backbone has no `get_layer_depth`, or no parameter is
            affected.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        given = paramwise_cfg or {}
        for key in given:
            if key not in OPTIONS:
                known = ", ".join(OPTIONS)
                raise UserError(
                    f"paramwise_cfg has no option '{key}'; known: {known}.{did_you_mean(key, OPTIONS)}"
                )
        super().__init__(optim_wrapper_cfg, {**OPTIONS, **given})
        rate, no_decay = self.paramwise_cfg["layer_decay_rate"], self.paramwise_cfg["no_decay"]
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise UserError(
                f"paramwise_cfg.layer_decay_rate is {rate!r}; give a number above 0, at most 1 (no decay)"
            )
        if isinstance(no_decay, str):
            raise UserError(f"paramwise_cfg.no_decay is '{no_decay}'; give a list of names")
        for key, value in (("lr", self.base_lr), ("weight_decay", self.base_wd)):
            if value is None:
                raise UserError(f"optim_wrapper.optimizer has no {key}; layer decay needs an explicit value")

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser wrapper, and log a table of the learning rates."""
        wrapper = super().__call__(model)
        print_log(summary(getattr(model, "module", model), wrapper.optimizer), logger="current")
        return wrapper

    def add_params(self, params: list[dict], module: nn.Module) -> None:
        """Append the parameter groups of a model, one per learning rate and weight decay."""
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        no_decay = self._without_decay(trained)
        groups: dict[tuple[float, float], dict] = {}
        for name, scale in self._scales(module, trained).items():
            flat = trained[name].ndim <= 1 or name.endswith(".bias")
            decay = 0.0 if flat or name in no_decay else self.base_wd
            group = dict(params=[], lr=self.base_lr * scale, lr_scale=scale, weight_decay=decay)
            groups.setdefault((scale, decay), group)["params"].append(trained[name])
        params.extend(groups.values())

    def _without_decay(self, trained: dict[str, nn.Parameter]) -> set[str]:
        """Return the names of the parameters that match `no_decay`."""
        no_decay = set()
        for ending in self.paramwise_cfg["no_decay"]:
            meant = {name for name in trained if f".{name}".endswith(f".{ending}")}
            if not meant:
                raise UserError(
                    f"paramwise_cfg.no_decay has '{ending}', which matches no trained parameter; remove it"
                )
            no_decay |= meant
        return no_decay

    def _scales(self, model: nn.Module, trained: dict[str, nn.Parameter]) -> dict[str, float]:
        """Return the lr scale of every trained parameter."""
        rate, head_decays = self.paramwise_cfg["layer_decay_rate"], self.paramwise_cfg["head_decays"]
        if rate == 1:
            return dict.fromkeys(trained, 1.0)
        backbone = getattr(model, "backbone", None)
        if not hasattr(backbone, "get_layer_depth"):
            raise UserError(
                f"{type(backbone).__name__}, the backbone of {type(model).__name__}, has no get_layer_depth, "
                "which layer decay needs; use a backbone of mixmae_bench or mmpretrain"
            )
        below_head = {}  # number of depths below the head
        for name in trained:
            if name.startswith("backbone."):
                depth, num_depths = backbone.get_layer_depth(name, "backbone.")
                below_head[name] = num_depths - 1 - depth
            else:
                below_head[name] = int(head_decays)
        if not any(n and name.startswith("backbone.") for name, n in below_head.items()):
            raise UserError(
                f"paramwise_cfg.layer_decay_rate is {rate}, but {type(backbone).__name__} has no trained "
                "parameter below the head's depth; remove the rate or train the backbone"
            )
        return {name: rate**n for name, n in below_head.items()}


def summary(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Return a table of parameter groups: a row per learning rate, and a row for frozen parameters."""
    names = {id(p): name for name, p in model.named_parameters()}
    lines = ["learning rates per layer:", "  lr scale  tensors   parameters  without decay  first"]
    groups = sorted(optimizer.param_groups, key=lambda group: group["lr_scale"])
    for scale, same in groupby(groups, key=lambda group: group["lr_scale"]):
        sizes = [(p, p.numel(), group["weight_decay"] == 0) for group in same for p in group["params"]]
        total = sum(size for _, size, _ in sizes)
        no_decay = 100 * sum(size for _, size, without in sizes if without) / total
        first = names[id(sizes[0][0])]
        lines.append(f"  {scale:8.6f}  {len(sizes):7}  {total:11,}  {no_decay:12.2f}%  {first}")
    frozen = [p.numel() for p in model.parameters() if not p.requires_grad]
    lines.append(f"    frozen  {len(frozen):7}  {sum(frozen):11,}")
    return "\n".join(lines)
