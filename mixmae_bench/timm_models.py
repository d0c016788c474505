"""MixMAE's encoders as models of timm: `import mixmae_bench.timm_models`, then `timm.create_model(NAME)`.

Parameter names are those of the official fine-tuning checkpoints, which load with `checkpoint_path=FILE`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_classifier, to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.convert.official import RECOMPUTED


class MixMAESwinClassifier(MixMAESwin):
    """MixMAE's encoder, mean over tokens, linear head (M9), with the methods that timm asks of a model.

    Args:
        arch: See `MixMAESwin`.
        img_size: Side in pixels of the square images that the tables are made for; any input size works.
        num_classes: Outputs of the head; 0 for none.
        in_chans: 3.
        global_pool: Pooling by its name in timm; '' for none, without a head.
        drop_rate: Dropout before the head.
        drop_path_rate: See `MixMAESwin`.

    Raises:
        ValueError: Where `img_size` is not square or `in_chans` not 3.
    """

    output_fmt = "NHWC"
    dynamic_img_size = True

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int | tuple[int, int] = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        rows, cols = to_2tuple(img_size)
        if rows != cols:
            raise ValueError(f"img_size is {img_size}; tables are square (the input need not be)")
        if in_chans != 3:
            raise ValueError(f"in_chans is {in_chans}; MixMAE takes 3 channels")
        super().__init__(arch, rows, drop_path_rate=drop_path_rate)
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = self.out_channels[-1]
        self.feature_info = [
            dict(num_chs=channels, reduction=stride, module=f"layers.{i}")
            for i, (channels, stride) in enumerate(zip(self.out_channels, self.out_strides, strict=True))
        ]
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new head in place; small as in the official fine-tuning (M9)."""
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
        """Turn images (B, 3, H, W) into the normalised last map (B, H/32, W/32, C)."""
        return self.encode(self.embed(x))[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Turn the last map (B, h, w, C) into logits (B, num_classes), or pooled (B, C) before the head."""
        x = self.head_drop(self.pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) into logits (B, num_classes)."""
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
        """Return stage maps (B, C_i, H/s_i, W/s_i), and before them the normalised last one (B, h, w, C).

        Args:
            x: Images (B, 3, H, W).
            indices: Stages; a number is so many last ones, None is all.
            norm: Whether the last stage's map is normalised.
            stop_early: Whether stages after the last wanted one are left out.
            output_fmt: 'NCHW'.
            intermediates_only: Whether the last map is not returned by itself.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is {output_fmt}; stage maps are NCHW")
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
        """Drop what the wanted stages do not need; return their indices."""
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
        """None beside the 1-D parameters, which timm spares by itself: bias tables are decayed (M10)."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, str] | Callable[[str], int]:
        """Return what tells timm's layer-wise lr decay the layer of a parameter; the head is the last."""
        if coarse:
            return dict(stem=r"^(?:patch_embed|absolute_pos_embed)", blocks=r"^layers\.(\d+)")
        # The encoder takes the head to be as deep as the last block; in timm it is one deeper.
        return lambda name: self.get_layer_depth(name)[0] + name.startswith("head.")

    def load_state_dict(
        self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False
    ) -> NamedTuple:
        """Also take official checkpoints: buffers are left out, tables of another size resized (M9)."""
        state = {name: tensor for name, tensor in state_dict.items() if not name.endswith(RECOMPUTED)}
        self.resize_tables(state)
        return super().load_state_dict(state, strict, assign)


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


# No weights to download: official checkpoints load with `checkpoint_path`.
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
