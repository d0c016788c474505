"""MixMAE's encoders as timm models: `import mixmae_bench.timm_models`, then `timm.create_model(NAME)`.

Parameter names are those of the official fine-tuning checkpoints. Load them with `checkpoint_path=FILE`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_classifier, resample_patch_embed, to_2tuple
from timm.models import adapt_input_conv, build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from mixmae_bench.backbones.layers.arch import named_arch
from mixmae_bench.backbones.layers.positions import resize_grid, resize_square_table
from mixmae_bench.backbones.layers.windows import RECOMPUTED
from mixmae_bench.backbones.mixmae_swin import ARCHS, MixMAESwin

try:
    from timm.models._input import update_model_input_size
except ImportError:  # timm before 1.0.31 does not record the input size of a model
    update_model_input_size = None

Windows = int | Sequence[int] | Sequence[Sequence[int]]
"""Window size in tokens, a side or (rows, columns), for all stages or one per stage."""


class MixMAESwinClassifier(MixMAESwin):
    """MixMAE's encoder with average pooling and a linear head (M9), as a timm model.

    Args:
        arch: See `MixMAESwin`.
        img_size: Side in pixels of the square images that the tables are made for; any input size works.
        num_classes: Number of classes; 0 for no head.
        in_chans: Channels of the images.
        global_pool: timm's name of the pooling; '' for no pooling, which requires `num_classes=0`.
        patch_size: See `MixMAESwin`.
        window_size: Window sizes that replace those of `arch`.
        mlp_ratio: See `MixMAESwin`.
        drop_rate: Dropout before the head.
        drop_path_rate: See `MixMAESwin`.
        dynamic_img_size: Must be True, as any input size works.
        device: Device of the parameters.
        dtype: Data type of the parameters.

    Raises:
        ValueError: If `img_size` or a window is not square, or `dynamic_img_size` is false.
    """

    output_fmt = "NHWC"

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int | tuple[int, int] = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        patch_size: int = 4,
        window_size: Windows | None = None,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        dynamic_img_size: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not dynamic_img_size:
            raise ValueError("dynamic_img_size must be True; MixMAE's encoder supports any input size")
        arch = named_arch(arch, ARCHS)
        if window_size is not None:
            arch = {**arch, "window_size": _per_stage(window_size, len(arch["depths"]))}
        side = _square("img_size", img_size)
        super().__init__(
            arch, side, _square("patch_size", patch_size), mlp_ratio, drop_path_rate=drop_path_rate
        )
        self.dynamic_img_size = dynamic_img_size
        self.img_size = (side, side)
        self.in_chans = in_chans
        if in_chans != 3:
            old = self.patch_embed.proj
            self.patch_embed.proj = nn.Conv2d(in_chans, old.out_channels, old.kernel_size, old.stride)
        self.num_features = self.head_hidden_size = self.out_channels[-1]
        self.feature_info = [
            dict(num_chs=channels, reduction=stride, module=f"layers.{i}")
            for i, (channels, stride) in enumerate(zip(self.out_channels, self.out_strides, strict=True))
        ]
        self.reference = self.grid, self.windows()
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)
        self.to(device=device, dtype=dtype)

    def windows(self) -> list[int]:
        """Return the window size of every stage, as a side in tokens."""
        return [stage.blocks[0].attn.window_size for stage in self.layers]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Enable or disable activation checkpointing of blocks."""
        self.with_cp = enable

    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
        window_size: Windows | None = None,
        window_ratio: int | Sequence[int] | None = None,
        always_partition: bool | None = None,
    ) -> None:
        """Change the input size; tables are resized as when loading a checkpoint (M9).

        Args:
            img_size: Side of the images in pixels; None for the current one.
            patch_size: Side of a patch in pixels, to which the patch embedding is resampled; None for the
                current one.
            window_size: New window sizes. By default, window sizes scale with the grid of tokens.
            window_ratio: Ratio of the grid of the first stage to the window size, for all stages or one per
                stage. It is used if `window_size` is None.
            always_partition: Must not be True: windows are always clamped to the map.

        Raises:
            ValueError: If sizes do not fit. The model is not modified in this case.
        """
        if always_partition:
            raise ValueError("always_partition must not be True; windows are clamped to the map")
        side = _square("img_size", self.img_size if img_size is None else img_size)
        patch = _square("patch_size", self.patch_embed.patch_size if patch_size is None else patch_size)
        strides = [patch * 2**i for i in range(len(self.out_strides))]
        if side % strides[-1]:
            raise ValueError(f"img_size {side} is not a multiple of {strides[-1]}")
        grid, stages = side // patch, len(self.layers)
        (old_grid, _), old_windows = self.reference
        if window_size is not None:
            windows = _per_stage(window_size, stages)
        elif window_ratio is not None:
            windows = [max(1, grid // ratio) for ratio in _per_stage(window_ratio, stages)]
        else:
            windows = [max(1, window * grid // old_grid) for window in old_windows]
        windows = [min(window, side // stride) for window, stride in zip(windows, strides, strict=False)]

        self.patch_embed.set_input_size(patch_size=patch)
        table = self.absolute_pos_embed
        self.absolute_pos_embed = _parameter_like(
            table, resize_grid(table.data[0], self.grid, (grid, grid))[None]
        )
        for stage, window in zip(self.layers, windows, strict=False):
            for block in stage.blocks:
                table = block.attn.relative_position_bias_table
                resized = resize_square_table(table.data, (2 * window - 1) ** 2)
                block.attn.relative_position_bias_table = _parameter_like(table, resized)
                block.attn.window_size = window
        self.img_size, self.grid, self.out_strides = (side, side), (grid, grid), strides
        for info, stride in zip(self.feature_info, strides, strict=True):
            info["reduction"] = stride
        if window_size is not None or window_ratio is not None:
            self.reference = self.grid, windows
        if update_model_input_size is not None:
            update_model_input_size(self, self.img_size, patch_size=patch_size, window_size=windows)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a new one, initialised with std 2e-5 as in the official fine-tuning (M9)."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = global_pool
        self.pool, head = create_classifier(
            self.num_features, num_classes, self.global_pool, input_fmt=self.output_fmt
        )
        if num_classes:
            nn.init.trunc_normal_(head.weight, std=2e-5)
            nn.init.zeros_(head.bias)
        self.head = head.to(self.absolute_pos_embed)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the normalised last map (B, H/32, W/32, C) of images (B, 3, H, W)."""
        return self.encode(self.embed(x))[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits (B, num_classes), or pooled features (B, C), of the last map (B, h, w, C)."""
        x = self.head_drop(self.pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) of images (B, 3, H, W)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the normalised last map (B, h, w, C) and a list of stage maps (B, C_i, H/s_i, W/s_i).

        Args:
            x: Images (B, 3, H, W).
            indices: Indices of the stages to return; an integer n for the last n stages, None for all.
            norm: Whether to normalise the map of the last stage in the list.
            stop_early: Whether to stop after the last requested stage.
            output_fmt: Must be 'NCHW'.
            intermediates_only: Whether to return the list only.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is {output_fmt}; it must be NCHW")
        take, last = feature_take_indices(len(self.layers), indices)
        maps = list(islice(self.stage_maps(self.embed(x)), last + 1 if stop_early else None))
        whole = len(maps) == len(self.layers)
        final = self.norm(maps[-1]) if whole else maps[-1]
        if norm and whole:
            maps[-1] = final
        intermediates = [m.permute(0, 3, 1, 2).contiguous() for i, m in enumerate(maps) if i in take]
        return intermediates if intermediates_only else (final, intermediates)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove modules that the requested stages do not need; return the indices of these stages."""
        take, last = feature_take_indices(len(self.layers), indices)
        cut = last < len(self.layers) - 1
        self.layers = self.layers[: last + 1]
        self.layers[-1].downsample = None
        if prune_norm or cut:
            self.norm = nn.Identity()
        if prune_head or cut:
            self.num_features = self.head_hidden_size = self.out_channels[last]
            self.reset_classifier(0, "")
        return take

    def no_weight_decay(self) -> set[str]:
        """Return an empty set: bias tables are decayed (M10), and timm excludes 1-D parameters by itself."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, str] | Callable[[str], int]:
        """Return the parameter groups for timm's layer-wise lr decay; the head is the last layer."""
        if coarse:
            return dict(stem=r"^(?:patch_embed|absolute_pos_embed)", blocks=r"^layers\.(\d+)")
        # In `get_layer_depth`, other parameters have the depth of the last block; timm's head is one deeper.
        return lambda name: self.get_layer_depth(name)[0] + name.startswith("head.")

    def load_state_dict(
        self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False
    ) -> NamedTuple:
        """Load a state dict, possibly an official one: buffers are ignored, and tables are resized (M9).

        A patch embedding for 3 channels or another patch size is adapted as in timm's pretrained weights.
        """
        state = {name: tensor for name, tensor in state_dict.items() if not name.endswith(RECOMPUTED)}
        self.resize_tables(state)
        first = state.get(name := "patch_embed.proj.weight")
        if first is not None and first.shape[1] == 3 != self.in_chans:
            first = state[name] = adapt_input_conv(self.in_chans, first)
        if first is not None and first.shape[2:] != self.patch_embed.proj.weight.shape[2:]:
            state[name] = resample_patch_embed(first, list(self.patch_embed.proj.weight.shape[2:]))
        return super().load_state_dict(state, strict, assign)


def _square(name: str, size: int | Sequence[int]) -> int:
    rows, cols = to_2tuple(size)
    if rows != cols:
        raise ValueError(f"{name} is {size}; tables must be square (images need not be)")
    return rows


def _per_stage(sizes: Windows, stages: int) -> list[int]:
    """Return one window size per stage; two numbers are (rows, columns), as in timm, unless stages is 2."""
    if isinstance(sizes, int) or (len(sizes) == 2 != stages and isinstance(sizes[0], int)):
        sizes = [sizes] * stages
    if len(sizes) != stages:
        raise ValueError(f"{sizes} must be one window size or one for each of {stages} stages")
    sides = [_square("window_size", size) for size in sizes]
    if min(sides) < 1:
        raise ValueError(f"window sizes are {sides}; give positive numbers")
    return sides


def _parameter_like(old: nn.Parameter, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(old), requires_grad=old.requires_grad)


def _cfg(size: int, pool_size: int, crop_pct: float) -> dict:
    return dict(
        num_classes=1000,
        input_size=(3, size, size),
        pool_size=(pool_size, pool_size),
        crop_pct=crop_pct,
        interpolation="bicubic",
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        first_conv="patch_embed.proj",
        classifier="head",
        paper_ids="arXiv:2205.13137",
        origin_url="https://github.com/Sense-X/MixMIM",
    )


# There are no weights to download; load official checkpoints with `checkpoint_path`.
default_cfgs = generate_default_cfgs(
    {
        "mixmae_swin_base_w14_224": _cfg(224, 7, 0.875),
        "mixmae_swin_large_w14_224": _cfg(224, 7, 0.875),
        "mixmae_swin_huge_w14_224": _cfg(224, 7, 0.875),
        "mixmae_swin_base_w16_384": _cfg(384, 12, 1.0),
        "mixmae_swin_large_w16_384": _cfg(384, 12, 1.0),
    }
)


def _create(name: str, pretrained: bool, arch: str, img_size: int, **kwargs) -> nn.Module:
    return build_model_with_cfg(
        MixMAESwinClassifier,
        name,
        pretrained,
        feature_cfg=dict(out_indices=(0, 1, 2, 3), feature_cls="getter"),
        **dict(arch=arch, img_size=img_size, **kwargs),
    )


@register_model
def mixmae_swin_base_w14_224(pretrained: bool = False, **kwargs) -> nn.Module:
    """MixMAE Swin-B."""
    return _create("mixmae_swin_base_w14_224", pretrained, **dict(dict(arch="base", img_size=224), **kwargs))


@register_model
def mixmae_swin_large_w14_224(pretrained: bool = False, **kwargs) -> nn.Module:
    """MixMAE Swin-L."""
    return _create(
        "mixmae_swin_large_w14_224", pretrained, **dict(dict(arch="large", img_size=224), **kwargs)
    )


@register_model
def mixmae_swin_huge_w14_224(pretrained: bool = False, **kwargs) -> nn.Module:
    """MixMAE Swin-H."""
    return _create("mixmae_swin_huge_w14_224", pretrained, **dict(dict(arch="huge", img_size=224), **kwargs))


@register_model
def mixmae_swin_base_w16_384(pretrained: bool = False, **kwargs) -> nn.Module:
    """MixMAE Swin-B for 384 px."""
    return _create(
        "mixmae_swin_base_w16_384", pretrained, **dict(dict(arch="base_384", img_size=384), **kwargs)
    )


@register_model
def mixmae_swin_large_w16_384(pretrained: bool = False, **kwargs) -> nn.Module:
    """MixMAE Swin-L for 384 px."""
    return _create(
        "mixmae_swin_large_w16_384", pretrained, **dict(dict(arch="large_384", img_size=384), **kwargs)
    )
