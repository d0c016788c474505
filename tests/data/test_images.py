"""Images of every odd kind are decoded by one rule; what cannot be is an error with the path, or skipped."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.images import LoadImage, decode
from mixmae_bench.datasets.seg_maps import LoadSegMap
from mixmae_bench.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
SMOOTH = cv2.resize(PIXELS, (60, 72), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_alpha_is_ignored() -> None:
    alpha = RNG.integers(0, 256, (12, 10, 1), dtype=np.uint8)
    image = Image.fromarray(np.concatenate([PIXELS, alpha], axis=2))
    assert (decode(encoded(image)) == PIXELS[..., ::-1]).all()


def test_16_bits_keep_the_high_ones() -> None:
    deep = RNG.integers(0, 2**16, (12, 10), dtype=np.uint16)
    image = decode(encoded(Image.fromarray(deep)))
    assert image.dtype == np.uint8
    assert np.abs(image[..., 0].astype(int) - deep / 257).max() < 1.01


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA"])
def test_grey_and_palette_become_three_channels(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    assert (decode(encoded(image)) == np.array(image.convert("RGB"))[..., ::-1]).all()


def test_cmyk_becomes_rgb() -> None:
    image = decode(encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image.astype(int) - SMOOTH[..., ::-1]).mean() < 10


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = decode(encoded(Image.fromarray(SMOOTH), "JPEG", quality=100, exif=exif))
    turned = np.rot90(SMOOTH, -1)[..., ::-1]
    assert image.shape == turned.shape
    assert np.abs(image.astype(int) - turned).mean() < 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_ordinary_images_are_as_the_framework_loads_them(kind: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded(Image.fromarray(SMOOTH), kind))
    ours, theirs = (
        loader({"img_path": str(tmp_path / "image")}) for loader in (LoadImage(), LoadImageFromFile())
    )
    assert ours.keys() == theirs.keys()
    assert ours["ori_shape"] == theirs["ori_shape"] == ours["img_shape"] == (72, 60)
    assert (ours["img"] == theirs["img"]).all()


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_image_is_an_error(kind: str, options: dict, share: float) -> None:
    content = encoded(Image.fromarray(SMOOTH), kind, **options)
    assert decode(content).shape == SMOOTH.shape
    with pytest.raises(ValueError, match=r"truncated|not an image"):
        decode(content[: int(share * len(content))])


def test_a_thumbnails_end_is_not_taken_for_the_images() -> None:
    exif = b"Exif\0\0" + encoded(Image.fromarray(PIXELS), "JPEG")
    content = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    assert decode(content).shape == SMOOTH.shape
    with pytest.raises(ValueError, match="truncated"):
        decode(content[:-200])


def test_zeros_for_the_end_marker_do_no_harm() -> None:
    content = encoded(Image.fromarray(SMOOTH), "JPEG")
    assert np.abs(decode(content[:-2] + bytes(64)).astype(int) - decode(content)).max() <= 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"<html>", "not an image"), (None, "No such")],
    ids=["empty", "html", "missing"],
)
def test_outside_training_an_unreadable_image_is_an_error_with_its_path(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path} cannot be used: .*{reason}"):
        LoadImage()({"img_path": str(path)})


class Images(BaseDataset):
    """All files of a folder."""

    def load_data_list(self) -> list[dict]:
        return [{"img_path": str(path)} for path in sorted(Path(self.data_root).iterdir())]


def images(folder: Path, good: int, bad: int, limit: int) -> Images:
    folder.mkdir()
    for number in range(good + bad):
        content = encoded(Image.fromarray(PIXELS)) if number < good else b""
        (folder / f"{number:03d}.png").write_bytes(content)
    loader = LoadImage(skips=dict(file=str(folder.parent / "corrupt-images.txt"), limit=limit))
    return Images(data_root=str(folder), pipeline=[loader, lambda results: results["img"]])


def test_training_skips_counts_and_lists_what_workers_cannot_read(tmp_path: Path) -> None:
    dataset = images(tmp_path / "images", good=6, bad=3, limit=3)
    loader = torch.utils.data.DataLoader(dataset, batch_size=3, num_workers=2)
    for _ in range(2):
        assert sum(len(batch) for batch in loader) == 9
    lines = (tmp_path / "corrupt-images.txt").read_text().splitlines()
    assert sorted(set(lines)) == [
        f"{tmp_path}/images/{number:03d}.png: the file is empty" for number in (6, 7, 8)
    ]


def test_past_the_limit_training_stops_and_names_the_list(tmp_path: Path) -> None:
    dataset = images(tmp_path / "images", good=6, bad=3, limit=2)
    with pytest.raises(UserError, match=rf"more than 2 files .*{tmp_path}/corrupt-images.txt"):
        [dataset[number] for number in range(9)]


def seg_sample(root: Path, reduce_zero: bool = True) -> dict:
    name = "ADE_train_00000001"
    return dict(
        img_path=str(root / f"images/training/{name}.jpg"),
        seg_map_path=str(root / f"annotations/training/{name}.png"),
        label_map=None,
        reduce_zero_label=reduce_zero,
        seg_fields=[],
    )


@pytest.mark.parametrize("reduce_zero", [True, False])
def test_seg_maps_are_as_mmseg_loads_them(reduce_zero: bool, tmp_path: Path) -> None:
    make_tiny("ade20k", tmp_path)
    path = Path(seg_sample(tmp_path)["seg_map_path"])
    stored = np.array(Image.open(path))
    stored[:4] = 255
    Image.fromarray(stored).save(path)
    ours, theirs = (
        loader(LoadImage()(seg_sample(tmp_path, reduce_zero)))
        for loader in (LoadSegMap(150 + (not reduce_zero)), LoadAnnotations())
    )
    assert (ours["gt_seg_map"] == theirs["gt_seg_map"]).all()
    assert ours["gt_seg_map"].dtype == theirs["gt_seg_map"].dtype
    assert ours["seg_fields"] == theirs["seg_fields"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(Image.fromarray(np.full((56, 48), 151, np.uint8))), "value 151; classes end at 150"),
        (encoded(Image.fromarray(np.full((56, 48), 2000, np.uint16))), "value 2000; classes end at 150"),
        (encoded(Image.fromarray(np.ones((56, 49), np.uint8))), "it is 56x49, its image 56x48"),
        (encoded(Image.fromarray(np.ones((56, 48, 3), np.uint8))), "it is 56x48x3, its image 56x48"),
        (b"", "truncated or not an image"),
        (None, "No such file"),
    ],
    ids=["beyond", "16-bit", "size", "channels", "empty", "missing"],
)
def test_a_wrong_seg_map_is_named_or_skipped(content: bytes | None, message: str, tmp_path: Path) -> None:
    make_tiny("ade20k", tmp_path)
    sample = LoadImage()(seg_sample(tmp_path))
    path = Path(sample["seg_map_path"])
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path} cannot be used: .*{message}"):
        LoadSegMap(150)(dict(sample))
    skips = dict(file=str(tmp_path / "corrupt-images.txt"), limit=1)
    assert LoadSegMap(150, skips=skips)(dict(sample)) is None
    assert (tmp_path / "corrupt-images.txt").read_text().startswith(f"{path}: ")
