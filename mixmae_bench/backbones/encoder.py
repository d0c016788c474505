"""The interface of the encoders.

`embed` turns images into tokens, and `encode` turns tokens into one feature map per stage. A pretraining
method masks, mixes or packs tokens between the two steps, so it does not depend on the encoder.
"""

from abc import abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn

from mixmae_bench.backbones.backbone import Backbone, check_init_cfg


class Encoder(Backbone):
    """A hierarchical encoder: `forward` is `encode(embed(images))` at the chosen `out_indices`.

    Attributes:
        grid: First-stage tokens (rows, columns) of the image size that the tables are made for.
        norm: Norm of the last stage's map.
        with_cp: Whether activations of blocks are recomputed in the backward pass (see `checkpointing.call`).
    """

    grid: tuple[int, int]
    norm: nn.Module
    with_cp: bool

    def __init__(
        self, out_indices: tuple[int, ...], num_stages: int, with_cp: bool, init_cfg: dict | None
    ) -> None:
        if not all(-num_stages <= i < num_stages for i in out_indices):
            raise ValueError(f"out_indices {tuple(out_indices)} are out of range for {num_stages} stages")
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        self.out_indices = tuple(i % num_stages for i in out_indices)
        self.with_cp = with_cp

    def add_out_norms(self) -> None:
        """Add norms for the output stages before the last, which only dense tasks use.

        Pretraining checkpoints do not contain them. They start with weight 1 and bias 0, as in mmdet's Swin.
        """
        last = len(self.out_channels) - 1
        self.out_norms = nn.ModuleDict(
            {str(i): nn.LayerNorm(self.out_channels[i]) for i in self.out_indices if i != last}
        )

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) as tokens (B, H/s, W/s, C), s = `out_strides[0]`, without positions.

        A token depends on its own s x s pixels only, so that methods can embed a part of the patches.
        """

    def embed_token(self, token: Tensor) -> Tensor:
        """Apply the norm of the patch embedding, if it has one, to a learnt mask token (..., C) (U2)."""
        return token

    def encode(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> list[Tensor]:
        """Encode tokens (B, h, w, C) as one map (B, h_i, w_i, C_i) per stage, with the last map normalised.

        The arguments are those of `stage_maps`.

        Raises:
            ValueError: If `visible` is given with `segment_ids` or `coords`.
        """
        if visible is not None and (segment_ids is not None or coords is not None):
            raise ValueError("visible excludes segment_ids and coords")
        more = {} if visible is None else {"visible": visible}  # encoders written outside may not have it
        maps = list(self.stage_maps(tokens, segment_ids, coords, **more))
        maps[-1] = self.norm(maps[-1])
        return maps

    @abstractmethod
    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield one map (B, h_i, w_i, C_i) per stage, without norms.

        Args:
            tokens: Output of `embed` (B, h, w, C), possibly masked, mixed or packed by a method.
            segment_ids: Integer map shared by the batch; its grid must divide the grid of every stage. Tokens
                attend to each other only if their segment IDs are equal. None: no restriction.
            coords: Original coordinates of packed tokens: (row, column) in tokens of the whole image,
                int64 (B, h, w, 2). None if the map is a whole image.
            visible: Original coordinates of tokens, shared by the batch: (row, column) in tokens of the whole
                image, int64 (h, w, 2), on the CPU. Windows are those of the whole image, of which each
                contains its visible tokens only. Every block of tokens that patch merging unites, also over
                all stages, must be a block of the whole image. None if the map is a whole image.
        """

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return a normalised map (B, C_i, H/s_i, W/s_i) of images (B, 3, H, W) for every out index.

        Sizes are rounded up. Padding of a batch is not masked, as in all published recipes.
        """
        maps = self.encode(self.embed(images))
        for i, norm in self.out_norms.items():
            maps[int(i)] = norm(maps[int(i)])
        return tuple(maps[i].permute(0, 3, 1, 2).contiguous() for i in self.out_indices)
