"""Decoding images by one rule for all tasks."""

import io

import cv2
import numpy as np
from mmengine import fileio
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mixmae_bench.datasets.corrupt import Loader
from mixmae_bench.datasets.frames import Size, annotated_size, header, turns, wrong_size
from mixmae_bench.registry import TRANSFORMS

ENDS = {b"\xff\xd8": (b"\xff\xda", b"\xff\xd9"), b"\x89P": (b"IDAT", b"IEND")}
"""First bytes of JPEG and PNG files; what their last piece of pixels begins with, and what ends the file."""


def decode(content: bytes, turn: bool = True) -> NDArray[np.uint8]:
    """Decode an image file to (H, W, 3) uint8 BGR, as mmcv's LoadImageFromFile does.

    Greyscale gets three equal channels, 16 bits become 8 (the high ones), CMYK becomes RGB, alpha is ignored,
    and EXIF's orientation is applied. OpenCV 4 fills what is missing of a truncated file with grey;
    where a file has no end, or OpenCV refuses it, Pillow has the last word.

    Args:
        content: Of the file.
        turn: Whether EXIF's orientation is applied.

    Raises:
        ValueError: Where the file is empty, truncated or no image; the message says which.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        flags = cv2.IMREAD_COLOR | (0 if turn else cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    return _decode_by_pillow(content, turn) if image is None or not _ends(content) else image


def _ends(content: bytes) -> bool:
    """Tell whether a file's end comes after its last pixels; True for formats that are not in `ENDS`.

    A thumbnail inside has an end too. Read from behind, as both are there in a file that is whole.
    """
    if content[:2] not in ENDS:
        return True
    begin, end = ENDS[content[:2]]
    last = content.rfind(end)
    return last >= 0 and content.find(begin, last) < 0


def _decode_by_pillow(content: bytes, turn: bool) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array((ImageOps.exif_transpose(image) if turn else image).convert("RGB"))[..., ::-1]
    except UnidentifiedImageError as error:
        raise ValueError("the file is no image") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError("the file is truncated or damaged") from error


@TRANSFORMS.register_module()
class LoadImage(Loader):
    """Loads `img_path` as `decode` says; for LoadImageFromFile of mmpretrain, mmdet and mmseg.

    Adds `img`, (H, W, 3) uint8 BGR, `img_shape` and `ori_shape`, (H, W). Where boxes or a segmentation map
    belong to the image, it is loaded in their frame: EXIF's orientation is applied if their height and width
    are those of the turned image, and not if they are those of the stored one. Where both are the same
    (square images, half turns, mirrored ones), nothing tells, and the image cannot be used.

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
        path, wanted = results["img_path"], annotated_size(results)
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            image = decode(content, self._turns(content, wanted, results.get("seg_map_path")))
            if wanted and image.shape[:2] != wanted:
                raise ValueError(wrong_size(image.shape[:2], wanted))
        except (OSError, ValueError) as error:
            return self.unusable(path, getattr(error, "strerror", None) or str(error))
        results["img"] = image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _turns(self, content: bytes, wanted: Size | None, seg_map: str | None) -> bool:
        """Tell whether EXIF's orientation is to be applied; ValueError where that cannot be told."""
        if not (wanted or seg_map):
            return True
        try:
            found = header(content)
        except OSError:
            return True  # decoding says what is wrong
        if found is None or found[1] == 1:
            return True
        if wanted is None:
            size = header(fileio.get(seg_map, backend_args=self.backend_args))
            wanted = size[0] if size else found[0]
        return turns(*found, wanted)
