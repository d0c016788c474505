"""What is wrong with data is told at every entrance: train.py, test.py, `run` and `validate`."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import make_coco, make_scene, save, write_coco

from mixmae_bench.cli import main
from mixmae_bench.validate.step import prove

ROOT = Path(__file__).parents[2]
SUITE = "name: test\nversion: 1\nmethods: {scratch: }\ntasks: {task: x_1xb8_digits.py}\nseeds: [0]\n"


def classification(root: Path) -> tuple[str, str]:
    for split in ("train", "val"):
        for number in range(10):
            folder = "zero" if (split, number) == ("val", 0) else str(number)
            save(root / split / folder / "0.png", np.zeros((32, 32, 3), np.uint8))
    return f"data_root={str(root)!r}, indices=None", r"labels mean other classes in .*/train than in .*/val"


def detection(root: Path) -> tuple[str, str]:
    scenes = make_coco(root)
    scenes["categories"] += [dict(id=100 + n, name=str(n)) for n in range(8)]
    names = tuple(category["name"] for category in scenes["categories"])
    write_coco(root, "a.json", scenes, lambda content: content["annotations"][3].pop("segmentation"))
    return (
        f"data_root={str(root)!r}, ann_file='a.json', data_prefix=dict(img=''), indices=None, "
        f"metainfo=dict(classes={names!r})",
        r"a.json: annotation 4 has no segmentation",
    )


def segmentation(root: Path) -> tuple[str, str]:
    for number in range(8):
        save(root / f"map/{number}.png", make_scene(root, number) * 255)
    prefix = dict(img_path="img", seg_map_path="map")
    return (
        f"data_root={str(root)!r}, data_prefix={prefix!r}, indices=None",
        "segmentation maps of .* show no class",
    )


def written(make: Callable[[Path], tuple[str, str]], root: Path) -> tuple[Path, str]:
    """Write a smoke config with data of one's own; return it and what must be said."""
    own, said = make(root / "own")
    text = [f"_base_ = {str(ROOT / 'tests/smoke' / f'{make.__name__}.py')!r}"]
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        mine = own
        if make is classification:
            mine += f", data_prefix={'train' if loader == 'train_dataloader' else 'val'!r}"
        text.append(f"{loader} = dict(dataset=dict({mine}))")
    config = root / "x_1xb8_digits.py"
    config.write_text("\n".join(text) + "\n")
    return config, said


def train(config: Path) -> list[str]:
    return [str(ROOT / "tools/train.py"), str(config), "--work-dir", str(config.parent / "work")]


def evaluate(config: Path) -> list[str]:
    (config.parent / "x.pth").touch()
    own = [str(config), str(config.parent / "x.pth"), "--work-dir", str(config.parent / "work")]
    return [str(ROOT / "tools/test.py"), *own]


def run(config: Path) -> list[str]:
    (config.parent / "suite.yaml").write_text(SUITE)
    return ["run", str(config.parent / "suite.yaml"), "--work-dir", str(config.parent / "work")]


@pytest.mark.parametrize("entrance", [train, evaluate, run])
@pytest.mark.parametrize("make", [classification, detection, segmentation])
def test_wrong_data_is_one_line_before_anything_is_trained(
    make: Callable[[Path], tuple[str, str]],
    entrance: Callable[[Path], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    config, said = written(make, tmp_path)
    command = entrance(config)
    if entrance in (train, evaluate):
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(command[0], run_name="__main__")
        status = stopped.value.code
    else:
        status = main(command)
    err = capfd.readouterr().err
    assert status == 2
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(said, lines[0])
    assert not list((tmp_path / "work").rglob("*.pth"))


def test_validate_tells_it_as_a_configs_error(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    config, said = written(segmentation, tmp_path)
    proof = prove(config, tmp_path / "work", full=False, checkpoint=None)
    torch.set_num_threads(threads)
    assert re.search(said, proof.error)
