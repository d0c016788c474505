"""What all pretraining methods share: a runnable model around an encoder."""

import math
from abc import ABCMeta, abstractmethod

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS


class Method(BaseModel, metaclass=ABCMeta):
    """A pretraining method on an encoder, as a model that mmengine's Runner trains.

    A method draws a mask, predicts what the mask hid, and compares. The mask is an argument of
    `predict` and `loss`, so that tests and pictures can choose it.

    Attributes:
        mask_patch_size: Side in pixels of what is hidden or shown as one; subclasses set it.
        mixes_batch: Whether the images that a process trains on are mixed with each other. Its part of the
            batch then decides the outcome, beside the effective batch.
    """

    mask_patch_size: int
    mixes_batch: bool = False

    def __init__(self, backbone: dict, data_preprocessor: dict | None, init_cfg: dict | None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        channels = getattr(self.backbone, "in_chans", 3)
        if channels != 3:
            raise UserError(
                f"{type(self).__name__} predicts 3 colours; its backbone takes images of in_chans={channels}"
            )

    @abstractmethod
    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw a random mask for images (B, 3, H, W) from torch's or numpy's default generator."""

    @abstractmethod
    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict what `mask` hides of normalised images (B, 3, H, W)."""

    @abstractmethod
    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Compare `predict(images, mask)` with the images; return a scalar."""

    @abstractmethod
    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Show what a mask does to normalised images (B, 3, H, W).

        Returns:
            Images (B, 3, h, w) in the same units, by title, in the order to show: first the input as the
            encoder sees it, what is hidden being 0; last the reconstruction, pixel normalisation undone.
        """

    def check_mask_patch_size(self, scale: int) -> None:
        """Refuse an encoder whose last-stage tokens are not of `scale` patches, or whose tokens are larger.

        Raises:
            UserError: Where that is so.
        """
        first, last = self.backbone.out_strides[0], self.backbone.out_strides[-1]
        name, encoder, wanted = type(self).__name__, type(self.backbone).__name__, last // scale
        if wanted % first:
            raise UserError(
                f"{name} has mask patches of {wanted} px on this {encoder}, whose tokens are of {first} px; "
                "use an encoder with more stages"
            )
        if self.mask_patch_size != wanted:
            raise UserError(
                f"mask_patch_size of {name} is {self.mask_patch_size} px; with this {encoder} it must be "
                f"{wanted}"
            )

    def mask_grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of images (B, 3, H, W).

        Raises:
            UserError: Where patches, or tokens of the last stage, do not divide the images.
        """
        side = math.lcm(self.mask_patch_size, self.backbone.out_strides[-1])
        H, W = images.shape[-2:]
        if H % side or W % side:
            raise UserError(
                f"{type(self).__name__} got images of {H}x{W} px, which are not multiples of {side} px; "
                "change the pipeline"
            )
        return H // self.mask_patch_size, W // self.mask_patch_size

    def check_size(self, images: Tensor) -> None:
        """Refuse images (B, 3, H, W) of another size than the decoder's position table is made for.

        Raises:
            UserError: Where the size differs.
        """
        wanted = tuple(side * self.backbone.out_strides[0] for side in self.backbone.grid)
        if tuple(images.shape[-2:]) != wanted:
            raise UserError(
                f"{type(self).__name__} got images of {tuple(images.shape[-2:])} px, its decoder is made for "
                f"{wanted}; change the pipeline or backbone.img_size"
            )

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = "tensor"
    ) -> dict | Tensor:
        """Return the loss (mode 'loss') or the prediction (mode 'tensor') under a freshly drawn mask."""
        mask = self._draw(inputs)
        if mode == "loss":
            return {"loss": self.loss(inputs, mask)}
        return self.predict(inputs, mask)

    @torch.compiler.disable  # compiled, numpy would draw other numbers
    def _draw(self, images: Tensor) -> Tensor:
        return self.draw_mask(images)
