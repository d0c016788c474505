"""The catalog of data sets: every entry is whole, and no two are for the same data."""

from dataclasses import replace
from pathlib import Path

import pytest

from mixmae_bench.datasets.catalog import CATALOG, add_dataset, make_tiny, published_images


@pytest.mark.parametrize("change", [dict(name="mine"), dict(root="data/mine")])
def test_a_second_entry_of_a_name_or_root_is_refused(change: dict) -> None:
    known = dict(CATALOG)
    with pytest.raises(ValueError, match="there is one of that name or root"):
        add_dataset(replace(CATALOG["coco"], **change))
    assert known == CATALOG


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.make_tiny])
def test_a_tiny_copy_is_the_same_every_time(name: str, tmp_path: Path) -> None:
    copies = []
    for root in (tmp_path / "one", tmp_path / "other"):
        make_tiny(name, root)
        copies.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert copies[0] == copies[1]
    assert len(copies[0]) > 1


def test_images_are_those_of_the_part_that_a_config_reads() -> None:
    for entry in CATALOG.values():
        for part in entry.parts:
            for layout in part.layouts:
                assert published_images({**layout, "data_root": f"{entry.root}/"}) == part.images
    digits = dict(data_root="data/digits/classification", data_prefix="val")
    assert published_images(digits) == 800, "a root inside the one of the entry"
    assert published_images(dict(data_root="data/imagenet", data_prefix="test")) is None
