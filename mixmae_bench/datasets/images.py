"""Image decoding, the same for all tasks."""

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
"""First bytes of JPEG and PNG files: the markers of the start of pixel data and of the end of the file."""


def decode(content: bytes, turn: bool = True) -> NDArray[np.uint8]:
    """Decode an image file to (H, W, 3) uint8 BGR, as mmcv's LoadImageFromFile does.

    Greyscale becomes three equal channels, CMYK becomes RGB, of 16 bits the high 8 are kept, alpha is
    ignored, and the EXIF orientation is applied. OpenCV 4 fills the missing part of a truncated file with
    grey. So if a file has no end marker, or OpenCV cannot decode it, it is decoded by Pillow.

    Args:
        content: Content of the file.
        turn: Whether to apply the EXIF orientation.

    Raises:
        ValueError: If the file is empty, truncated or not an image; the message states which.
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
    """Return whether the end marker follows the last pixel data; True for formats that are not in `ENDS`.

    The search goes backwards, as an embedded thumbnail has an end marker too.
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
        raise ValueError("the file is not an image") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError("the file is truncated or damaged") from error


@TRANSFORMS.register_module()
class LoadImage(Loader):
    """Load `img_path` with `decode`; replaces LoadImageFromFile of mmpretrain, mmdet and mmseg.

    Adds `img`, (H, W, 3) uint8 BGR, `img_shape` and `ori_shape`, (H, W). If the image has boxes or a
    segmentation map, it is loaded in their orientation: the EXIF orientation is applied if their height and
    width match the rotated image, and ignored if they match the stored one. If they match both (square
    images, rotation by 180 degrees, mirroring), the image is rejected as corrupt.

    Args:
        backend_args: See mmcv's LoadImageFromFile.
        skips: See Loader.
    """

    def __init__(self, backend_args: dict | None = None, skips: dict | None = None) -> None:
        super().__init__(skips)
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict | None:
        """Load the image; return None if it is skipped.

        Raises:
            UserError: If it is corrupt and may not be skipped.
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
        """Return whether to apply the EXIF orientation; raise ValueError if that is ambiguous."""
        if not (wanted or seg_map):
            return True
        try:
            found = header(content)
        except OSError:
            return True  # decoding reports the problem
        if found is None or found[1] == 1:
            return True
        if wanted is None:
            size = header(fileio.get(seg_map, backend_args=self.backend_args))
            wanted = size[0] if size else found[0]
        return turns(*found, wanted)
