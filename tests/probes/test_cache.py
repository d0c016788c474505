"""The cache of features: used for the same identity, and never for another one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mixmae_bench.errors import UserError
from mixmae_bench.probes import cache, features
from mixmae_bench.probes.frozen import Frozen, Probed
from mixmae_bench.probes.source import Source

ARCH = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(4, 4))


def paint(root: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        for number in range(6):
            path = root / split / str(number % 2) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def config(root: Path, pipeline: tuple[dict, ...] = (), std: float = 64.0) -> Config:
    steps = [dict(type="LoadImageFromFile"), *pipeline, dict(type="PackInputs")]
    loaders = {
        f"{split}_dataloader": dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(
                type="CustomDataset",
                data_root=str(root),
                data_prefix=split,
                pipeline=steps,
                serialize_data=False,  # mmengine collects garbage for half a second to serialise
            ),
        )
        for split in ("train", "val")
    }
    backbone = dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32)
    preprocessor = dict(mean=[127.5] * 3, std=[std] * 3, to_rgb=True)
    return Config(
        dict(
            default_scope="mmpretrain",
            model=dict(type="ImageClassifier", backbone=backbone),
            data_preprocessor=preprocessor,
            **loaders,
        )
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, beside an empty cache."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    paint(tmp_path / "images", 0)
    return tmp_path / "images"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images of all extractions, in order."""
    calls: list[int] = []

    def extract(model: object, loader: object, *args: object) -> None:
        calls.append(len(loader.dataset))
        features.extract(model, loader, *args)

    monkeypatch.setattr(cache, "extract", extract)
    return calls


def probe(cfg: Config, *, checkpoint: Path | None = None, seed: int = 0, tokens: bool = False) -> Probed:
    source = Source("config", cfg, checkpoint and str(checkpoint), "images")
    return Frozen(source, lambda *_: None).probed(seed, tokens)


def checkpoint_of(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    backbone = features.MODELS.build(dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in backbone.state_dict().items()}}, path)
    return path


def test_features_of_the_same_identity_are_computed_once(folder: Path, computed: list[int]) -> None:
    first, again = probe(config(folder)), probe(config(folder))
    assert computed == [6, 6]
    assert (first.train.key, first.val.key) == (again.train.key, again.val.key)
    assert first.train.key != first.val.key
    for own, other in zip(first.train.pooled, again.train.pooled, strict=True):
        np.testing.assert_array_equal(own, other)


def test_features_and_labels_are_in_the_order_of_the_images(folder: Path) -> None:
    found = probe(config(folder), tokens=True)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    first = sorted((folder / "train").glob("*/*.png"))[4]
    image = np.asarray(Image.open(first), np.float32)
    model = features.build_model(
        features.of_all_stages(config(folder).model.backbone.to_dict()), None, None, 0, "mmpretrain"
    )
    maps = model.backbone(torch.from_numpy((image - 127.5) / 64).permute(2, 0, 1)[None])
    for own, pooled in zip(maps, found.train.pooled, strict=True):
        np.testing.assert_allclose(pooled[4], own.mean((2, 3))[0], atol=1e-5)
    expected = maps[-1].flatten(2).transpose(1, 2)[0]
    np.testing.assert_allclose(found.train.tokens[-1][4], expected, atol=1e-5)


Change = Callable[[Path], Probed]

CHANGES: dict[str, Change] = {
    "weights of a checkpoint": lambda root: probe(
        config(root), checkpoint=checkpoint_of(root.parent / "a.pth", 5)
    ),
    "random weights of another seed": lambda root: probe(config(root), seed=1),
    "pipeline": lambda root: probe(config(root, (dict(type="RandomFlip", prob=1.0),))),
    "size": lambda root: probe(config(root, (dict(type="Resize", scale=64),))),
    "normalisation": lambda root: probe(config(root, std=50.0)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_features_are_not_those_of_another(what: str, folder: Path, computed: list[int]) -> None:
    first, other = probe(config(folder)), CHANGES[what](folder)
    assert computed == [6, 6, 6, 6]
    assert first.train.key != other.train.key
    assert not np.allclose(first.train.pooled[0], other.train.pooled[0], atol=1e-4)


def test_features_are_not_those_of_another_checkpoint_of_the_same_name(folder: Path) -> None:
    path = folder.parent / "a.pth"
    first, other = (probe(config(folder), checkpoint=checkpoint_of(path, seed)) for seed in (1, 2))
    assert first.train.key != other.train.key
    assert not np.allclose(first.train.pooled[0], other.train.pooled[0], atol=1e-4)


def test_features_are_not_those_of_other_images_of_the_same_names(folder: Path) -> None:
    other = folder.parent / "others"
    paint(other, 1)
    first, second = probe(config(folder)), probe(config(other))
    assert first.train.key != second.train.key
    assert not np.allclose(first.train.pooled[0], second.train.pooled[0], atol=1e-4)


def test_features_are_not_those_of_images_before_they_changed(folder: Path) -> None:
    first = probe(config(folder))
    paint(folder, 1)
    for path in folder.glob("*/*/*.png"):
        os.utime(path, ns=(10**18, 10**18))  # else the change may be within the clock's resolution
    second = probe(config(folder))
    assert first.train.key != second.train.key
    assert not np.allclose(first.train.pooled[0], second.train.pooled[0], atol=1e-4)


def test_features_are_not_those_of_other_code(
    folder: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(config(folder))
    monkeypatch.setattr(cache, "code_hash", lambda modules: "of another version")
    probe(config(folder))
    assert computed == [6, 6, 6, 6]


def test_tokens_are_added_to_pooled_features(folder: Path, computed: list[int]) -> None:
    assert probe(config(folder)).train.tokens == []
    assert [own.shape for own in probe(config(folder), tokens=True).train.tokens] == [(6, 16, 8), (6, 16, 16)]
    assert computed == [6, 6, 6, 6]
    probe(config(folder)), probe(config(folder), tokens=True)
    assert computed == [6, 6, 6, 6]


@pytest.mark.parametrize("damage", ["truncated", "missing", "of another identity"])
def test_a_damaged_cache_is_computed_again(damage: str, folder: Path, computed: list[int]) -> None:
    first = probe(config(folder))
    own = cache.cache_folder() / cache.FOLDER / first.train.key
    if damage == "truncated":
        (own / "pooled2.npy").write_bytes((own / "pooled2.npy").read_bytes()[:-8])
    elif damage == "missing":
        (own / "pooled2.npy").unlink()
    else:
        (own / cache.IDENTITY).write_text(json.dumps({"weights": "others"}))
    again = probe(config(folder))
    assert computed == [6, 6, 6]
    np.testing.assert_array_equal(first.train.pooled[1], again.train.pooled[1])


def test_an_interrupted_extraction_leaves_nothing_that_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduce_maps = features.reduce_maps
    calls: list[int] = []

    def interrupted(*args: object) -> dict:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return reduce_maps(*args)

    monkeypatch.setattr(features, "reduce_maps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe(config(folder))
    assert [path for path in cache.cache_folder().rglob("*") if path.is_file()] == []
    monkeypatch.setattr(features, "reduce_maps", reduce_maps)
    assert len(probe(config(folder)).train.pooled[0]) == 6


def test_features_that_are_not_finite_are_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match=r"features 'pooled1' of images 0 to 3 are NaN or infinite"):
        probe(config(folder, std=0.0))


def test_features_that_do_not_fit_on_the_disk_are_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = features.shutil.disk_usage(folder)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(UserError, match=r"do not fit on the disk of .* MIXMAE_BENCH_CACHE"):
        probe(config(folder))
