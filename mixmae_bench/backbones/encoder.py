"""The contract of every encoder used for pretraining.

A method stands between two steps: `embed` turns images into tokens, `encode` turns tokens into stage
maps. What a method hides, mixes or packs happens between the two, so any method runs on any encoder.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator

from mmengine.model import BaseModule
from torch import Tensor, nn

from mixmae_bench.backbones.loading import load_backbone


class Encoder(BaseModule, metaclass=ABCMeta):
    """A hierarchical encoder: `forward` is `encode(embed(images))` at the chosen `out_indices`.

    Attributes:
        out_channels: Channels of every stage.
        out_strides: Pixels per token of every stage.
        grid: Tokens (rows, columns) of the first stage that its tables are made for.
        in_chans: Channels of the images.
        audit: What `load_backbone` returned, after `init_weights` from a checkpoint.
        norm: Of the last stage's map.
        with_cp: Whether blocks keep no activations for the backward pass (see `checkpointing.call`).
    """

    out_channels: list[int]
    out_strides: list[int]
    grid: tuple[int, int]
    in_chans: int = 3
    audit: dict
    norm: nn.Module
    with_cp: bool

    def __init__(
        self, out_indices: tuple[int, ...], num_stages: int, with_cp: bool, init_cfg: dict | None
    ) -> None:
        if not all(-num_stages <= i < num_stages for i in out_indices):
            raise ValueError(f"out_indices {tuple(out_indices)} of an encoder with {num_stages} stages")
        if init_cfg and init_cfg.get("type") != "Pretrained":
            raise ValueError(
                f"init_cfg of an encoder is dict(type='Pretrained', checkpoint=FILE), not {init_cfg}"
            )
        super().__init__(init_cfg)
        self.out_indices = tuple(i % num_stages for i in out_indices)
        self.with_cp = with_cp

    def add_out_norms(self) -> None:
        """Add the norms of the stages before the last, which only dense tasks read.

        No pretraining checkpoint holds them: they start as identity, like the ones of mmdet's Swin.
        """
        last = len(self.out_channels) - 1
        self.out_norms = nn.ModuleDict(
            {str(i): nn.LayerNorm(self.out_channels[i]) for i in self.out_indices if i != last}
        )

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) into tokens (B, H/s, W/s, C), s = `out_strides[0]`, without positions."""

    def embed_token(self, token: Tensor) -> Tensor:
        """Turn a learnt stand-in for a patch (..., C) into a token, where the embedding normalises (U2)."""
        return token

    def encode(
        self, tokens: Tensor, segment_ids: Tensor | None = None, coords: Tensor | None = None
    ) -> list[Tensor]:
        """Turn tokens (B, h, w, C) into one map (B, h_i, w_i, C_i) per stage, the last one normalised.

        Arguments as of `stage_maps`.
        """
        maps = list(self.stage_maps(tokens, segment_ids, coords))
        maps[-1] = self.norm(maps[-1])
        return maps

    @abstractmethod
    def stage_maps(
        self, tokens: Tensor, segment_ids: Tensor | None = None, coords: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Give one map (B, h_i, w_i, C_i) after the other, none of them normalised.

        Args:
            tokens: What `embed` gave, after a method hid, mixed or packed some of it.
            segment_ids: Integer map of who may see whom, shared by the batch, on a grid that divides the grid
                of every stage; None lets all tokens of a window see each other.
            coords: Where packed tokens come from, (row, column) in tokens of the whole image,
                int64 (B, h, w, 2); None where the map is a whole image.
        """

    @abstractmethod
    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        """Resize, in `state`, position and bias tables of another input size; return what was resized."""

    @abstractmethod
    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Return the depth of a parameter, from 0 (embedding), and the number of depths, head included."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Turn images (B, 3, H, W) into normalised maps (B, C_i, H/s_i, W/s_i), one per out index.

        Sides are rounded up. Padding of a batch is seen like image, as in all published recipes.
        """
        maps = self.encode(self.embed(images))
        for i, norm in self.out_norms.items():
            maps[int(i)] = norm(maps[int(i)])
        return tuple(maps[i].permute(0, 3, 1, 2).contiguous() for i in self.out_indices)

    def init_weights(self) -> None:
        """Fill the encoder from `init_cfg=dict(type='Pretrained', checkpoint=...)`, if there is one.

        Unlike mmengine's loader, this one stops where the checkpoint does not fit (see `load_backbone`).
        """
        if self.init_cfg and not self._is_init:
            self.audit = load_backbone(self, self.init_cfg["checkpoint"])
        self._is_init = True
