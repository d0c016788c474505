"""The frame of an image and of its annotation: boxes and maps must lie on the pixels that are loaded.

Cameras store a photo as its sensor lies and note in EXIF how to turn it. Annotation tools work on either.
Height and width of the annotation (or of the segmentation map) tell on which.
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
"""Looking at files waits for the disk."""

Size = tuple[int, int]
"""Height and width, px."""


def header(file: str | bytes) -> tuple[Size, int] | None:
    """Return the size of an image as stored and its EXIF orientation (1: none).

    Of TIFF files, which all decoders turn by themselves, the size is the one after turning. None for an image
    that is too large for Pillow.

    Raises:
        OSError: Where the file is missing or no image.
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
    except Exception:  # EXIF that cannot be parsed, in any way, turns nothing
        return 1
    return found if found in range(1, 9) else 1


def turns(stored: Size, exif: int, wanted: Size) -> bool:
    """Tell whether the EXIF orientation must be applied for an image to lie in its annotation's frame.

    Args:
        stored: Size of the image as stored.
        exif: Its EXIF orientation.
        wanted: Size that the annotation tells.

    Raises:
        ValueError: Where the sizes fit neither way or both ways; the message says which.
    """
    upright = stored[::-1] if exif in QUARTER_TURNS else stored
    if wanted not in (stored, upright):
        raise ValueError(wrong_size(stored, wanted))
    if exif != 1 and stored == upright:
        raise ValueError(
            f"its EXIF orientation is {exif}, and sizes do not tell whether its annotation was made "
            "before or "
            "after turning; save it turned and without EXIF orientation"
        )
    return exif != 1 and wanted == upright


def wrong_size(size: Size, wanted: Size) -> str:
    """Say that an image has another size than its annotation."""
    return f"it is {size[0]}x{size[1]}, its annotation says {wanted[0]}x{wanted[1]}"


def annotated_size(item: Mapping) -> Size | None:
    """Return height and width that the annotation of a data set's item tells, or None."""
    size = item.get("height"), item.get("width")
    return None if None in size else size


def image_loader(pipeline: object) -> dict | None:
    """Return the first step of a pipeline that loads images from files, or None."""
    return next((s for s in dicts(pipeline) if type_name(s) in ("LoadImage", "LoadImageFromFile")), None)


def check_frames(items: Iterable[Mapping], loader: Mapping, skips: bool) -> None:
    """Check for items with height and width that the image, as it will be loaded, has that size.

    Args:
        items: Of a data set.
        loader: Config of the step that loads the images.
        skips: Whether images that cannot be read are left to training, which skips them.

    Raises:
        UserError: At the first image of which it has not, or that cannot be read.
    """
    known = [item for item in items if annotated_size(item) and isinstance(item.get("img_path"), str)]
    with ThreadPool(THREADS) as pool:
        for item, problem in zip(known, pool.imap(partial(_problem, loader=loader), known, 64), strict=True):
            if problem == UNREADABLE and skips:
                continue
            if problem:
                raise UserError(f"data: {item['img_path']} cannot be used: {problem}")


UNREADABLE = "the file is missing, or no image; repair or remove it"


def _problem(item: Mapping, loader: Mapping) -> str | None:
    try:
        found = header(item["img_path"])
    except OSError:
        return UNREADABLE
    return frame_problem(found, annotated_size(item), loader) if found else None


def frame_problem(found: tuple[Size, int], wanted: Size, loader: Mapping) -> str | None:
    """Say why an image will not be loaded in the frame of its annotation, or None.

    Args:
        found: Its `header`.
        wanted: Size that the annotation tells.
        loader: Config of the step that loads it.
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
            f"its EXIF orientation is {exif}, which {type_name(loader)} applies, and its annotation lies on "
            "the stored pixels; load it by mixmae_bench.LoadImage"
        )
    return None


def _ignores_exif(loader: Mapping) -> bool:
    """Tell whether mmcv's LoadImageFromFile is set to take pixels as stored."""
    color = loader.get("color_type", "color")
    return color == "unchanged" or str(color).endswith("ignore_orientation")


def check_paths(items: Iterable[Mapping], source: str, skips: bool) -> None:
    """Check that images are where a list says.

    Args:
        items: Of a data set.
        source: The list, for the message.
        skips: Whether missing images are left to training, which skips them. A path that was read wrongly is
            an error all the same.

    Raises:
        UserError: At the first that is not there.
    """
    for item in items:
        path = item.get("img_path")
        if not isinstance(path, str) or "://" in path or os.path.isfile(path):
            continue
        odd = "\ufeff" in path or "\\" in path or path != path.strip()
        if odd:
            raise UserError(
                f"data: {source} names {path!r}, which does not exist; write the list in UTF-8 without byte "
                "order mark, with / in paths and without blanks behind them"
            )
        if not skips:
            raise UserError(f"data: {source} names {path}, which does not exist; put it there")
