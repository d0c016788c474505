"""Any model of timm as a backbone of the three tasks.

The backbone is the timm model itself with another `forward`: names of parameters are those of timm's
checkpoints, and timm's `group_matcher` gives the layer depths.
"""

import math
from functools import cache

from mmengine.logging import print_log
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.functional import pad

from mixmae_bench.backbones.backbone import Backbone, check_init_cfg
from mixmae_bench.backbones.layers.simple_pyramid import STRIDE, STRIDES, SimplePyramid
from mixmae_bench.backbones.loading import ADDED
from mixmae_bench.backbones.timm_parts.adapt import adapt
from mixmae_bench.backbones.timm_parts.build import create, log_sizes, use_checkpointing
from mixmae_bench.backbones.timm_parts.depths import check_order, forward_order, layer_depths
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS


class TimmMaps(Backbone):
    """What `timm_backbone` adds to the class of a timm model.

    Attributes:
        timm_name: Name of the model in timm.
        timm_class: Its class in timm.
        only_size: The only input size (rows, columns) that it accepts, or None.
        pooled: Whether `forward` returns pooled features.
        taken: Indices of timm's intermediate features that the maps are made of.
        last_normed: Whether timm's model has a norm for the last intermediate feature.
        frozen_stages: See `timm_backbone`.
        depths: Depths of all parameters, and the depth of the head; None until they are asked for.
        order: Names of the parameters in forward order; empty on the meta device.
    """

    timm_name: str
    timm_class: type
    only_size: tuple[int, int] | None
    pooled: bool
    taken: list[int]
    last_normed: bool
    frozen_stages: int
    depths: tuple[dict[str, int], int] | None
    order: list[str]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps (B, C_i, ceil(H/s_i), ceil(W/s_i)), or pooled features (B, C, 1, 1).

        Raises:
            UserError: If the images are larger than the only size that the model accepts.
        """
        height, width = images.shape[-2:]
        images = self.padded(images)
        if self.pooled:
            return (self.forward_head(self.forward_features(images), pre_logits=True)[:, :, None, None],)
        maps = self.forward_intermediates(
            images, indices=self.taken, norm=self.last_normed, output_fmt="NCHW", intermediates_only=True
        )
        if hasattr(self, "out_pyramid"):
            maps = self.out_pyramid(maps[-1], self.out_indices)
        for i, norm in self.out_norms.items():
            maps[int(i)] = norm(maps[int(i)])
        strides = [self.out_strides[i] for i in self.out_indices]
        return tuple(
            m[:, :, : math.ceil(height / s), : math.ceil(width / s)].contiguous()
            for m, s in zip(maps, strides, strict=True)
        )

    def padded(self, images: Tensor) -> Tensor:
        """Pad images with zeros at the bottom and right to a size that the model accepts."""
        height, width = images.shape[-2:]
        multiple = max(self.out_strides)
        rows, columns = self.only_size or (
            math.ceil(height / multiple) * multiple,
            math.ceil(width / multiple) * multiple,
        )
        if height > rows or width > columns:
            raise UserError(
                f"images of {height}x{width} are larger than {rows}x{columns}, the only size that "
                f"timm's {self.timm_name} accepts here; set img_size of the backbone"
            )
        return (
            pad(images, (0, columns - width, 0, rows - height))
            if (rows, columns) != (height, width)
            else images
        )

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        own = {k: v for k, v in self.state_dict().items() if not k.startswith(ADDED)}
        return adapt(self, self.timm_class, state, own)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        if self.depths is None:
            self.depths = _depths(self)
        depths, head = self.depths
        return depths.get(param_name.removeprefix(prefix), head), head + 1

    def train(self, mode: bool = True) -> "TimmMaps":
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        if self.frozen_stages >= 0:
            for module in self.modules():
                params = list(module.parameters())
                if params and not any(p.requires_grad for p in params):
                    module.eval()
        return self


@MODELS.register_module(name="TimmBackbone")
def timm_backbone(
    model: str,
    img_size: int | tuple[int, int] | None = None,
    in_chans: int = 3,
    out_indices: tuple[int, ...] | None = None,
    pooled: bool = False,
    drop_path_rate: float = 0.0,
    with_cp: bool = False,
    frozen_stages: int = -1,
    init_cfg: dict | None = None,
    model_args: dict | None = None,
) -> TimmMaps:
    """Return a timm model as a backbone.

    It accepts images of any size: they are padded to a multiple of the largest stride or, if the model
    accepts one size only (Hiera, MaxViT), to `img_size`. The log states which. Maps of a pyramid are timm's
    `forward_intermediates`, with a norm per map if the model has layer norms; the last map has the model's
    own norm if there is one. A plain ViT has a simple feature pyramid (`SimplePyramid`). Parameters that the
    maps do not need are removed or frozen.

    Args:
        model: Name of the model in timm; a tag of weights is ignored (use `init_cfg`).
        img_size: Image size that position tables and windows are made for; None for the model's own.
        in_chans: Channels of the images.
        out_indices: Maps to return, of those with strides 4, 8, 16 and 32 (default: all).
        pooled: Whether to return timm's pooled features, the input of its classifier, as a map of one pixel.
        drop_path_rate: Stochastic depth rate; ignored, with a line in the log, if the model has none.
        with_cp: Whether to recompute activations in the backward pass; one line in the log if it cannot.
        frozen_stages: Frozen stages of timm's coarse `group_matcher`: 0 for the stem, -1 for none.
        init_cfg: `dict(type='Pretrained', checkpoint=SOURCE)`: a file, 'timm:MODEL.TAG' or 'hf-hub:REPO'.
        model_args: Further arguments of timm's model.

    Raises:
        ValueError: If timm has no such model, or it does not accept the arguments.
    """
    check_init_cfg(init_cfg)
    kwargs = dict(model_args or {}, in_chans=in_chans)
    built, only_size = create(model, img_size, drop_path_rate, kwargs)
    kind = type(built)
    built.__class__ = _class_of(kind)
    built.timm_name, built.timm_class, built.only_size = model, kind, only_size
    built._is_init, built.init_cfg = False, init_cfg
    built.pooled, built.frozen_stages, built.in_chans = pooled, frozen_stages, in_chans
    _set_outputs(built, out_indices)
    if with_cp:
        use_checkpointing(built, model)
    _set_order(built)
    _freeze(built)
    return built


@cache
def _class_of(kind: type) -> type:
    """Return the subclass of a timm class with the methods of `TimmMaps`."""
    return type("TimmBackbone", (TimmMaps, kind), {"__module__": __name__})


def _set_outputs(model: TimmMaps, out_indices: tuple[int, ...] | None) -> None:
    """Set channels, strides and the layers that maps need, and remove layers that they do not need."""
    infos = [dict(num_chs=info["num_chs"], reduction=info["reduction"]) for info in model.feature_info]
    levels = {info["reduction"]: i for i, info in enumerate(infos) if info["reduction"] >= STRIDES[0]}
    if model.pooled:
        model.out_channels, model.out_strides = [model.head_hidden_size], [max(levels)]
        return
    plain = len({info["reduction"] for info in infos}) == 1
    if plain:
        if set(levels) != {STRIDE}:
            raise ValueError(
                f"timm's {model.timm_name} has patches of {next(iter(levels))} px; the feature pyramid needs "
                f"{STRIDE} px: give model_args=dict(patch_size={STRIDE})"
            )
        model.out_pyramid = SimplePyramid(infos[-1]["num_chs"])
        model.out_channels, model.out_strides = model.out_pyramid.out_channels, list(STRIDES)
    else:
        model.out_channels = [infos[i]["num_chs"] for i in levels.values()]
        model.out_strides = list(levels)
    count = len(model.out_strides)
    model.out_indices = tuple(range(count)) if out_indices is None else tuple(out_indices)
    if not all(0 <= i < count for i in model.out_indices) or list(model.out_indices) != sorted(
        set(model.out_indices)
    ):
        raise ValueError(f"out_indices {model.out_indices} must be increasing, from 0 to {count - 1}")
    model.taken = [len(infos) - 1] if plain else [list(levels.values())[i] for i in model.out_indices]
    model.prune_intermediate_layers(model.taken, prune_head=True)
    _add_out_norms(model, plain)


def _add_out_norms(model: TimmMaps, plain: bool) -> None:
    """Add a norm to every map that has none, if the model has layer norms."""
    model.out_norms = nn.ModuleDict()
    norm, last = getattr(model, "norm", None), len(model.out_strides) - 1
    model.last_normed = isinstance(norm, nn.Module) and not isinstance(norm, nn.Identity)
    if plain or not any(isinstance(module, nn.LayerNorm) for module in model.modules()):
        return
    for i, stage in enumerate(model.out_indices):
        if not (model.last_normed and stage == last):
            model.out_norms[str(i)] = LayerNorm2d(model.out_channels[stage])


def _depths(model: TimmMaps) -> tuple[dict[str, int], int]:
    """Return the depth of every parameter, and that of the head.

    Raises:
        UserError: If timm does not group the layers of the model, or not in forward order.
    """
    names = [name for name, _ in model.named_parameters()]
    depths, head = layer_depths(model, (name for name in names if not name.startswith(ADDED)))
    depths |= {name: head for name in names if name.startswith(ADDED)}
    check_order(depths, model.order, model.timm_name)
    return depths, head


def _set_order(model: TimmMaps) -> None:
    """Set the forward order of the parameters, and freeze those that are not used."""
    named = dict(model.named_parameters())
    model.order, model.depths = [], None
    if next(iter(named.values())).is_meta:
        return  # nothing is computed there
    log_sizes(model.timm_name, model.only_size, max(model.out_strides))
    side = 2 * max(model.out_strides)
    model.order = forward_order(model, model.only_size or (side, side), model.in_chans)
    unused = [name for name in named if name not in model.order]
    for name in unused:
        named[name].requires_grad_(False)
    if unused:
        print_log(
            f"timm's {model.timm_name}: froze {len(unused)} parameters that no output needs: {unused[:3]}",
            logger="current",
        )


def _freeze(model: TimmMaps) -> None:
    """Freeze the first stages.

    Raises:
        ValueError: If the model has fewer stages.
    """
    if model.frozen_stages < 0:
        return
    names = [name for name, _ in model.named_parameters() if not name.startswith(ADDED)]
    stages, head = layer_depths(model, names, coarse=True)
    if model.frozen_stages >= head:
        raise ValueError(
            f"frozen_stages is {model.frozen_stages}; {model.timm_name} has {head} with its stem"
        )
    for name, parameter in model.named_parameters():
        if stages.get(name, head) <= model.frozen_stages:
            parameter.requires_grad_(False)
    model.train(model.training)
