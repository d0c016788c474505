"""MixMAE's encoder: a Swin with large windows that do not shift (arXiv 2205.13137, section 3.3)."""

from torch import nn

from mixmae_bench.backbones.layers.arch import named_arch
from mixmae_bench.backbones.layers.init import xavier_init
from mixmae_bench.backbones.layers.positions import sincos_table
from mixmae_bench.backbones.swin import WindowTransformer
from mixmae_bench.registry import MODELS

ARCHS = {
    # 0.94 M parameters for 32-px scenes; not published.
    "small": dict(embed_dim=64, depths=(2, 4), num_heads=(2, 4), window_size=(8, 4)),
    # The official repository's mixmim_base, mixmim_large and mixmim_huge; those of 384 px (img_size=384) are
    # for fine-tuning alone.
    "base": dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(14, 14, 14, 7)),
    "base_384": dict(
        embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(16, 16, 24, 12)
    ),
    "large": dict(
        embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=(14, 14, 14, 7)
    ),
    "large_384": dict(
        embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=(16, 16, 24, 12)
    ),
    "huge": dict(
        embed_dim=352, depths=(2, 2, 18, 2), num_heads=(11, 22, 44, 88), window_size=(14, 14, 14, 7)
    ),
}


@MODELS.register_module()
class MixMAESwin(WindowTransformer):
    """MixMAE's hierarchical encoder (Sense-X/MixMIM models_mixmim.py at 2b2f5a9, same parameter names).

    Its sin-cos position table is frozen; at another size it is resized, not made anew (M9).

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depths, num_heads and window_size.
        img_size: See `WindowTransformer`.
        patch_size: See `WindowTransformer`.
        mlp_ratio: See `WindowTransformer`.
        drop_path_rate: See `WindowTransformer`.
        out_indices: See `WindowTransformer`.
        with_cp: See `WindowTransformer`.
        init_cfg: See `WindowTransformer`.
        in_chans: See `WindowTransformer`.
        qkv_bias: See `WindowTransformer`.
        patch_norm: See `WindowTransformer`.
        norm_eps: See `WindowTransformer`.
    """

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        super().__init__(
            arch,
            img_size,
            patch_size,
            mlp_ratio,
            drop_path_rate,
            False,
            out_indices,
            with_cp,
            init_cfg,
            in_chans,
            qkv_bias,
            patch_norm,
            norm_eps,
        )
        table = sincos_table(arch["embed_dim"], self.grid)
        self.absolute_pos_embed = nn.Parameter(table, requires_grad=False)
        self.apply(xavier_init)
