"""Decoding images by one rule for all tasks."""

import io

import cv2
import numpy as np
from mmengine import fileio
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mixmae_bench.data.unreadable import Loader
from mixmae_bench.registry import TRANSFORMS

ENDS = {b"\xff\xd8": (b"\xff\xda", b"\xff\xd9"), b"\x89P": (b"IDAT", b"IEND")}
"""First bytes of JPEG and PNG files; what their last piece of pixels begins with, and what ends the file."""


def decode(content: bytes) -> NDArray[np.uint8]:
    """Decode an image file to (H, W, 3) uint8 BGR, as mmcv's LoadImageFromFile does.

    Greyscale gets three equal channels, 16 bits become 8 (the high ones), CMYK becomes RGB, alpha is ignored,
    and EXIF's orientation is applied. OpenCV 4 fills what is missing of a truncated file with grey;
    where a file has no end, or OpenCV refuses it, Pillow has the last word.

    Raises:
        ValueError: Where the file is empty, truncated or no image; the message says which.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    return _decode_by_pillow(content) if image is None or not _ends(content) else image


def _ends(content: bytes) -> bool:
    """Tell whether a file's end comes after its last pixels; True for formats that are not in `ENDS`.

    A thumbnail inside has an end too. Read from behind, as both are there in a file that is whole.
    """
    if content[:2] not in ENDS:
        return True
    begin, end = ENDS[content[:2]]
    last = content.rfind(end)
    return last >= 0 and content.find(begin, last) < 0


def _decode_by_pillow(content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1]
    except UnidentifiedImageError as error:
        raise ValueError("the file is no image") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError("the file is truncated or damaged") from error


@TRANSFORMS.register_module()
class LoadImage(Loader):
    """Loads `img_path` as `decode` says; for LoadImageFromFile of mmpretrain, mmdet and mmseg.

    Adds `img`, (H, W, 3) uint8 BGR, `img_shape` and `ori_shape`, (H, W).

    Args:
        backend_args: As for mmcv's LoadImageFromFile.
        skips: See Loader.
    """

    def __init__(self, backend_args: dict | None = None, skips: dict | None = None) -> None:
        super().__init__(skips)
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict | None:
        """Load the image; None where it is skipped.

        Raises:
            UserError: Where it cannot be read and may not be skipped.
        """
        path = results["img_path"]
        try:
            image = decode(fileio.get(path, backend_args=self.backend_args))
        except (OSError, ValueError) as error:
            return self.unusable(path, getattr(error, "strerror", None) or str(error))
        results["img"] = image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results
