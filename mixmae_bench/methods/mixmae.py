"""MixMAE: masked tokens of an image are replaced by tokens of another (arXiv 2205.13137, section 3.2)."""

import torch
from torch import Tensor

from mixmae_bench.backbones import mixmae_swin
from mixmae_bench.backbones.layers.windows import spread
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import Kind, register
from mixmae_bench.backbones.official.shapes import State
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
from mixmae_bench.methods.masks import moved, whole_patches
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import denormalise_patches, patchify, squared_error, unpatchify
from mixmae_bench.registry import MODELS


@MODELS.register_module()
class MixMAE(Method):
    """MixMAE with any encoder; equivalent to Sense-X/MixMIM models_mixmim.py at 2b2f5a9.

    The images of a process's batch share one mask (h, w) on the grid of last-stage patches. Mixture b
    contains the tokens of image b where the mask is 0, and those of its partner, image B-1-b, where the mask
    is 1 (the official `flip(0)`; in an odd batch, the middle image is mixed with itself). Tokens of the two
    images do not attend to each other. The decoder completes both images of every mixture, so each patch of
    each image is predicted once, from a mixture in which it was masked.

    Args:
        backbone: Config of an `Encoder`; its `grid` determines the size of the images.
        decoder: `dim`, `depth`, `num_heads` and, optionally, `mlp_ratio` and `norm_eps` of the `Decoder`.
        mask_ratio: Share of patches taken from the partner, in (0, 1); rounded down to whole patches.
        norm_pix_loss: Whether targets are normalised per patch (published: True, M8).

    Raises:
        UserError: If `mask_ratio` is outside (0, 1), or a batch contains one image only (it would be mixed
            with itself).
    """

    mixes_batch = True

    def __init__(
        self,
        backbone: dict,
        decoder: dict,
        mask_ratio: float = 0.5,
        norm_pix_loss: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if not 0 < mask_ratio < 1:
            raise UserError(
                f"mask_ratio of MixMAE is {mask_ratio}; give a number between 0 and 1, published: 0.5"
            )
        super().__init__(backbone, data_preprocessor, init_cfg)
        self.mask_ratio = mask_ratio
        self.norm_pix_loss = norm_pix_loss
        self.mask_patch_size = self.backbone.out_strides[-1]
        scale = self.mask_patch_size // self.backbone.out_strides[0]
        grid = (self.backbone.grid[0] // scale, self.backbone.grid[1] // scale)
        self.decoder = Decoder(self.backbone.out_channels[-1], grid, self.mask_patch_size**2 * 3, **decoder)

    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw the mask (h, w), int64: 1 for patches of the partner."""
        h, w = self.mask_grid(images)
        order = torch.rand(h * w).argsort().argsort()
        return moved((order < whole_patches(h * w, self.mask_ratio)).long().view(h, w), images.device)

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct both images of every mixture.

        Returns:
            Predictions (2B, h*w, p*p*3): the first B of the images visible where the mask is 0, the last B of
            their partners.
        """
        if len(images) == 1:
            raise UserError(
                "MixMAE got a batch of one image, which it would mix with itself; use at least 2 per process"
            )
        self.check_size(images)
        # Tokens of `Encoder.embed` depend on their own pixels only, and pixels need no gradients.
        mixed = torch.where(spread(mask, images.shape[2:]).bool(), images.flip(0), images)
        tokens = self.backbone.embed(mixed)
        patches = self.decoder.embed_map(self.backbone.encode(tokens, segment_ids=mask)[-1])

        partner = mask.flatten().bool()
        return self.decoder.complete(patches, torch.stack([partner, ~partner])[:, None])

    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the mean squared error over all patches of all images."""
        first, second = self.predict(images, mask).chunk(2)
        pred = torch.where(mask.view(1, -1, 1).bool(), first, second.flip(0))
        every = torch.ones_like(mask).view(1, -1)
        return squared_error(pred, images, self.mask_patch_size, self.norm_pix_loss, every)

    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the mixtures, both completed images of each, and images with all patches predicted."""
        patches = patchify(images, self.mask_patch_size)
        partners = patches.flip(0)
        first, second = self.predict(images, mask).float().chunk(2)
        if self.norm_pix_loss:
            first, second = denormalise_patches(first, patches), denormalise_patches(second, partners)
        from_partner = mask.view(1, -1, 1).bool()
        shown = {
            "mixed input": torch.where(from_partner, partners, patches),
            "un-mixed: image": torch.where(from_partner, first, patches),
            "un-mixed: partner": torch.where(from_partner, partners, second),
            "reconstruction": torch.where(from_partner, first, second.flip(0)),
        }
        return {title: unpatchify(picture, tuple(mask.shape)) for title, picture in shown.items()}


# Checkpoints and the constructor of the official code.


def _settings(state: State, backbone: dict) -> dict:
    return dict(decoder=decoder_settings(state))


def _arguments(a: Arguments) -> dict:
    a.without_effect("num_classes")  # M11
    a.only(in_chans=3, range_mask_ratio=0.0)
    backbone = mixmae_swin.mixmae_arguments(a)
    return dict(
        backbone=backbone,
        decoder=decoder_arguments(a, "decoder_dim", 8, backbone["mlp_ratio"]),
        mask_ratio=a.lookup("mask_ratio"),
        norm_pix_loss=a.flag("norm_pix_loss", True),
    )


register(
    Kind(
        "MixMAE pretraining",
        "Sense-X/MixMIM",
        "MixMAE",
        mixmae_swin.CHECKPOINT,
        DECODER_RULES,
        keys=(*mixmae_swin.KEYS, *DECODER_KEYS),
        mmpretrain=DECODER_MMPRETRAIN,
        settings=_settings,
        defaults=DECODER_DEFAULTS,
        files=("models_mixmim",),
        constructor=_arguments,
    )
)
