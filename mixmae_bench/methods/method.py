"""The base class of pretraining methods."""

import math
from abc import ABCMeta, abstractmethod

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS


class Method(BaseModel, metaclass=ABCMeta):
    """A pretraining method with an encoder, as a model for mmengine's Runner.

    A method draws a mask, predicts the masked content, and computes a loss. The mask is an argument of
    `predict` and `loss`, so that tests and visualisations can choose it.

    Attributes:
        mask_patch_size: Side of a mask patch in pixels; set by subclasses.
        mixes_batch: Whether the images of a process's batch are mixed with each other. Results then depend on
            the batch size per process, in addition to the total batch size.
        fixed_shapes: Whether the shapes of all tensors are the same for every mask, as CUDA graphs require.
    """

    mask_patch_size: int
    mixes_batch: bool = False
    fixed_shapes: bool = True

    def __init__(self, backbone: dict, data_preprocessor: dict | None, init_cfg: dict | None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        channels = getattr(self.backbone, "in_chans", 3)
        if channels != 3:
            raise UserError(
                f"{type(self).__name__} predicts 3 colours, but its backbone has in_chans={channels}"
            )

    @abstractmethod
    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw a random mask for images (B, 3, H, W) from torch's or numpy's default generator."""

    @abstractmethod
    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict the masked content of normalised images (B, 3, H, W)."""

    @abstractmethod
    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the scalar loss between `predict(images, mask)` and the images."""

    @abstractmethod
    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Visualise the input and the prediction for normalised images (B, 3, H, W) and a mask.

        Returns:
            Normalised images (B, 3, h, w) by title, in display order: first the encoder's input, with masked
            pixels 0; last the reconstruction, with the pixel normalisation of patches undone.
        """

    def check_mask_patch_size(self, scale: int) -> None:
        """Check that a last-stage token covers `scale` mask patches per side, and that tokens divide patches.

        Raises:
            UserError: If the mask patch size does not fit the encoder.
        """
        first, last = self.backbone.out_strides[0], self.backbone.out_strides[-1]
        name, encoder, wanted = type(self).__name__, type(self.backbone).__name__, last // scale
        if wanted % first:
            raise UserError(
                f"{name} needs mask patches of {wanted} px with this {encoder}, smaller than its tokens of "
                f"{first} px; use an encoder with more stages"
            )
        if self.mask_patch_size != wanted:
            raise UserError(
                f"mask_patch_size of {name} is {self.mask_patch_size} px; with this {encoder} it must be "
                f"{wanted}"
            )

    def mask_grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns of mask patches of images (B, 3, H, W).

        Raises:
            UserError: If mask patches or last-stage tokens do not divide the images.
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
        """Check that images (B, 3, H, W) have the size that the decoder's position table is made for.

        Raises:
            UserError: If the size differs.
        """
        wanted = tuple(side * self.backbone.out_strides[0] for side in self.backbone.grid)
        if tuple(images.shape[-2:]) != wanted:
            raise UserError(
                f"{type(self).__name__} got images of {tuple(images.shape[-2:])} px, but its decoder is made "
                f"for {wanted}; change the pipeline or backbone.img_size"
            )

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = "tensor"
    ) -> dict | Tensor:
        """Draw a mask; return the loss (mode 'loss') or the prediction (mode 'tensor')."""
        mask = self._draw(inputs)
        if mode == "loss":
            return {"loss": self.loss(inputs, mask)}
        return self.predict(inputs, mask)

    @torch.compiler.disable  # compiled numpy code would draw other numbers
    def _draw(self, images: Tensor) -> Tensor:
        return self.draw_mask(images)
