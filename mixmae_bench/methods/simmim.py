"""SimMIM: predict the raw pixels of masked patches from visible and mask tokens (arXiv 2111.09886)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones import mixmae_swin, swin_official
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import Kind, register
from mixmae_bench.backbones.official.layouts import by
from mixmae_bench.backbones.official.names import BOTH, Rules
from mixmae_bench.errors import UserError
from mixmae_bench.methods.masks import enlarge, moved, random_mask
from mixmae_bench.methods.method import Method
from mixmae_bench.registry import MODELS


@MODELS.register_module()
class SimMIM(Method):
    """SimMIM with any encoder; equivalent to microsoft/SimMIM models/simmim.py at d3e29bc.

    Every image has its own mask. The mask token replaces tokens after the norm of the patch embedding. A
    linear head predicts the pixels of every last-stage patch. The loss is the mean absolute error over masked
    pixels of images normalised by the mean and standard deviation of the data set.

    Args:
        backbone: Config of an `Encoder`.
        mask_patch_size: Side of a mask patch in pixels, a multiple of the encoder's first stride.
        mask_ratio: Share of masked patches, in (0, 1); rounded up to whole patches.

    Raises:
        UserError: If `mask_ratio` is outside (0, 1) or `mask_patch_size` does not fit the encoder.
    """

    def __init__(
        self,
        backbone: dict,
        mask_patch_size: int = 32,
        mask_ratio: float = 0.6,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if not 0 < mask_ratio < 1:
            raise UserError(
                f"mask_ratio of SimMIM is {mask_ratio}; give a number between 0 and 1, published: 0.6"
            )
        super().__init__(backbone, data_preprocessor, init_cfg)
        first = self.backbone.out_strides[0]
        if mask_patch_size < 1 or mask_patch_size % first:
            raise UserError(
                f"mask_patch_size of SimMIM is {mask_patch_size} px; give a multiple of {first} px (a token)"
            )
        self.mask_ratio = mask_ratio
        self.mask_patch_size = mask_patch_size
        stride, channels = self.backbone.out_strides[-1], self.backbone.out_channels
        self.mask_token = nn.Parameter(torch.empty(1, 1, channels[0]))
        self.decoder = nn.Conv2d(channels[-1], stride**2 * 3, 1)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw a mask (B, H/s, W/s) of bools on the grid of first-stage tokens, True = masked."""
        h, w = self.mask_grid(images)
        patches = np.stack([random_mask(h, w, self.mask_ratio) for _ in images])
        mask = moved(torch.from_numpy(patches).bool(), images.device)
        return enlarge(mask, self.mask_patch_size // self.backbone.out_strides[0])

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict all pixels: (B, 3, H, W)."""
        tokens = self.backbone.embed(images)
        tokens = torch.where(mask[..., None], self.mask_token, tokens)
        features = self.backbone.encode(tokens)[-1].permute(0, 3, 1, 2)
        # Channel c * s*s + i * s + j is colour c, row i, column j of a patch.
        return F.pixel_shuffle(self.decoder(features), self.backbone.out_strides[-1])

    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the mean absolute error over masked pixels."""
        hidden = self._pixels(mask)
        errors = (images - self.predict(images, mask).float()).abs() * hidden
        return errors.sum() / (hidden.sum() + 1e-5) / 3

    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the images with masked pixels set to 0, and with masked pixels predicted."""
        hidden = self._pixels(mask)
        return {
            "masked input": images * ~hidden,
            "reconstruction": torch.where(hidden, self.predict(images, mask).float(), images),
        }

    def _pixels(self, mask: Tensor) -> Tensor:
        """Upsample a mask of tokens (B, h, w) to pixels (B, 1, H, W)."""
        return enlarge(mask, self.backbone.out_strides[0])[:, None]


# Checkpoints and the constructor of the official code.

_RULES: Rules = (
    ("encoder.mask_token", "mask_token"),
    ("encoder.", "backbone."),
    ("decoder.0.", "decoder."),
)
_KEYS = (*swin_official.window_keys("encoder."), r"encoder\.mask_token", rf"decoder\.0{BOTH}")
_APE = rf"encoder\.{swin_official.APE}"
_MMPRETRAIN = by((r"neck\.(decoder\.)", r"\1"))


def _arguments(a: Arguments) -> dict:
    a.only(in_chans=3, num_classes=0)
    backbone = swin_official.swin_arguments(a)
    a.only(encoder_stride=backbone["patch_size"] * 2 ** (len(backbone["arch"]["depths"]) - 1))
    return dict(
        backbone=backbone,
        mask_patch_size=a.lookup("mask_generator", "mask_patch_size"),
        mask_ratio=a.lookup("mask_generator", "mask_ratio"),
    )


register(
    Kind(
        "SimMIM pretraining",
        "microsoft/SimMIM",
        "SimMIM",
        swin_official.CHECKPOINT,
        _RULES,
        keys=_KEYS,
        optional=(_APE,),
        mmpretrain=_MMPRETRAIN,
        files=("simmim",),
        constructor=_arguments,
        # S3: the script also intends to exclude bias tables from decay, but its pattern never matches.
        groups=dict(no_decay=["absolute_pos_embed", "mask_token"]),
    ),
    # With MixMAE's encoder: same names as a Swin with a learnt position table.
    Kind(
        "SimMIM pretraining",
        "microsoft/SimMIM",
        "SimMIM",
        mixmae_swin.CHECKPOINT,
        _RULES,
        keys=(*_KEYS, _APE),
        matches=mixmae_swin.has_sincos,
        published=False,
    ),
)
