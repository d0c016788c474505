"""A plain ViT with a class token, as in MAE (arXiv 2111.06377) and the ViT version of UM-MAE."""

from collections.abc import Iterator
from functools import partial

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import arch_name, drop_path_rates, flat_layer_depth, named_arch
from mixmae_bench.backbones.layers.checkpointing import call
from mixmae_bench.backbones.layers.init import xavier_init
from mixmae_bench.backbones.layers.positions import resize_square_table, sincos_table, table_positions
from mixmae_bench.backbones.layers.tracing import map_size
from mixmae_bench.backbones.layers.vit_block import ViTBlock
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.layouts import MM_BLOCK, MM_EMBED, Layout, by, within
from mixmae_bench.backbones.official.names import BLOCK_PARTS, CLASSIFIER, NORM, PROJECTION, QKV
from mixmae_bench.backbones.official.shapes import State, fc1_weights, mlp_ratio
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

ARCHS = {
    "base": dict(embed_dim=768, depth=12, num_heads=12),
    "large": dict(embed_dim=1024, depth=24, num_heads=16),
}


@MODELS.register_module()
class PlainViT(Encoder):
    """ViT with a frozen sin-cos position table, which has a zero row for the class token.

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depth and num_heads.
        img_size: Side in pixels of the square images that the table is made for.
        patch_size: Side of a patch in pixels.
        mlp_ratio: Ratio of hidden width to width of the MLPs.
        drop_path_rate: Stochastic depth rate of the last block; rises linearly from 0 at the first.
        with_cp: Whether to recompute activations of blocks in the backward pass: less memory, more time.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random initialisation.
        in_chans: Channels of the images.
        norm_eps: Epsilon of all norms (published: 1e-6, U3).
    """

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 16,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        norm_eps: float = 1e-6,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        super().__init__((0,), 1, with_cp, init_cfg)
        dim = arch["embed_dim"]
        self.out_channels = [dim]
        self.out_strides = [patch_size]
        self.depths = (arch["depth"],)
        self.grid = (img_size // patch_size, img_size // patch_size)
        norm = partial(nn.LayerNorm, eps=norm_eps)
        self.in_chans = in_chans
        self.patch_embed = PatchEmbed(
            None, patch_size, in_chans, dim, flatten=False, output_fmt="NHWC", dynamic_img_pad=True
        )
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        table = torch.cat([torch.zeros(1, 1, dim), sincos_table(dim, self.grid)], dim=1)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        rates = drop_path_rates(drop_path_rate, arch["depth"])
        self.blocks = nn.ModuleList(
            ViTBlock(dim, arch["num_heads"], mlp_ratio, qkv_bias=True, norm_layer=norm, drop_path=rate)
            for rate in rates
        )
        self.norm = norm(dim)
        self.add_out_norms()
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(xavier_init)

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        if segment_ids is not None or visible is not None:
            raise UserError(
                "PlainViT does not support segment_ids or visible; use it with UM-MAE, or use MixMAE or "
                "GreenMIM with MixMAESwin"
            )
        yield self.sequence(tokens, coords)[:, 1:].view(tokens.shape)

    def encode_sequence(self, tokens: Tensor, coords: Tensor | None = None) -> Tensor:
        """Encode a map (B, h, w, C) as a normalised sequence (B, 1 + h*w, C), class token first."""
        return self.norm(self.sequence(tokens, coords))

    def sequence(self, tokens: Tensor, coords: Tensor | None) -> Tensor:
        """Return the output of `encode_sequence` before the norm."""
        size = map_size(tokens)
        table = table_positions(self.pos_embed[:, 1:], self.grid, size, coords)
        tokens = tokens + table
        first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
        sequence = torch.cat([first, tokens.flatten(1, 2)], dim=1)
        for block in self.blocks:
            sequence = call(block, sequence, with_cp=self.with_cp)
        return sequence

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        """Resize the table bicubically; the row of the class token is kept."""
        table = state.get("pos_embed")
        own = self.pos_embed
        if table is None or table.shape == own.shape or table.ndim != 3 or table.shape[-1] != own.shape[-1]:
            return []
        resized = resize_square_table(table[0, 1:], self.pos_embed.shape[1] - 1)
        state["pos_embed"] = torch.cat([table[:, :1], resized[None]], dim=1)
        return ["pos_embed"]

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        if param_name == f"{prefix}cls_token":
            return 0, self.depths[0] + 2
        return flat_layer_depth(param_name, prefix, self.depths[0])


# Checkpoints and constructors of the official code.

KEYS = ("cls_token", "pos_embed", PROJECTION, NORM, rf"blocks\.\d+\.({BLOCK_PARTS}|{QKV})")
MMPRETRAIN = by(
    *MM_EMBED,
    *within(r"layers\.(\d+)\.", r"blocks.\1.", MM_BLOCK),
    (r"ln1\.", "norm."),
    (r"cls_token$|pos_embed$", r"\g<0>"),
)


def vit_arguments(a: Arguments) -> dict:
    """Map the arguments of the official ViT to those of `PlainViT`."""
    return dict(
        arch=dict(
            embed_dim=a.count("embed_dim", 1024),
            depth=a.depth("depth", 24),
            num_heads=a.count("num_heads", 16),
        ),
        img_size=a.count("img_size", 224),
        patch_size=a.count("patch_size", 16),
        mlp_ratio=a.real("mlp_ratio", 4.0),
        norm_eps=a.norm_eps(),
    )


def _settings(encoder: State, img_size: int | None) -> dict:
    dim = len(encoder["patch_embed.proj.weight"])
    depth = len({name.split(".")[1] for name in encoder if name.startswith("blocks.")})
    return dict(
        arch=arch_name(dict(embed_dim=dim, depth=depth, num_heads=max(1, dim // 64)), ARCHS),
        img_size=img_size,
        mlp_ratio=mlp_ratio(fc1_weights(encoder)),
    )


CHECKPOINT = BackboneCheckpoint(
    PlainViT,
    _settings,
    defaults=("num_heads", "norm_eps"),
    layouts=(Layout("mmpretrain MAE", MMPRETRAIN, beside=None),),
    refused=(
        (r"(.*\.)?cls_token", r"(head|fc_norm)\..*"),
        "a fine-tuned ViT uses its class token or normalises after pooling, unlike PlainViT; "
        "convert the pretraining checkpoint",
    ),
)

# The checkpoints that MAE's authors publish for fine-tuning: no decoder, no head.
register(
    Kind("MAE encoder, ViT", "facebookresearch/mae", "ImageClassifier", CHECKPOINT, CLASSIFIER, keys=KEYS)
)
