"""Loading and checking of segmentation maps; error messages name the file."""

import io

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray
from PIL import Image

from mixmae_bench.datasets.corrupt import Loader
from mixmae_bench.datasets.frames import Size, orientation
from mixmae_bench.errors import UserError
from mixmae_bench.registry import TRANSFORMS

IGNORED = 255


@TRANSFORMS.register_module()
class LoadSegMap(Loader):
    """Load `seg_map_path` like mmseg's LoadAnnotations, after LoadImage, and check its size and values.

    Adds `gt_seg_map`, (H, W) uint8: classes from 0; 255 is ignored.

    Args:
        num_classes: Number of classes.
        backend_args: See mmseg's LoadAnnotations.
        skips: See Loader.
    """

    def __init__(self, num_classes: int, backend_args: dict | None = None, skips: dict | None = None) -> None:
        super().__init__(skips)
        self.num_classes = num_classes
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict | None:
        """Load the map; return None if it is skipped.

        Raises:
            UserError: If it is corrupt, has another size than the image or a value out of range, and may not
                be skipped; or if the data set selects a subset of its classes (`label_map`).
        """
        if results.get("label_map") is not None:
            raise UserError(
                "data: mixmae_bench.LoadSegMap does not support a subset of the classes; use LoadAnnotations"
            )
        path = results["seg_map_path"]
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            labels = read_labels(
                content, self.num_classes, bool(results["reduce_zero_label"]), results["ori_shape"]
            )
        except (OSError, ValueError) as error:
            return self.unusable(path, getattr(error, "strerror", None) or str(error))
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results


def read_labels(
    content: bytes, num_classes: int | None, reduce_zero: bool, size: Size | None = None
) -> NDArray[np.uint8]:
    """Decode a segmentation map to (H, W) uint8: classes from 0; 255 is ignored.

    Palette images give their indices, 1-bit images 0 and 1.

    Args:
        content: Content of the file.
        num_classes: Number of classes, or None if unknown.
        reduce_zero: Whether 0 is 'other', which is ignored, and classes begin at 1.
        size: Height and width of its image, or None if unknown.

    Raises:
        OSError: If it is truncated or not an image.
        ValueError: If it has another size, several channels, an EXIF orientation, or a value out of range;
            the message states which.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            stored, exif = np.array(image), orientation(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError("the file is truncated or not an image") from error
    if size and stored.shape != size:
        found, wanted = ("x".join(map(str, shape)) for shape in (stored.shape, size))
        raise ValueError(f"it is {found}, its image {wanted} (height x width)")
    if stored.ndim != 2:
        raise ValueError(
            f"it has {stored.shape[2]} channels ({'x'.join(map(str, stored.shape))}); a map has one, "
            "the class index"
        )
    if exif != 1:
        raise ValueError(f"it has an EXIF orientation ({exif}); save it without")
    first = int(reduce_zero)
    last = first + num_classes - 1 if num_classes else IGNORED
    if stored.dtype.kind == "f" and not (stored == np.floor(stored)).all():
        raise ValueError("it contains fractions; a map contains class indices")
    beyond = stored[((stored > last) & (stored != IGNORED)) | (stored < 0)]
    if beyond.size:
        raise ValueError(f"it has the value {beyond.max()}; classes end at {last}")
    labels = stored.astype(np.uint8)
    ignored = labels == IGNORED
    labels = labels - np.uint8(first)  # 0 - 1 is 255
    labels[ignored] = IGNORED
    return labels
