"""Checks of a COCO file before training.

They find annotations that mmdet's loader would drop without a warning, and that COCO's evaluation would fail
on or miscount. In a file that passes, every annotation is used as written, and predictions equal to the
annotations have an AP of 1. The only exception in training are boxes without extent, which mmdet drops:
COCO's train2017 has two annotations with a height of 0.
"""

import functools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from mixmae_bench.errors import UserError


@dataclass(frozen=True)
class CocoFile:
    """The contents of a COCO file.

    Attributes:
        path: The file.
        images: Image IDs.
        names: Category names by ID, in the order of the file, which is the order of the labels.
        empty: Names of the categories without an object; crowd annotations do not count.
    """

    path: str
    images: frozenset
    names: dict
    empty: tuple[str, ...]


def check_coco(path: str | Path, masks: bool, evaluated: bool) -> CocoFile:
    """Read a COCO file and check it without its images; results are cached per process.

    Args:
        path: The file.
        masks: Whether masks are used.
        evaluated: Whether the file is the ground truth of COCO's evaluation, which is stricter than mmdet's
            loader.

    Raises:
        UserError: At the first image, category or annotation that would be dropped, miscounted,
            or fail later. The message names the file and the ID.
    """
    status = os.stat(path)
    return _check(str(path), (status.st_mtime_ns, status.st_size), masks, evaluated)


def same_truth(one: str | Path, other: str | Path) -> bool:
    """Return whether two COCO files hold the same images, categories and annotations."""
    if os.path.samefile(one, other):
        return True
    first, second = (_read(str(path)) for path in (one, other))
    return all(first.get(key) == second.get(key) for key in ("images", "categories", "annotations"))


def _read(path: str) -> dict:
    try:
        with open(path) as file:  # as pycocotools reads it
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data: {path} cannot be read: {type(error).__name__}: {reason}") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise UserError(f"data: {path} is no COCO file: it has no list of images")
    return content


@functools.cache
def _check(path: str, stamp: tuple[int, int], masks: bool, evaluated: bool) -> CocoFile:
    content = _read(path)

    def refuse(what: str) -> None:
        raise UserError(f"data: {path}: {what}")

    names, sizes, files = {}, {}, {}
    for number, category in enumerate(_list(content, "categories", refuse)):
        if not isinstance(category, dict) or not {"id", "name"} <= category.keys():
            refuse(f"category number {number + 1} has no id or no name")
        if not isinstance(category["id"], int | str):
            refuse(f"category '{category['name']}' has the id {category['id']!r}; give a number")
        if category["id"] in names or category["name"] in names.values():
            refuse(f"category {category['id']} ('{category['name']}') is listed twice")
        names[category["id"]] = category["name"]
    for number, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            refuse(f"image number {number + 1} has no id")
        id_, file = image["id"], image.get("file_name") or image.get("coco_url")
        if id_ in sizes:
            refuse(f"image {id_} is listed twice")
        if not isinstance(file, str):
            refuse(f"image {id_} has no file_name")
        if file in files:
            refuse(f"images {files[file]} and {id_} are the same file, {file}; list its objects under one id")
        size = image.get("height"), image.get("width")
        if not all(_number(side) and side > 0 for side in size):
            refuse(f"image {id_} ({file}) has no height and width in pixels")
        sizes[id_], files[file] = size, id_
    ids, objects = set(), set()
    for number, note in enumerate(_list(content, "annotations", refuse)):
        if not isinstance(note, dict) or not isinstance(note.get("id"), int | float | str):
            refuse(f"annotation number {number + 1} has no id")
        if note["id"] in ids:
            refuse(f"annotation {note['id']} is listed twice; give each an id of its own")
        ids.add(note["id"])
        if problem := _problem(note, sizes, names, masks, evaluated):
            refuse(f"annotation {note['id']} {problem}")
        if not note.get("iscrowd"):
            objects.add(note["category_id"])
    empty = tuple(name for id_, name in names.items() if id_ not in objects)
    return CocoFile(path, frozenset(sizes), names, empty)


