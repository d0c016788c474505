"""Classification data: a folder per class, in train and val or without a split."""

from pathlib import Path

from mixmae_bench.datasets.class_counts import some
from mixmae_bench.datasets.tuning_split import tuning_images
from mixmae_bench.errors import UserError
from mixmae_bench.finetune.found import (
    SEED,
    SHARE,
    SUFFIXES,
    TRAIN,
    VAL,
    Found,
    counts_fact,
    folder_of,
    image_files,
    look,
    split_counts,
    split_fact,
)

LAYOUT = "expected train/CLASS/IMAGE and val/CLASS/IMAGE, or CLASS/IMAGE"


def find_classification(root: Path) -> Found:
    """Find class folders.

    Raises:
        UserError: If there are none, there is one class only, a class has no training image, or train and val
            have different classes.
    """
    train, val = folder_of(root, TRAIN) or root, folder_of(root, VAL)
    if val and train == root:
        raise UserError(f"data: {root} has a folder {val.name}, but none of training images; {LAYOUT}")
    files = _classes(train)
    if len(files) < 2:
        seen = f"only the class {some(list(files))}" if files else "no folder of a class"
        raise UserError(f"data: {train} has {seen}; {LAYOUT}, with two classes or more")
    if empty := [name for name, own in files.items() if not own]:
        raise UserError(
            f"data: {train / empty[0]} has no image ({', '.join(SUFFIXES)}); add images, or remove the folder"
        )
    labels = [label for label, own in enumerate(files.values()) for _ in own]
    if val is None:
        chosen = tuning_images(labels, SHARE, SEED)
        images = split_counts(len(chosen), len(labels), train)
        notes = [split_fact("of every class")]
    else:
        theirs = _classes(val)
        _check_same(train, list(files), val, list(theirs))
        images = len(labels), sum(map(len, theirs.values()))
        if not images[1]:
            raise UserError(f"data: {val} has no image; add images, or remove the folder to split {train}")
        notes = [f"split: {train.name} and {val.name}, as given"]
        if unseen := [name for name, own in theirs.items() if not own]:
            notes.append(f"note: no validation image of {some(unseen)}")
    sizes = [len(own) for own in files.values()]
    size, looks = look([file for own in files.values() for file in own])
    facts = (
        f"data: {root}: class folders",
        f"classes: {len(files)} ({some(list(files))})",
        counts_fact(images, f"; {min(sizes)} to {max(sizes)} per class"),
        *notes,
        looks,
    )
    return Found(_config(train), val and _config(val), tuple(files), images, size, facts)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the images of every class folder, in the order of mmpretrain's labels."""
    folders = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.name)
    for path in folders:
        if path.name.startswith("."):
            raise UserError(f"data: {path} is a hidden folder and would be a class; remove it")
    return {path.name: image_files(path) for path in folders}


def _check_same(train: Path, ours: list[str], val: Path, theirs: list[str]) -> None:
    if new := sorted(set(theirs) - set(ours)):
        raise UserError(
            f"data: {val} has the class {some(new)}, which {train} lacks; a class without training images "
            "cannot be learnt: remove it, or add training images"
        )
    if missing := sorted(set(ours) - set(theirs)):
        raise UserError(
            f"data: {val} has no folder {some(missing)}, a class of {train}; create it (it may be empty)"
        )


def _config(folder: Path) -> dict:
    return dict(
        type="CustomDataset", data_root=str(folder.parent), data_prefix=folder.name, extensions=list(SUFFIXES)
    )
