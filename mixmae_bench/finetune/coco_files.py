"""Detection data: COCO files (JSON) of train and val, or one file without a split."""

import json
from pathlib import Path

from mixmae_bench.datasets.class_counts import some
from mixmae_bench.datasets.coco import check_coco
from mixmae_bench.datasets.leaves import sample
from mixmae_bench.datasets.tuning_split import tuning_images
from mixmae_bench.errors import UserError
from mixmae_bench.finetune.found import (
    SEED,
    SHARE,
    TRAIN,
    VAL,
    Found,
    counts_fact,
    folder_of,
    look,
    split_counts,
    split_fact,
)

FOLDERS = ("", "annotations", "labels")
"""Folders of annotation files, besides those of the splits."""

PREFERRED = "instances_"
"""Beginning of COCO's own files of boxes and masks; captions and key points are in others."""

LAYOUT = (
    "expected COCO files such as annotations/instances_train2017.json and instances_val2017.json, train.json "
    "and val.json, train/_annotations.coco.json and valid/_annotations.coco.json, or one file"
)


def find_detection(root: Path) -> Found:
    """Find COCO files and the folders of their images.

    Raises:
        UserError: If there are none or several for a split, a file cannot be used, or images are missing.
    """
    train, val = _files(root)
    files = [file for file in (train, val) if file]
    contents = {file: _read(file) for file in files}
    folders = {file: _image_folder(root, file, contents[file]) for file in files}
    without = [_without_masks(contents[file]) for file in files]
    masks = not any(lacking for lacking, _ in without)
    known = [check_coco(file, masks, evaluated=file == (val or train)) for file in files]
    classes = tuple(known[0].names.values())
    if not classes:
        raise UserError(f"data: {train} has no categories")
    total = len(contents[train]["images"])
    if val:
        images, notes = (total, len(contents[val]["images"])), [f"split: {train.name} and {val.name}"]
    else:
        images = split_counts(len(tuning_images([None] * total, SHARE, SEED)), total, train)
        notes = [split_fact("at random")]
    if not masks:
        lacking, objects = (sum(counts) for counts in zip(*without, strict=True))
        notes.append(f"masks: {lacking} of {objects} annotations have none, so boxes only (Faster R-CNN)")
    else:
        notes.append("masks: every annotation has one (Mask R-CNN)")
    if known[0].empty:
        notes.append(f"note: no training object of {some(known[0].empty)}")
    size, looks = look([folders[f] / image["file_name"] for f in files for image in contents[f]["images"]])
    objects = sum(len(content["annotations"]) for content in contents.values())
    facts = (
        f"data: {root}: COCO files; images in {', '.join(dict.fromkeys(map(str, folders.values())))}",
        f"classes: {len(classes)} ({some(classes)})",
        counts_fact(images, f"; {objects} objects"),
        *notes,
        looks,
    )
    configs = [_config(root, file, folders[file], classes) for file in files]
    return Found(configs[0], configs[1] if val else None, classes, images, size, facts, masks)


def _files(root: Path) -> tuple[Path, Path | None]:
    """Return the COCO file of training, and of validation if there is one."""
    places = [root / name for name in FOLDERS]
    places += [folder for folder in (folder_of(root, TRAIN), folder_of(root, VAL)) if folder]
    files = [file for place in places if place.is_dir() for file in sorted(place.glob("*.json"))]
    files = [file for file in files if file.name.startswith(PREFERRED)] or files
    if not files:
        raise UserError(f"data: {root} has no JSON file; {LAYOUT}")
    if len(files) == 1:
        return files[0], None
    own = {split: [file for file in files if _is_of(file, root, split)] for split in (TRAIN, VAL)}
    if len(own[VAL]) > 1:  # a validation file is preferred to a test file
        own[VAL] = [file for file in own[VAL] if not _is_of(file, root, ("test",))]
    for split, found in own.items():
        if len(found) != 1:
            names = ", ".join(str(file.relative_to(root)) for file in found or files)
            raise UserError(
                f"data: {root} has {len(found)} COCO files of {split[0]} ({names}); keep one; {LAYOUT}"
            )
    return own[TRAIN][0], own[VAL][0]


def _is_of(file: Path, root: Path, split: tuple[str, ...]) -> bool:
    words = str(file.relative_to(root).with_suffix("")).lower()
    return any(name in words for name in split)


def _read(file: Path) -> dict:
    """Return the content of a COCO file without its unused parts; `check_coco` reports what is wrong."""
    check_coco(file, masks=False, evaluated=False)
    with open(file) as text:
        content = json.load(text)
    return {key: content.get(key, []) for key in ("images", "annotations")}


def _without_masks(content: dict) -> tuple[int, int]:
    """Return the number of annotations without a mask, and of all."""
    notes = content["annotations"]
    return sum(not note.get("segmentation") for note in notes), len(notes)


def _image_folder(root: Path, file: Path, content: dict) -> Path:
    """Return the folder that the images of a COCO file are in.

    Raises:
        UserError: If no folder has them all.
    """
    names = [image.get("file_name") for image in content["images"]]
    if not names or not all(names):
        raise UserError(f"data: {file} has {'an image without a file_name' if names else 'no image'}")
    split = file.stem.removeprefix(PREFERRED)
    places = [file.parent, root, root / "images", root / split, root / "images" / split]
    for words in (TRAIN, VAL):
        if _is_of(file, root, words):
            parents = [folder for folder in (root, root / "images") if folder.is_dir()]
            places += [folder for parent in parents if (folder := folder_of(parent, words))]
    some_names = sample(names, 100)
    best = max(places, key=lambda place: sum((place / name).is_file() for name in some_names))
    if missing := next((name for name in names if not (best / name).is_file()), None):
        tried = ", ".join(dict.fromkeys(str(place) for place in places if place.is_dir()))
        raise UserError(
            f"data: {file} names the image {missing}, which is in none of {tried}; put the images there"
        )
    return best


def _config(root: Path, file: Path, images: Path, classes: tuple[str, ...]) -> dict:
    return dict(
        type="CocoDataset",
        data_root=str(root),
        ann_file=str(file.relative_to(root)),
        data_prefix=dict(img=str(images.relative_to(root))),
        metainfo=dict(classes=classes),
    )