def _list(content: dict, key: str, refuse: object) -> list:
    value = content.get(key, [])
    if not isinstance(value, list):
        refuse(f"'{key}' is no list")
    return value


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _problem(note: dict, sizes: dict, names: dict, masks: bool, evaluated: bool) -> str | None:
    """Return the problem of an annotation, or None."""
    image, category = note.get("image_id"), note.get("category_id")
    if not isinstance(image, int | str) or image not in sizes:
        return f"is of image {image!r}, which is not listed"
    if not isinstance(category, int | str) or category not in names:
        return f"is of category {category!r}, which is not listed"
    if note.get("iscrowd", 0) not in (0, 1, None):
        return f"has iscrowd {note['iscrowd']!r}; give 0 or 1"
    height, width = sizes[image]
    if problem := _box_problem(note, height, width):
        return problem
    if evaluated and (problem := _truth_problem(note)):
        return problem
    if masks and (evaluated or min(note["bbox"][2:]) > 0):
        return _mask_problem(note.get("segmentation"), height, width, evaluated)
    return None


def _box_problem(note: dict, height: float, width: float) -> str | None:
    box, area = note.get("bbox"), note.get("area")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)):
        return f"has no bbox of four numbers (x, y, width, height), but {box!r}"
    if not _number(area):
        return f"has no area, but {area!r}; give the pixels of its mask, or of its box"
    x, y, w, h = box
    if w < 0 or h < 0:
        return f"has a bbox of negative width or height, {box}"
    if w == 0 or h == 0:
        return None  # dropped in training; `_truth_problem` checks evaluation
    if area <= 0:
        return f"has the area {area}; mmdet leaves it out. Give the pixels of its mask, or of its box"
    inside = (min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0))
    if min(inside) <= 0 or 2 * inside[0] * inside[1] < w * h:
        return (
            f"has a bbox {box} mostly outside of its image, which is {width} wide and {height} high; "
            "a bbox is x, y, width, height in pixels"
        )
    return None


def _truth_problem(note: dict) -> str | None:
    """Return why COCO's evaluation would fail on an annotation or not count it, or None."""
    if not _number(note["id"]) or note["id"] <= 0:
        return "has an id that COCO's evaluation reads as no match; number annotations from 1"
    if note.get("iscrowd") is None:
        return "has no iscrowd, which COCO's evaluation requires; give 0 (or 1 for a crowd)"
    if note.get("ignore") and not note["iscrowd"]:
        return "has 'ignore', so mmdet drops it and COCO's evaluation counts it; set iscrowd to 1"
    if min(note["bbox"][2:]) <= 0 and not note["iscrowd"]:
        return f"has a bbox without extent, {note['bbox']}, which no detection can match; remove it"
    return None


def _mask_problem(mask: object, height: float, width: float, evaluated: bool) -> str | None:
    if isinstance(mask, list) and mask:
        try:
            finite = all(math.isfinite(sum(part)) for part in mask)
            whole = [len(part) >= 6 and len(part) % 2 == 0 for part in mask]
        except TypeError:
            finite = False
        if not finite:
            return "has a segmentation that is no list of polygons [x0, y0, x1, y1, ...]"
        # mmdet skips polygons with fewer than three corners; pycocotools reads four values as a box.
        if not any(whole) or (evaluated and len(mask[0]) <= 4):
            return "has a polygon of fewer than three corners; give [x0, y0, x1, y1, x2, y2, ...]"
        return None
    if isinstance(mask, dict) and isinstance(mask.get("counts"), list | str):
        if mask.get("size") != [height, width]:
            return f"has a mask of size {mask.get('size')}, its image is [{height}, {width}] (height, width)"
        return None
    return f"has no segmentation, but {str(mask)[:40]}, and masks are used; give polygons or run lengths"
