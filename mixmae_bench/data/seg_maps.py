"""Loading segmentation maps; what training would fail on later, or silently learn, is told with the file."""

import io

import numpy as np
from mmengine import fileio
from PIL import Image

from mixmae_bench.data.unreadable import Loader
from mixmae_bench.errors import UserError
from mixmae_bench.registry import TRANSFORMS

IGNORED = 255


@TRANSFORMS.register_module()
class LoadSegMap(Loader):
    """Loads `seg_map_path` as mmseg's LoadAnnotations does, after LoadImage, and checks size and values.

    Adds `gt_seg_map`, (H, W) uint8: classes from 0, and 255 for what is ignored.

    Args:
        num_classes: How many classes there are.
        backend_args: As for mmseg's LoadAnnotations.
        skips: See Loader.
    """

    def __init__(self, num_classes: int, backend_args: dict | None = None, skips: dict | None = None) -> None:
        super().__init__(skips)
        self.num_classes = num_classes
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict | None:
        """Load the map; None where it is skipped.

        Raises:
            UserError: Where it cannot be read, is of another size than the image, or has a value beyond the
                classes, and may not be skipped; or where the data set's classes are a choice of its own.
        """
        if results.get("label_map") is not None:
            raise UserError(
                "data: mixmae_bench.LoadSegMap takes all classes; use LoadAnnotations for a choice"
            )
        path = results["seg_map_path"]
        try:
            with Image.open(io.BytesIO(fileio.get(path, backend_args=self.backend_args))) as image:
                stored = np.array(image)
        except (OSError, SyntaxError, ValueError) as error:
            return self.unusable(
                path, getattr(error, "strerror", None) or "the file is no image, or truncated"
            )
        if stored.shape != results["ori_shape"]:
            size, wanted = ("x".join(map(str, shape)) for shape in (stored.shape, results["ori_shape"]))
            return self.unusable(path, f"it is {size}, its image {wanted} (height x width)")

        first = int(results["reduce_zero_label"])  # then 0 is 'other', which is ignored
        beyond = stored[(stored >= first + self.num_classes) & (stored != IGNORED)]
        if beyond.size:
            last = first + self.num_classes - 1
            return self.unusable(path, f"it has the value {beyond.max()}; classes end at {last}")
        labels = stored.astype(np.uint8) - np.uint8(first)  # 0 - 1 is 255
        labels[stored == IGNORED] = IGNORED
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results
