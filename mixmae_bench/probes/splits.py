"""Choice of images of the training data: the split for hyperparameters, and few shots per class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixmae_bench.datasets.tuning_split import tuning_images
from mixmae_bench.errors import UserError

SHARE = 0.2
"""Share of the training images on which hyperparameters are chosen."""


def carve(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the images to fit on and of those to choose hyperparameters on, stratified.

    Args:
        labels: Labels of the training images (N,).
        seed: Seed of the choice.

    Raises:
        UserError: If there are too few images.
    """
    chosen = tuning_images(labels.tolist(), SHARE, seed)
    if not chosen:
        raise UserError(
            f"data: {len(labels)} training images are too few to choose hyperparameters on {SHARE:.0%} of "
            "them; give a larger training set"
        )
    held = np.isin(np.arange(len(labels)), sorted(chosen))
    return np.flatnonzero(~held), np.flatnonzero(held)


def draw_shots(
    labels: NDArray[np.int64], rows: NDArray[np.int64], shots: int, seed: int, names: Sequence[str]
) -> NDArray[np.int64]:
    """Return the numbers of `shots` images of every class, sorted. Fewer shots of a seed are among its more.

    Args:
        labels: Labels of the training images (N,).
        rows: Numbers of the images to draw from.
        shots: Images per class.
        seed: Seed of the choice.
        names: Names of all classes, for messages.

    Raises:
        UserError: If a class of the training data has fewer images among `rows`.
    """
    drawn = []
    for label in np.unique(labels):
        own = rows[labels[rows] == label]
        if len(own) < shots:
            raise UserError(
                f"data: class '{names[label]}' has {len(own)} training images outside of the split for "
                f"hyperparameters, and {shots} shots need {shots}; leave out this probe (--probes)"
            )
        drawn.append(np.random.default_rng([seed, label]).permutation(own)[:shots])
    return np.sort(np.concatenate(drawn))


def check_classes(train: NDArray[np.int64], val: NDArray[np.int64], names: Sequence[str]) -> None:
    """Check that every class to be evaluated has training images.

    Raises:
        UserError: If one has none.
    """
    if len(absent := np.setdiff1d(val, train)):
        raise UserError(
            f"data: class '{names[absent[0]]}' has validation images, but no training image; add some"
        )
