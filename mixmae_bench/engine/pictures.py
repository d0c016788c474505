"""Pictures of pretraining: the input as the encoder sees it, and the reconstruction."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.utils.data import Dataset

from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.methods.method import Method
from mixmae_bench.registry import HOOKS

MARGIN, LINE = 4, 14
SMALLEST = 112
"""Side in pixels; smaller images are enlarged with nearest-neighbour interpolation."""


def draw_grid(method: Method, images: Tensor, seed: int) -> Image.Image:
    """Draw a grid with a row per image and a column per picture, masked with `seed` (see `columns_of`)."""
    return draw(columns_of(method, images, seed))


@torch.no_grad()
def columns_of(method: Method, images: Tensor, seed: int) -> dict[str, np.ndarray]:
    """Return the pictures of a method by title: RGB, uint8 (B, H, W, 3).

    Args:
        method: The method with its weights; temporarily set to evaluation mode.
        images: Output of its data preprocessor, (B, 3, H, W).
        seed: Seed of torch's and numpy's random generators, which are restored afterwards.
    """
    training = method.training
    method.eval()
    with _seeded(seed):
        mask = method.draw_mask(images)
    columns = {"original": images, **method.pictures(images, mask)}
    method.train(training)
    return {title: _to_rgb(method.data_preprocessor, column) for title, column in columns.items()}


def draw(columns: dict[str, np.ndarray]) -> Image.Image:
    """Draw columns of pictures side by side under their titles."""
    rows, *side = next(iter(columns.values())).shape[:3]
    scale = max(1, -(-SMALLEST // max(side)))
    height, width = (pixels * scale for pixels in side)
    head = 6 + LINE * max(title.count("\n") + 1 for title in columns)
    sheet = Image.new(
        "RGB", (MARGIN + len(columns) * (width + MARGIN), head + rows * (height + MARGIN)), "white"
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for i, (title, column) in enumerate(columns.items()):
        left = MARGIN + i * (width + MARGIN)
        pen.text((left, 3), title, "black", font)
        for j, pixels in enumerate(column):
            size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
            picture = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
            sheet.paste(picture, (left, head + j * (height + MARGIN)))
    return sheet


def sample(dataset: Dataset, method: Method, count: int, seed: int) -> Tensor:
    """Return `count` images at even intervals of a data set, preprocessed as in training."""
    with _seeded(seed):
        chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
        inputs = [dataset[i]["inputs"] for i in chosen]
    return method.data_preprocessor({"inputs": inputs})["inputs"]


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Adds a picture of the same training images, with the same masks each time, to the run's visualizer.

    mmengine's default back end writes pictures to `vis_data/vis_image/`; TensorBoard and others show them.

    Args:
        interval: Epochs between pictures; the last epoch always has one.
        count: Number of images.
        seed: Seed of the masks and of random crops.
    """

    def __init__(self, interval: int = 1, count: int = 8, seed: int = 0) -> None:
        self.interval = interval
        self.count = count
        self.seed = seed

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        method = unwrapped(runner.model)
        images = sample(runner.train_dataloader.dataset, method, self.count, self.seed)
        sheet = draw_grid(method, images, self.seed)
        runner.visualizer.add_image("reconstruction", np.asarray(sheet), runner.epoch + 1)


def _to_rgb(preprocessor: torch.nn.Module, images: Tensor) -> np.ndarray:
    """Undo a data preprocessor's normalisation: (B, 3, H, W) to uint8 (B, H, W, 3) in RGB."""
    if getattr(preprocessor, "_enable_normalize", False):
        images = images * preprocessor.std + preprocessor.mean
    if not getattr(preprocessor, "to_rgb", False):
        images = images.flip(1)  # OpenMMLab's pipelines load BGR
    return images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(force=True)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
