"""Command `mixmae-bench reconstruct`: draw reconstructions of a pretrained model."""

import io
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.functional import center_crop, resize

from mixmae_bench.backbones.loading import load_model
from mixmae_bench.engine.config import check_model, find_data, load_config
from mixmae_bench.engine.pictures import draw_grid, sample
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method
from mixmae_bench.registry import MODELS
from mixmae_bench.system.files import write_atomically

COUNT = 8
"""Default number of images, if none are given."""


def reconstruct(config: Path, checkpoint: Path, images: list[Path], out: Path, seed: int) -> str:
    """Write a PNG grid of images, the encoder's masked input, and the reconstructions.

    Args:
        config: Config of a pretraining method.
        checkpoint: Checkpoint of its run, or a converted checkpoint that includes the decoder.
        images: Image files; if empty, images of the config's training set are used.
        out: Output file, .png.
        seed: Seed of the mask.

    Returns:
        A one-line summary.

    Raises:
        UserError: If the config is not of a pretraining method, the checkpoint or an image does not fit, or
            `out` cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise UserError(f"--out is {out}; give a file name that ends in .png")
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is {seed}; give an integer from 0 to 2^32 - 1")
    cfg = load_config(config)
    init_default_scope(cfg.get("default_scope", "mmengine"))
    check_model(cfg)
    method = MODELS.build(cfg.model) if cfg.get("model") else None
    if not isinstance(method, Method):
        raise UserError(f"config {config} has no pretraining method of this package; see configs/pretrain")
    load_model(method, checkpoint)
    if images:
        side = method.backbone.grid[0] * method.backbone.out_strides[0]
        inputs = method.data_preprocessor({"inputs": [_read(path, side) for path in images]})["inputs"]
    else:
        inputs = sample(DATASETS.build(find_data(cfg).train_dataloader.dataset), method, COUNT, seed)
    sheet = draw_grid(method, inputs, seed)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    write_atomically(out, png.getvalue())
    return f"wrote {out}: {len(inputs)} images, masked with seed {seed}"


def _read(path: Path, side: int) -> Tensor:
    """Read the center crop of an image as uint8 (3, side, side), in BGR like OpenMMLab's pipelines."""
    try:
        image = Image.open(path).convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"image {path} does not exist; check the path") from error
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"image {path} cannot be read: {error}") from error
    image = center_crop(resize(image, side, Image.Resampling.BICUBIC), side)
    return torch.from_numpy(np.array(image)[..., ::-1].copy()).permute(2, 0, 1)
