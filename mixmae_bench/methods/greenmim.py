"""GreenMIM: the encoder computes visible patches only, in groups of windows (arXiv 2205.13515)."""

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.forms import windows_are_whole
from mixmae_bench.errors import UserError
from mixmae_bench.methods.decoder import Decoder
from mixmae_bench.methods.masks import enlarge, moved, whole_patches
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import denormalise_patches, patchify, squared_error, unpatchify
from mixmae_bench.registry import MODELS


@MODELS.register_module()
class GreenMIM(Method):
    """GreenMIM with a windowed encoder; sources and differences are in docs/differences.md.

    The images of a process's batch share one mask (h, w) on the grid of last-stage patches. The
    visible patches are stacked into a map of one patch per row, in which every token keeps its original
    coordinates. A patch contains whole blocks of patch merging, so merging needs no change. Tokens attend to
    the visible tokens of their window of the whole image (`backbones/layers/grouped_windows.py`). The decoder
    predicts all patches; the loss is over the masked patches.

    The number and sizes of the groups of windows depend on the mask, and the host reads it. So the shapes of
    a step depend on the mask, in contrast to all other methods, and CUDA graphs do not support the method.

    Args:
        backbone: Config of an `Encoder` that supports `visible`: `MixMAESwin`, `Swin` or `UMSwin`.
        decoder: `dim`, `depth`, `num_heads` and, optionally, `mlp_ratio` and `norm_eps` of the `Decoder`.
        mask_ratio: Share of masked patches, in (0, 1). The number of visible patches is rounded down.
        norm_pix_loss: Whether targets are normalised per patch (published: True).

    Raises:
        UserError: If `mask_ratio` is outside (0, 1), or the image size does not fit the encoder.
    """

    fixed_shapes = False

    def __init__(
        self,
        backbone: dict,
        decoder: dict,
        mask_ratio: float = 0.75,
        norm_pix_loss: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if not 0 < mask_ratio < 1:
            raise UserError(
                f"mask_ratio of GreenMIM is {mask_ratio}; give a number between 0 and 1, published: 0.75"
            )
        super().__init__(backbone, data_preprocessor, init_cfg)
        self.mask_ratio = mask_ratio
        self.norm_pix_loss = norm_pix_loss
        self.mask_patch_size = self.backbone.out_strides[-1]
        scale = self.mask_patch_size // self.backbone.out_strides[0]
        grid = (self.backbone.grid[0] // scale, self.backbone.grid[1] // scale)
        pixels = self.mask_patch_size**2 * 3
        self.decoder = Decoder(self.backbone.out_channels[-1], grid, pixels, **{"norm_eps": 1e-6, **decoder})

    def draw_mask(self, images: Tensor) -> Tensor:
        """Draw the mask (h, w) of bools, True = masked."""
        return moved(self._random_mask(*self.mask_grid(images), torch.default_generator), images.device)

    def _random_mask(self, h: int, w: int, generator: torch.Generator) -> Tensor:
        visible = whole_patches(h * w, 1 - self.mask_ratio)
        order = torch.rand(h * w, generator=generator).argsort()
        return torch.ones(h * w, dtype=torch.bool).index_fill(0, order[:visible], False).view(h, w)

    def predict(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict the pixels of every patch: (B, h*w, p*p*3), row-major."""
        self.check_size(images)
        tokens = self.backbone.embed(images)
        patches, coords = self._visible(mask, tokens.shape[1] // mask.shape[0])
        places = (coords[..., 0] * tokens.shape[2] + coords[..., 1]).to(tokens.device)
        shown = tokens.flatten(1, 2).index_select(1, places.flatten()).unflatten(1, places.shape)
        features = self.decoder.embed_map(self.backbone.encode(shown, visible=coords)[-1])

        every = features.new_zeros(len(features), mask.numel(), features.shape[-1])
        every = every.index_copy(1, patches.to(tokens.device), features)
        return self.decoder.complete(every, mask.flatten()[None])

    @torch.compiler.disable  # depends on values; every new mask would cause a recompilation
    def _visible(self, mask: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Return the visible patches and the coordinates of their tokens, both on the CPU.

        While FLOPs are counted, one fixed random mask replaces the given one, because FLOPs depend on the
        mask, and a mask on the meta device has no values.

        Args:
            mask: Bool (h, w), True = masked.
            scale: Tokens per side of a patch.

        Returns:
            Row-major indices of the patches, int64 (n,), and (row, column) of tokens in the whole map, int64
            (n * scale, scale, 2).
        """
        h, w = mask.shape
        if windows_are_whole():
            mask = self._random_mask(h, w, torch.Generator().manual_seed(0))
        corners = (~mask.cpu()).nonzero()  # (row, column) of patches
        inside = torch.cartesian_prod(torch.arange(scale), torch.arange(scale)).view(scale, scale, 2)
        return corners[:, 0] * w + corners[:, 1], (corners[:, None, None] * scale + inside).flatten(0, 1)

    def loss(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the mean squared error over the masked patches."""
        pred, masked = self.predict(images, mask), mask.view(1, -1)
        return squared_error(pred, images, self.mask_patch_size, self.norm_pix_loss, masked)

    def pictures(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the visible patches, and the images with masked patches predicted."""
        patches = patchify(images, self.mask_patch_size)
        predicted = self.predict(images, mask).float()
        if self.norm_pix_loss:
            predicted = denormalise_patches(predicted, patches)
        masked = mask.flatten()[:, None]
        reconstruction = unpatchify(torch.where(masked, predicted, patches), tuple(mask.shape))
        hidden = enlarge(mask[None], self.mask_patch_size)
        return {"visible input": images * ~hidden, "reconstruction": reconstruction}
