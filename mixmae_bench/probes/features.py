"""Features of a frozen backbone: of every stage, pooled and as tokens on a common grid."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader

from mixmae_bench.backbones.backbone import Backbone
from mixmae_bench.backbones.layers.simple_pyramid import STRIDE
from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.system.files import atomic_path

POOLED, TOKENS = "pooled", "tokens"
"""Kinds of features."""

NOT_OF_FEATURES = ("init_cfg", "out_indices", "pooled", "with_cp")
"""Arguments of backbones that choose weights, outputs or memory, and do not change the maps of the stages."""


@dataclass(frozen=True)
class Features:
    """Features of the images of one data set.

    Attributes:
        pooled: Mean over all tokens of every stage, each (N, C_i) float32.
        tokens: Tokens of every stage on the grid of the last, each (N, T, C_i) float32; empty if not asked
            for. The arrays are memory-mapped.
        labels: Labels (N,) int64.
        key: Hash of everything that determines the features.
    """

    pooled: list[NDArray[np.float32]]
    tokens: list[NDArray[np.float32]]
    labels: NDArray[np.int64]
    key: str


def of_all_stages(config: dict) -> dict:
    """Return the config of a backbone, changed to return the maps of all stages.

    Maps before the last are normalised as for dense tasks: by layer norms with weight 1 and bias 0, unless
    the checkpoint has their weights. The last map is as in the config. A plain ViT has one stage, its last
    map, without the feature pyramid that dense tasks make of it.

    Raises:
        UserError: If the backbone is not of this package.
    """
    own = {key: value for key, value in config.items() if key not in NOT_OF_FEATURES}
    built = None
    if str(config["type"]).startswith("mixmae_bench."):
        with torch.device("meta"):
            built = MODELS.build(own)
    if not isinstance(built, Backbone):
        raise UserError(
            f"backbone {config['type']} is not of this package, and its stages are not known; use one of "
            "`mixmae-bench ls models`, such as mixmae_bench.TimmBackbone"
        )
    if hasattr(built, "out_pyramid"):
        return {**own, "out_indices": (built.out_strides.index(STRIDE),)}
    stages = len(built.out_channels)
    return {**own, "out_indices": tuple(range(stages))} if stages > 1 else own


def build_model(
    backbone: dict, preprocessor: dict | None, checkpoint: str | None, seed: int, scope: str
) -> nn.Module:
    """Build a classifier without a head, with a frozen backbone in evaluation mode.

    Args:
        backbone: Result of `of_all_stages`.
        preprocessor: Config of the data preprocessor, or None for mmpretrain's default.
        checkpoint: Checkpoint of the backbone, or None for random weights.
        seed: Seed of the random weights.
        scope: mmengine's default scope.

    Raises:
        UserError: If the checkpoint does not fit (see `load_backbone`).
    """
    if checkpoint:
        backbone = {**backbone, "init_cfg": dict(type="Pretrained", checkpoint=checkpoint)}
    with DefaultScope.overwrite_default_scope(scope), safe_loaders(), torch.random.fork_rng():
        torch.manual_seed(seed)
        config = dict(type="ImageClassifier", _scope_="mmpretrain", backbone=backbone)
        model = MODELS.build({**config, "data_preprocessor": preprocessor})
        model.backbone.init_weights()
    return model.requires_grad_(False).eval()


def weights_hash(module: nn.Module) -> str:
    """Return the first 16 hex digits of the SHA-256 of all parameters and buffers, with names and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def names(stages: int, kinds: tuple[str, ...]) -> list[str]:
    """Return the names of the arrays of features, of all stages and kinds."""
    return [f"{kind}{stage + 1}" for kind in kinds for stage in range(stages)]


def reduce_maps(maps: tuple[Tensor, ...], kinds: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the features of maps (B, C_i, H_i, W_i) by the names of `names`.

    Tokens are average-pooled to the grid of the last map, row by row.
    """
    grid = maps[-1].shape[-2:]
    reductions = {
        POOLED: lambda own: own.mean(dim=(2, 3)),
        TOKENS: lambda own: adaptive_avg_pool2d(own, grid).flatten(2).transpose(1, 2),
    }
    reduced = [reductions[kind](own.float()) for kind in kinds for own in maps]
    return dict(zip(names(len(maps), kinds), reduced, strict=True))


@torch.inference_mode()
def extract(
    model: nn.Module,
    loader: DataLoader,
    kinds: tuple[str, ...],
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Compute the features of all images of a loader, and write them to NAME.npy in a folder, atomically.

    Args:
        model: Result of `build_model`, on its device.
        loader: Loader that yields every image once, in order.
        kinds: Kinds of features.
        folder: Folder of the files.
        progress: Called with the number of images that are done.

    Raises:
        UserError: If features are NaN or infinite, or the disk is too small.
    """
    images, done = len(loader.dataset), 0
    with ExitStack() as stack:
        arrays: dict[str, NDArray] = {}
        for batch in loader:
            inputs = model.data_preprocessor(batch, training=False)["inputs"]
            features = reduce_maps(model.backbone(inputs), kinds)
            if not arrays:
                shapes = {name: (images, *own.shape[1:]) for name, own in features.items()}
                check_room(folder, shapes)
                for name, shape in shapes.items():
                    path = stack.enter_context(atomic_path(folder / f"{name}.npy"))
                    arrays[name] = open_memmap(path, "w+", np.float32, shape)
            for name, own in features.items():
                if not own.isfinite().all():
                    raise UserError(
                        f"features '{name}' of images {done} to {done + len(own) - 1} are NaN or infinite; "
                        "check the weights"
                    )
                arrays[name][done : done + len(own)] = own.cpu().numpy()
            done += len(inputs)
            progress(done)
        for array in arrays.values():
            array.flush()


def check_room(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Check that float32 arrays fit on the disk of a folder.

    Raises:
        UserError: If they do not.
    """
    needed = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    if needed > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"features of {needed / 2**30:.1f} GiB do not fit on the disk of {folder}, which has "
            f"{free / 2**30:.1f} GiB left; set MIXMAE_BENCH_CACHE to another folder, or leave out attentive "
            "probes (--probes)"
        )
