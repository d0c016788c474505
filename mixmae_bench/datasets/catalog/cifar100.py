"""CIFAR-100 from the unpacked `cifar-100-python`; nothing is downloaded."""

import pickle
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CIFAR100 as _CIFAR100

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

PICKLED = {("_codecs", "encode"), ("numpy", "ndarray"), ("numpy", "dtype")}
"""Globals in the pickled files, besides numpy's `_reconstruct`, which moved between versions of numpy."""


@DATASETS.register_module()
class CIFAR100(_CIFAR100):
    """CIFAR-100 from the unpacked `cifar-100-python`. The unpickler builds arrays only and runs no code.

    Args:
        data_root: Folder that contains `cifar-100-python`.
        split: 'train' or 'test'.
        kwargs: Arguments of mmpretrain's CIFAR100. Nothing is downloaded.
    """

    def __init__(self, data_root: str, split: str = "train", **kwargs) -> None:
        super().__init__(data_root=data_root, split=split, download=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return `img`, (32, 32, 3) uint8 RGB, and `gt_label` of every image.

        Raises:
            UserError: If the file is missing or is not the published one.
        """
        path = Path(self.data_prefix["root"], self.base_folder, self.split)
        try:
            with open(path, "rb") as file:
                content = _DataOnly(file, encoding="latin1").load()
            images = np.asarray(content["data"]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels = content["fine_labels"]
        except OSError as error:
            raise UserError(
                f"data: {path} cannot be read ({error.strerror}); unpack cifar-100-python.tar.gz there"
            ) from error
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"data: {path} is not the file of cifar-100-python.tar.gz: {error}") from error
        return [dict(img=image, gt_label=int(label)) for image, label in zip(images, labels, strict=True)]


class _DataOnly(pickle.Unpickler):
    """Unpickler that builds arrays and rejects everything that could run code."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in PICKLED or (module.startswith("numpy.") and name == "_reconstruct"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    labels = [0, 1, 50, 99]
    for split in ("train", "test"):
        content = dict(
            data=rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
            fine_labels=labels,
            coarse_labels=[0] * len(labels),
            filenames=[f"{split}{number}.png" for number in range(len(labels))],
        )
        (folder / split).write_bytes(pickle.dumps(content, protocol=2))


def _part(split: str, images: int) -> Part:
    return Part(split, images, 100, (dict(type="mixmae_bench.CIFAR100", split=split),))


add_dataset(
    DatasetEntry("cifar100", "data/cifar100", (_part("train", 50_000), _part("test", 10_000)), _make_tiny)
)
