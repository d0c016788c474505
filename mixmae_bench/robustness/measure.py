"""Which of the predictions of a classifier are correct."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from mmengine.device import get_device
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mixmae_bench.errors import UserError

MOST = 5
"""Predictions per image, for top-5."""


def best_classes(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the `MOST` classes with the highest logits among some classes, the highest first.

    Args:
        logits: Logits of all classes (B, C).
        classes: Classes that an image may have. The logits of all others are ignored.

    Returns:
        Classes (B, MOST).
    """
    chosen = torch.as_tensor(classes, device=logits.device)
    return chosen[logits[:, chosen].topk(MOST, dim=1).indices]


def correct(best: NDArray[np.int64], truth: Sequence[Collection[int]]) -> NDArray[np.bool_]:
    """Return whether one of the first k classes is right, for k from 1.

    Args:
        best: Predicted classes (N, K), the best first.
        truth: Right classes of every image.

    Returns:
        Whether one of the first k + 1 predictions is right (N, K).
    """
    right = [[label in labels for label in own] for own, labels in zip(best.tolist(), truth, strict=True)]
    return np.logical_or.accumulate(np.array(right), axis=1)


@torch.inference_mode()
def predict(
    model: nn.Module,
    loader: DataLoader,
    classes: Sequence[int],
    half: bool,
    progress: Callable[[int], None],
) -> tuple[NDArray[np.int64], str, list[int]]:
    """Return the best classes of all images of a loader.

    Args:
        model: Classifier of mmpretrain in evaluation mode, on its device.
        loader: Loader that yields every image once, in order.
        classes: See `best_classes`.
        half: Whether to use autocast.
        progress: Called with the number of images that are done.

    Returns:
        Classes (N, MOST), the number format of the logits, and height and width of the images.

    Raises:
        UserError: If logits are NaN or infinite.
    """
    found, done = [], 0
    for batch in loader:
        with torch.autocast(get_device(), enabled=half):
            inputs = model.data_preprocessor(batch, training=False)["inputs"]
            logits = model(inputs, mode="tensor")
        if not logits.isfinite().all():
            raise UserError(
                f"logits of images {done} to {done + len(logits) - 1} are NaN or infinite; check the weights"
            )
        found.append(best_classes(logits, classes).cpu().numpy())
        done += len(logits)
        progress(done)
    return np.concatenate(found), str(logits.dtype).removeprefix("torch."), list(inputs.shape[-2:])
