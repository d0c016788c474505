"""Timing input pipelines: on files like ImageNet's, in turn, each stage for itself."""

import json
from pathlib import Path

import pytest
import torch
from input_pipelines import Loading, Pipeline, main, measure
from photos import make_photos
from PIL import Image
from rich.console import Console

CONFIG = "mixmae_swin-b-w14_16xb128-600e_in1k"


def test_photos_are_like_imagenets_and_the_same_for_a_seed(tmp_path: Path) -> None:
    paths = make_photos(tmp_path / "a", 12, seed=1)
    contents = [path.read_bytes() for path in paths]
    assert 60_000 < sum(map(len, contents)) / 12 < 140_000
    assert contents == [path.read_bytes() for path in make_photos(tmp_path / "b", 12, seed=1)]
    assert len(set(contents)) == 12
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 333 <= min(image.size) <= max(image.size) <= 600


def test_pipelines_are_measured_in_turn_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = tmp_path / "loading.jsonl"
    main(["--images", "6", "--rounds", "3", "--record", str(record)])
    assert "6 JPEG files of" in capsys.readouterr().out
    results = [Loading(**json.loads(line)) for line in record.read_text().splitlines()]
    assert [r.pipeline for r in results] == ["mmpretrain", "torchvision", CONFIG]
    for r in results:
        assert len(r.stages_ms) == 5  # load, crop, flip, pack, collate
        assert min(r.stages_ms.values()) >= 0
        assert 0 < r.slowest <= r.images_per_s <= r.fastest


def test_every_stage_and_every_image_counts() -> None:
    seen = []

    def note(path: str) -> torch.Tensor:
        seen.append(Path(path).name)
        return torch.zeros(1)

    pipelines = [Pipeline(name, [("note", note)], str, torch.stack) for name in ("a", "b")]
    threads = torch.get_num_threads()
    first, _ = measure(pipelines, images=40, rounds=2, console=Console(quiet=True))
    assert list(first.stages_ms) == ["note", "collate"]
    once = [f"{number:05d}.JPEG" for number in range(40)]
    assert seen == 2 * once[:32] + 4 * once  # after a batch each to warm up, in turn
    assert torch.get_num_threads() == threads
