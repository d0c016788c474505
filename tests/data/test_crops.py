"""Random resized crops are mmpretrain's for the same seed, and resized by Pillow's filters."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.dataset import worker_init_fn
from mmpretrain.datasets.transforms import RandomResizedCrop as TheirRandomResizedCrop
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_image
from torchvision.transforms import RandomResizedCrop as TorchvisionRandomResizedCrop

from mixmae_bench.datasets.crops import RandomResizedCrop
from mixmae_bench.errors import UserError

PHOTO = load_sample_image("china.jpg")[:375, :500]
WHOLE = dict(crop_ratio_range=(1, 1), aspect_ratio_range=(4 / 3, 4 / 3))


def triangle(x: NDArray) -> NDArray:
    return np.maximum(1 - np.abs(x), 0)


def cubic(x: NDArray, a: float = -0.5) -> NDArray:
    """Keys' kernel with the parameter that Pillow has."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    return np.where(x < 1, near, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0))


def weights(kernel: Callable[[NDArray], NDArray], size: int, out: int) -> NDArray:
    """Return the (out, size) matrix that resamples an axis, the kernel stretched where it shrinks."""
    step = size / out
    centres = (np.arange(out)[:, None] + 0.5) * step - 0.5
    matrix = kernel((np.arange(size) - centres) / max(step, 1))
    return matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [(375, 500), (300, 280), (120, 90), (150, 400), (30, 40)])
@pytest.mark.parametrize(("interpolation", "kernel"), [("bilinear", triangle), ("bicubic", cubic)])
def test_resizing_is_antialiased_as_computed_in_float64(
    interpolation: str, kernel: Callable, size: tuple[int, int]
) -> None:
    height, width = size
    image = PHOTO[:height, :width]
    crop = RandomResizedCrop(
        (96, 128),
        crop_ratio_range=(1, 1),
        aspect_ratio_range=(width / height, width / height),
        interpolation=interpolation,
    )
    ours = crop(dict(img=image))["img"]
    rows, columns = weights(kernel, height, 96), weights(kernel, width, 128)
    wide = np.einsum("hwc,jw->hjc", image.astype(np.float64), columns, optimize=True)
    wide = wide.clip(0, 255).round()  # 8 bits between the passes, as in Pillow
    exact = np.einsum("ih,hjc->ijc", rows, wide, optimize=True).clip(0, 255)
    assert np.abs(ours - exact).max() < 2
    assert np.abs(ours - exact).mean() < 0.26  # rounding at the end: 0.25


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_are_mmpretrains_for_the_same_seed(interpolation: str) -> None:
    arguments = dict(scale=[96, 64], crop_ratio_range=(0.2, 1.0), interpolation=interpolation)
    ours, theirs = RandomResizedCrop(**arguments), TheirRandomResizedCrop(**arguments, backend="pillow")
    for seed in range(12):
        made = []
        for crop in (ours, theirs):
            np.random.seed(seed)
            made.append(crop(dict(img=PHOTO, other=seed)))
        assert made[0].keys() == made[1].keys()
        assert made[0]["img_shape"] == made[1]["img_shape"] == (96, 64, 3)
        difference = np.abs(made[0]["img"].astype(int) - made[1]["img"])
        assert (difference > 0).mean() < 0.02
        assert (difference > 1).mean() < 0.001  # Pillow resizes tall crops in the other order


@pytest.mark.parametrize("size", [(375, 500), (100, 400)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    height, width = size
    np.random.seed(0)
    torch.manual_seed(0)
    image, tensor = np.zeros((*size, 3), np.uint8), torch.zeros(3, *size)
    crop = RandomResizedCrop(224, crop_ratio_range=(0.2, 1.0))
    ours = np.array([crop.rand_crop_params(image) for _ in range(3000)])
    theirs = np.array(
        [TorchvisionRandomResizedCrop.get_params(tensor, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)]
    )
    for told in (
        lambda top, left, h, w: h * w / (height * width),
        lambda top, left, h, w: np.log(w / h),
        lambda top, left, h, w: top / np.maximum(height - h, 1),
        lambda top, left, h, w: left / np.maximum(width - w, 1),
    ):
        assert ks_2samp(told(*ours.T), told(*theirs.T)).pvalue > 1e-3
    if size == (375, 500):
        ratios = np.log(ours[:, 3] / ours[:, 2])
        assert np.abs(ratios).max() < math.log(4 / 3) + 0.02


class Photos(torch.utils.data.Dataset):
    """The same photo many times, cropped."""

    def __init__(self) -> None:
        self.crop = RandomResizedCrop(16, interpolation="bicubic")

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> NDArray:
        return self.crop(dict(img=PHOTO))["img"]


def batches(seed: int) -> list[torch.Tensor]:
    init = partial(worker_init_fn, num_workers=2, rank=0, seed=seed)
    return list(torch.utils.data.DataLoader(Photos(), 4, num_workers=2, worker_init_fn=init))


def test_workers_draw_different_crops_and_a_seed_repeats_them() -> None:
    first, second = batches(seed=0)
    assert len({image.numpy().tobytes() for image in [*first, *second]}) == 8
    assert all((a == b).all() for a, b in zip([first, second], batches(seed=0), strict=True))
    assert (first != batches(seed=2)[0]).any()


def test_channels_in_turned_order_are_cropped() -> None:
    """As Pillow's RGB becomes BGR: by a negative stride, which PyTorch refuses."""
    image = PHOTO[..., ::-1]
    expected = Image.fromarray(image).resize((64, 48), Image.Resampling.BICUBIC)
    cropped = RandomResizedCrop([48, 64], **WHOLE, interpolation="bicubic")(dict(img=image))["img"]
    assert np.abs(cropped.astype(int) - np.array(expected)).max() <= 2


def test_another_interpolation_is_refused() -> None:
    with pytest.raises(UserError, match=r"no interpolation 'bicubik'; .*mean 'bicubic'"):
        RandomResizedCrop(224, interpolation="bicubik")
