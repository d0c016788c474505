"""Rows of features: some images, and one or all stages, joined when they are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Features of some images, with the channels of several stages joined.

    Attributes:
        parts: Features of each stage (N, ..., C_i).
        index: Numbers of the images (n,).
    """

    parts: Sequence[NDArray[np.float32]]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def dim(self) -> int:
        """Number of channels C."""
        return sum(part.shape[-1] for part in self.parts)

    @property
    def tokens(self) -> int:
        """Number of tokens per image; 1 for pooled features."""
        return 1 if self.parts[0].ndim == 2 else self.parts[0].shape[1]

    def at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features (len(places), ..., C) of the images at some places of `index`."""
        chosen = self.index[places]
        return np.concatenate([part[chosen] for part in self.parts], axis=-1)

    def all(self) -> NDArray[np.float32]:
        """Return all features (n, ..., C)."""
        return self.at(np.arange(len(self)))
