"""UM-MAE: the one visible patch of every 2x2 block is packed into a smaller map (arXiv 2205.10063)."""

import math

import torch
from torch import Tensor, nn

from mixmae_bench.backbones import plain_vit, um_pvt, um_swin
from mixmae_bench.backbones.layers.forms import chosen_form, windows_are_whole
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import Kind, register
from mixmae_bench.backbones.official.names import NORM, Rules
from mixmae_bench.backbones.official.shapes import State
from mixmae_bench.backbones.plain_vit import PlainViT
from mixmae_bench.errors import UserError
from mixmae_bench.methods.decoder import (
    DECODER_DEFAULTS,
    DECODER_KEYS,
    DECODER_MMPRETRAIN,
    DECODER_RULES,
    Decoder,
    decoder_arguments,
    decoder_settings,
)
from mixmae_bench.methods.masks import enlarge, moved, regular_masks, secondary_mask, secondary_mask_vit
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import denormalise_patches, patchify, squared_error, unpatchify
from mixmae_bench.registry import MODELS

VISIBLE, REPLACED, REMOVED = 0, 1, 2
"""Mask values: encoded, replaced by the mask token and encoded (secondary masking), or not encoded."""


@MODELS.register_module()
class UMMAE(Method):
    """UM-MAE with any encoder; equivalent to implus/UM-MAE models_mae_{swin,pvt}.py at cb7776b.

    Uniform sampling keeps one patch of every 2x2 block. The visible patches are packed into a map of half the
    side, in which every token keeps its original coordinates. Secondary masking replaces some of the visible
    patches by a mask token. The decoder predicts all patches; the loss is over the removed patches.

    Args:
        backbone: Config of an `Encoder`; its last stride must be twice `mask_patch_size`.
        decoder: `dim`, `depth`, `num_heads` and, optionally, `mlp_ratio` and `norm_eps` of the `Decoder`.
        mask_patch_size: Side of a mask patch in pixels.
        secondary_mask_ratio: Share of visible patches to replace, in [0, 1).
        norm_pix_loss: Whether targets are normalised per patch.
        official_positions: Whether to reproduce the official decoder positions, as needed for official
            checkpoints. The official decoder adds position embeddings in row-major order to visible patches
            in packed order (U1), so 75 % of them get the position of another patch. False: correct positions.

    Raises:
        UserError: If `secondary_mask_ratio` is outside [0, 1), or `mask_patch_size` or the image size does
            not fit the encoder.
    """

    expand = 2  # visible patches per side of a last-stage feature
    class_token = False

    def __init__(
        self,
        backbone: dict,
        decoder: dict,
        mask_patch_size: int = 16,
        secondary_mask_ratio: float = 0.25,
        norm_pix_loss: bool = True,
        official_positions: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if not 0 <= secondary_mask_ratio < 1:
            raise UserError(
                f"secondary_mask_ratio of {type(self).__name__} is {secondary_mask_ratio}; give a number in "
                "[0, 1), published: 0.25"
            )
        super().__init__(backbone, data_preprocessor, init_cfg)
        self.mask_patch_size = mask_patch_size
        self.check_mask_patch_size(self.expand)
        first, last = self.backbone.out_strides[0], self.backbone.out_strides[-1]
        for side in (patches * first for patches in self.backbone.grid):
            if side % (2 * last):
                raise UserError(
                    f"{type(self).__name__} packs images of {side} px into maps of {side // 2} px, not "
                    f"a multiple of the last stride of {type(self.backbone).__name__} ({last} px); "
                    f"make backbone.img_size a multiple of {2 * last}"
                )
        self.secondary_mask_ratio = secondary_mask_ratio
        self.norm_pix_loss = norm_pix_loss
        self.official_positions = official_positions
        scale = mask_patch_size // self.backbone.out_strides[0]
        grid = (self.backbone.grid[0] // scale, self.backbone.grid[1] // scale)
        channels = self.backbone.out_channels
        self.decoder = Decoder(
            channels[-1],
            grid,
            mask_patch_size**2 * 3,
            **{"norm_eps": 1e-6, **decoder},
            expand=self.expand,
            class_token=self.class_token,
        )
        if secondary_mask_ratio:
            self.vis_mask_token = nn.Parameter(torch.empty(1, 1, channels[0]))
            nn.init.trunc_normal_(self.vis_mask_token, std=0.02)

    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw masks (B, H/p, W/p), int64. Removed patches are drawn from numpy's generator."""
        h, w = self.mask_grid(images)
        removed = torch.from_numpy(regular_masks(len(images), h, w))
        if self.secondary_mask_ratio:
            replaced = self.draw_replaced(removed.flatten(1)).view(removed.shape)
            return moved(torch.where(removed, REMOVED, replaced * REPLACED), images.device)
        return moved(removed * REMOVED, images.device)

    def draw_replaced(self, removed: Tensor) -> Tensor:
        """Draw the secondary mask, bool (B, L), given the removed patches, bool (B, L)."""
        return secondary_mask(removed, torch.rand(removed.shape), self.secondary_mask_ratio)

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict the pixels of every patch: (B, patches, p*p*3), row-major."""
        packed, coords, index = self.pack(images, mask)
        patches = self.decoder.embed_map(self.backbone.encode(packed, coords=coords)[-1])
        target = index[..., None].expand_as(patches)
        tokens = patches.new_zeros(len(patches), mask[0].numel(), patches.shape[-1]).scatter(
            1, target, patches
        )
        pos_embed = None
        if self.official_positions:
            table = self.decoder.pos_embed.expand(len(patches), -1, -1)
            row_major = index.sort(1).values[..., None].expand_as(target)
            pos_embed = table.scatter(1, target, table.gather(1, row_major))
        return self.decoder.complete(tokens, (mask == REMOVED).flatten(1), pos_embed)

    def pack(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embed images and pack the visible patches into maps of half the side.

        Returns:
            The packed tokens (B, h, w, C), their coordinates (row, column) in the whole map (B, h, w, 2), and
            the row-major indices of visible patches in packed order (B, patches / 4).

        Raises:
            UserError: If the mask does not keep exactly one patch of every 2x2 block (U6). On GPUs, PyTorch
                raises an error instead, in a later operation.
        """
        visible = mask != REMOVED
        B, h, w = mask.shape
        blocks = visible.view(B, h // 2, 2, w // 2, 2).transpose(2, 3).reshape(B, h // 2, w // 2, 4)
        _check_visible(blocks)

        self.check_size(images)
        patch_rows, patch_cols = packed_coords(blocks, 1)
        index = (patch_rows * w + patch_cols).flatten(1)
        # Tokens of `Encoder.embed` depend on their own pixels only: removed patches need not be embedded.
        visible_images = images if windows_are_whole() else self._packed_pixels(images, blocks)
        scale = self.mask_patch_size // self.backbone.out_strides[0]
        packed = self.backbone.embed(visible_images)[:, : h // 2 * scale, : w // 2 * scale]
        if self.secondary_mask_ratio:
            token = self.backbone.embed_token(self.vis_mask_token)
            replaced = (mask == REPLACED).flatten(1).gather(1, index).view(patch_rows.shape)
            packed = torch.where(enlarge(replaced, scale)[..., None], token, packed)
        return packed, torch.stack(packed_coords(blocks, scale), dim=-1), index

    def _packed_pixels(self, images: Tensor, blocks: Tensor) -> Tensor:
        """Return the visible patches as images of half the side, (B, 3, H/2, W/2)."""
        rows, cols = packed_coords(blocks, self.mask_patch_size)
        places = (rows * images.shape[3] + cols).flatten(1)[:, None].expand(-1, images.shape[1], -1)
        return images.flatten(2).gather(2, places).unflatten(2, rows.shape[1:])

    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the mean squared error over the removed patches."""
        pred, removed = self.predict(images, mask), (mask == REMOVED).flatten(1)
        return squared_error(pred, images, self.mask_patch_size, self.norm_pix_loss, removed)

    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the visible patches, the packed maps, and the images with removed patches predicted."""
        grid = tuple(mask.shape[1:])
        patches = patchify(images, self.mask_patch_size)
        predicted = self.predict(images, mask).float()
        if self.norm_pix_loss:
            predicted = denormalise_patches(predicted, patches)
        removed = (mask == REMOVED).flatten(1)[..., None]
        seen = patches * (mask == VISIBLE).flatten(1)[..., None]
        # At most one patch of every 2x2 block is not zero, so the sum is this patch.
        h, w = grid[0] // 2, grid[1] // 2
        packed = seen.view(len(seen), h, 2, w, 2, -1).sum((2, 4)).flatten(1, 2)
        return {
            "visible input": unpatchify(seen, grid),
            "as packed": unpatchify(packed, (h, w)),
            "reconstruction": unpatchify(torch.where(removed, predicted, patches), grid),
        }


@MODELS.register_module()
class UMMAEViT(UMMAE):
    """UM-MAE with a `PlainViT`; equivalent to implus/UM-MAE models_mae.py at cb7776b.

    The class token passes through the decoder. Decoder positions are correct (U1 does not apply), and the
    secondary mask uses one argsort instead of two (U11). The arguments are those of `UMMAE`.
    """

    expand = 1
    class_token = True

    def __init__(self, backbone: dict, decoder: dict, **kwargs: object) -> None:
        super().__init__(backbone, decoder, official_positions=False, **kwargs)

    def check_mask_patch_size(self, scale: int) -> None:
        if not isinstance(self.backbone, PlainViT):
            raise UserError(
                "UMMAEViT needs a PlainViT, as it decodes a class token; "
                f"with {type(self.backbone).__name__} use UMMAE"
            )
        super().check_mask_patch_size(scale)

    def draw_replaced(self, removed: Tensor) -> Tensor:
        visible = int((~removed[0]).sum())
        noise = torch.rand(len(removed), visible)
        replaced = torch.zeros_like(removed)
        replaced[~removed] = secondary_mask_vit(noise, self.secondary_mask_ratio).flatten()
        return replaced

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        packed, coords, index = self.pack(images, mask)
        sequence = self.decoder.embed(self.backbone.encode_sequence(packed, coords))
        first, patches = sequence[:, :1], sequence[:, 1:]
        target = index[..., None].expand_as(patches)
        tokens = patches.new_zeros(len(patches), mask[0].numel(), patches.shape[-1]).scatter(
            1, target, patches
        )
        return self.decoder.complete(tokens, (mask == REMOVED).flatten(1), first=first)


def _check_visible(blocks: Tensor) -> None:
    """Check that exactly one patch of every 2x2 block (..., 4) is visible."""
    if blocks.is_meta:  # used to count FLOPs; tensors have no values
        return
    one = (blocks.sum(-1) == 1).all()
    message = "UM-MAE needs masks with exactly one visible patch per 2x2 block; use those of draw_mask"
    if chosen_form(blocks.device) != "segments":
        torch._assert_async(one, message)  # the host does not wait
    elif not bool(one):
        raise UserError(message)


def packed_coords(blocks: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Return the original coordinates of the tokens of a packed map.

    Args:
        blocks: Visible patches of every 2x2 block, bool (B, h/2, w/2, 4), row-major in the block.
        scale: Tokens per side of a patch.

    Returns:
        Rows and columns in the map of the whole image, int64, both (B, h/2 * scale, w/2 * scale).
    """
    _, h, w, _ = blocks.shape
    corner = blocks.int().argmax(-1)
    device = blocks.device
    rows = 2 * torch.arange(h, device=device)[:, None] + corner // 2
    cols = 2 * torch.arange(w, device=device) + corner % 2
    inside = torch.arange(scale, device=device)
    rows = enlarge(rows, scale) * scale + inside.repeat(h)[:, None]
    cols = enlarge(cols, scale) * scale + inside.repeat(w)
    return rows, cols


# Checkpoints and constructors of the official code.

_SECONDARY = "vis_mask_token"
_RULES: Rules = ((_SECONDARY, _SECONDARY), *DECODER_RULES)


def _settings(state: State, backbone: dict) -> dict:
    patch = math.isqrt(len(state["decoder.pred.weight"]) // 3)
    ratio = 0.25 if _SECONDARY in state else 0.0
    inferred = dict(decoder=decoder_settings(state), mask_patch_size=patch, secondary_mask_ratio=ratio)
    if "img_size" not in backbone:  # UM-MAE's Swin has no tables. Published: window 8 on packed maps
        img_size = math.isqrt(state["decoder.pos_embed"].shape[1]) * patch
        inferred["backbone"] = {**backbone, "img_size": img_size, "window_size": 8}
    return inferred


def _arguments(a: Arguments, backbone: dict, depth: int, mlp_ratio: float) -> dict:
    a.only(in_chans=3)
    return dict(
        backbone=backbone,
        decoder=decoder_arguments(a, "decoder_embed_dim", depth, mlp_ratio),
        secondary_mask_ratio=a.real("vis_mask_ratio", 0.0),
        norm_pix_loss=a.flag("norm_pix_loss", False),
    )


def _on_swin(a: Arguments) -> dict:
    backbone = um_swin.um_swin_arguments(a)
    return dict(_arguments(a, backbone, 2, backbone["mlp_ratio"]), mask_patch_size=a.count("stride", 16))


def _on_pvt(a: Arguments) -> dict:
    ratio = a.real("decoder_mlp_ratio", 4.0)
    return dict(
        _arguments(a, um_pvt.um_pvt_arguments(a, packed=True), 2, ratio),
        mask_patch_size=a.count("stride", 16),
    )


def _on_vit(a: Arguments) -> dict:
    a.without_effect("asymmetric_decoder", "mask_ratio")
    backbone = plain_vit.vit_arguments(a)
    return dict(_arguments(a, backbone, 8, backbone["mlp_ratio"]), mask_patch_size=backbone["patch_size"])


register(
    Kind(
        "UM-MAE pretraining, Swin",
        "implus/UM-MAE",
        "UMMAE",
        um_swin.CHECKPOINT,
        _RULES,
        keys=(*um_swin.KEYS, NORM, *DECODER_KEYS),
        optional=(_SECONDARY,),
        settings=_settings,
        defaults=DECODER_DEFAULTS,
        files=("models_mae_swin",),
        constructor=_on_swin,
    ),
    Kind(
        "UM-MAE pretraining, PVT",
        "implus/UM-MAE",
        "UMMAE",
        um_pvt.CHECKPOINT,
        _RULES,
        keys=(*um_pvt.KEYS, NORM, *DECODER_KEYS),
        optional=(_SECONDARY,),
        settings=_settings,
        defaults=DECODER_DEFAULTS,
        files=("models_mae_pvt",),
        constructor=_on_pvt,
    ),
    Kind(
        "UM-MAE or MAE pretraining, ViT",
        "implus/UM-MAE",
        "UMMAEViT",
        plain_vit.CHECKPOINT,
        _RULES,
        keys=(*plain_vit.KEYS, *DECODER_KEYS),
        optional=(_SECONDARY,),
        mmpretrain=DECODER_MMPRETRAIN,
        settings=_settings,
        defaults=DECODER_DEFAULTS,
        files=("models_mae",),
        constructor=_on_vit,
    ),
)
