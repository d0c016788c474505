"""The SimMIM baseline of UM-MAE's repository (U10), which differs from SimMIM's recipe."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones import um_pvt, um_swin
from mixmae_bench.backbones.layers.init import um_mae_init
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import Kind, register
from mixmae_bench.backbones.official.names import BOTH, NORM, Rules
from mixmae_bench.backbones.official.shapes import State
from mixmae_bench.errors import UserError
from mixmae_bench.methods.masks import enlarge, moved, shuffled_mask
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import denormalise_patches, normalise_patches, patchify, unpatchify
from mixmae_bench.registry import MODELS


@MODELS.register_module()
class UMSimMIM(Method):
    """SimMIM as in implus/UM-MAE models_simmim_swin.py and models_simmim_pvt.py at cb7776b.

    A mask token replaces random patches after the norm, if any, of the patch embedding (U2). Every last-stage
    feature predicts 2x2 patches. The loss is the mean absolute error over masked patches.

    Args:
        backbone: Config of an `Encoder`; its last stride must be twice `mask_patch_size`.
        mask_patch_size: Side of a mask patch in pixels.
        mask_ratio: Share of masked patches, in (0, 1); rounded down to whole patches.
        norm_pix_loss: Whether targets are normalised per patch (published: False).

    Raises:
        UserError: If `mask_ratio` is outside (0, 1) or `mask_patch_size` does not fit the encoder.
    """

    def __init__(
        self,
        backbone: dict,
        mask_patch_size: int = 16,
        mask_ratio: float = 0.75,
        norm_pix_loss: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if not 0 < mask_ratio < 1:
            raise UserError(
                f"mask_ratio of UMSimMIM is {mask_ratio}; give a number between 0 and 1, published: 0.75"
            )
        super().__init__(backbone, data_preprocessor, init_cfg)
        self.mask_patch_size = mask_patch_size
        self.check_mask_patch_size(2)
        channels = self.backbone.out_channels
        self.mask_ratio = mask_ratio
        self.norm_pix_loss = norm_pix_loss
        self.mask_token = nn.Parameter(torch.empty(1, 1, channels[0]))
        self.pred = nn.Linear(channels[-1], 4 * mask_patch_size**2 * 3)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.pred.apply(um_mae_init)

    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw masks (B, H/p, W/p) of bools, True = masked."""
        h, w = self.mask_grid(images)
        patches = np.stack([shuffled_mask(h, w, self.mask_ratio) for _ in images])
        return moved(torch.from_numpy(patches), images.device)

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict the pixels of every patch: (B, patches, p*p*3), row-major."""
        tokens = self.backbone.embed(images)
        masked = enlarge(mask, tokens.shape[1] // mask.shape[1])
        tokens = torch.where(masked[..., None], self.mask_token, tokens)
        features = self.pred(self.backbone.encode(tokens)[-1])
        return F.pixel_shuffle(features.permute(0, 3, 1, 2), 2).flatten(2).transpose(1, 2)

    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the mean absolute error over the masked patches."""
        target = patchify(images, self.mask_patch_size)
        if self.norm_pix_loss:
            target = normalise_patches(target)
        errors = (self.predict(images, mask).float() - target).abs().mean(-1)
        masked = mask.flatten(1)
        return (errors * masked).sum() / masked.sum()

    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the images with masked patches set to 0, and with masked patches predicted."""
        patches, masked = patchify(images, self.mask_patch_size), mask.flatten(1)[..., None]
        predicted = self.predict(images, mask).float()
        if self.norm_pix_loss:
            predicted = denormalise_patches(predicted, patches)
        shown = {"masked input": patches * ~masked, "reconstruction": torch.where(masked, predicted, patches)}
        return {title: unpatchify(picture, tuple(mask.shape[1:])) for title, picture in shown.items()}


# Checkpoints and constructors of the official code.

_RULES: Rules = (("mask_token", "mask_token"), ("decoder_pred.", "pred."), ("", "backbone."))
_KEYS = (NORM, "mask_token", rf"decoder_pred{BOTH}")


def _settings(state: State, backbone: dict) -> dict:
    return dict(mask_patch_size=math.isqrt(len(state["pred.weight"]) // 12))


def _arguments(a: Arguments, backbone: dict) -> dict:
    a.only(in_chans=3)
    return dict(
        backbone=backbone,
        mask_patch_size=a.count("stride", 16),
        mask_ratio=a.lookup("mask_generator", "mask_ratio"),
        norm_pix_loss=a.flag("norm_pix_loss", False),
    )


register(
    Kind(
        "UM-MAE's SimMIM pretraining, Swin",
        "implus/UM-MAE",
        "UMSimMIM",
        um_swin.CHECKPOINT,
        _RULES,
        keys=(*um_swin.KEYS, *_KEYS),
        settings=_settings,
        files=("models_simmim_swin",),
        constructor=lambda a: _arguments(a, um_swin.um_swin_arguments(a)),
    ),
    Kind(
        "UM-MAE's SimMIM pretraining, PVT",
        "implus/UM-MAE",
        "UMSimMIM",
        um_pvt.CHECKPOINT,
        _RULES,
        keys=(*um_pvt.KEYS, *_KEYS),
        settings=_settings,
        files=("models_simmim_pvt",),
        constructor=lambda a: _arguments(a, um_pvt.um_pvt_arguments(a)),
    ),
)
