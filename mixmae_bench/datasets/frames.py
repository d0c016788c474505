"""EXIF orientation: images must be loaded in the orientation of their boxes and segmentation maps.

Cameras store a photo as the sensor reads it and record in EXIF how to rotate it. Some annotation tools use
the stored image, others the rotated one. Height and width of the annotation (or of the segmentation map) show
which.
"""

import io
import os
from collections.abc import Iterable, Mapping
from functools import partial
from multiprocessing.pool import ThreadPool

from PIL import ExifTags, Image

from mixmae_bench.datasets.leaves import dicts, type_name
from mixmae_bench.errors import UserError

QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

THREADS = 16
"""Reading headers is bound by the disk, not by the CPU."""

Size = tuple[int, int]
"""Height and width, px."""


def header(file: str | bytes) -> tuple[Size, int] | None:
    """Return the stored size of an image and its EXIF orientation (1: none).

    For TIFF files, which all decoders rotate, the size is the rotated one. Return None for an image that is
    too large for Pillow.

    Raises:
        OSError: If the file is missing or not an image.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            return (image.height, image.width), orientation(image)
    except Image.DecompressionBombError:
        return None
    except (SyntaxError, ValueError) as error:
        raise OSError("the file is damaged") from error


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF that cannot be parsed is ignored
        return 1
    return found if found in range(1, 9) else 1


def turns(stored: Size, exif: int, wanted: Size) -> bool:
    """Return whether the EXIF orientation must be applied for an image to match its annotation.

    Args:
        stored: Stored size of the image.
        exif: EXIF orientation of the image.
        wanted: Size in the annotation.

    Raises:
        ValueError: If the annotation fits neither orientation, or fits both; the message states which.
    """
    upright = stored[::-1] if exif in QUARTER_TURNS else stored
    if wanted not in (stored, upright):
        raise ValueError(wrong_size(stored, wanted))
    if exif != 1 and stored == upright:
        raise ValueError(
            f"its EXIF orientation is {exif}, and its size does not show whether its annotation was made "
            "before or after rotation; save it rotated and without EXIF orientation"
        )
    return exif != 1 and wanted == upright


def wrong_size(size: Size, wanted: Size) -> str:
    """Return the message for an image that has another size than its annotation."""
    return f"it is {size[0]}x{size[1]}, its annotation says {wanted[0]}x{wanted[1]}"


def annotated_size(item: Mapping) -> Size | None:
    """Return the height and width in the annotation of a data set's item, or None."""
    size = item.get("height"), item.get("width")
    return None if None in size else size


def image_loader(pipeline: object) -> dict | None:
    """Return the config of the first transform of a pipeline that loads images from files, or None."""
    return next((s for s in dicts(pipeline) if type_name(s) in ("LoadImage", "LoadImageFromFile")), None)


def check_frames(items: Iterable[Mapping], loader: Mapping, skips: bool) -> None:
    """Check that images will be loaded in the size of their annotation; items without a size are ignored.

    Args:
        items: Items of a data set.
        loader: Config of the transform that loads the images.
        skips: Whether training skips corrupt images, so that they are no error here.

    Raises:
        UserError: At the first image that has another size or is corrupt.
    """
    known = [item for item in items if annotated_size(item) and isinstance(item.get("img_path"), str)]
    with ThreadPool(THREADS) as pool:
        for item, problem in zip(known, pool.imap(partial(_problem, loader=loader), known, 64), strict=True):
            if problem == UNREADABLE and skips:
                continue
            if problem:
                raise UserError(f"data: {item['img_path']} cannot be used: {problem}")


UNREADABLE = "the file is missing or not an image; repair or remove it"


def _problem(item: Mapping, loader: Mapping) -> str | None:
    try:
        found = header(item["img_path"])
    except OSError:
        return UNREADABLE
    return frame_problem(found, annotated_size(item), loader) if found else None


def frame_problem(found: tuple[Size, int], wanted: Size, loader: Mapping) -> str | None:
    """Return why an image will not match its annotation when loaded, or None.

    Args:
        found: Stored size and EXIF orientation of the image (see `header`).
        wanted: Size in the annotation.
        loader: Config of the transform that loads it.
    """
    stored, exif = found
    if type_name(loader) != "LoadImage" and _ignores_exif(loader):
        return None if stored == wanted else wrong_size(stored, wanted)
    try:
        turned = turns(stored, exif, wanted)
    except ValueError as error:
        return str(error)
    if exif != 1 and not turned and type_name(loader) != "LoadImage":
        return (
            f"its EXIF orientation is {exif}, which {type_name(loader)} applies, but its annotation fits "
            "the stored image; load it by mixmae_bench.LoadImage"
        )
    return None


def _ignores_exif(loader: Mapping) -> bool:
    """Return whether the color_type of mmcv's LoadImageFromFile ignores EXIF orientation."""
    color = loader.get("color_type", "color")
    return color == "unchanged" or str(color).endswith("ignore_orientation")


def check_paths(items: Iterable[Mapping], source: str, skips: bool) -> None:
    """Check that the images of a list exist.

    Args:
        items: Items of a data set.
        source: The list, for the message.
        skips: Whether training skips missing images, so that they are no error here. A path with a byte order
            mark, a backslash or outer blanks is always an error.

    Raises:
        UserError: At the first image that does not exist.
    """
    for item in items:
        path = item.get("img_path")
        if not isinstance(path, str) or "://" in path or os.path.isfile(path):
            continue
        odd = "\ufeff" in path or "\\" in path or path != path.strip()
        if odd:
            raise UserError(
                f"data: {source} names {path!r}, which does not exist; write the list in UTF-8 without byte "
                "order mark, with / in paths and without blanks around them"
            )
        if not skips:
            raise UserError(f"data: {source} names {path}, which does not exist; put it there")
