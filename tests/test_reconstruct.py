"""Pictures: what the encoder sees, the reconstruction with normalisation undone, the command and the hook."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from mixmae_bench.cli import main
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.pictures import draw_grid
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.pixels import denormalise_patches, normalise_patches, patchify, unpatchify
from mixmae_bench.methods.um_mae import REMOVED, VISIBLE
from mixmae_bench.registry import MODELS

ROOT = Path(__file__).parent.parent
BACKBONE = dict(
    type="mixmae_bench.MixMAESwin",
    arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(8, 4)),
    img_size=32,
)
DECODER = dict(dim=8, depth=1, num_heads=1)
PREPROCESSOR = dict(
    type="mmpretrain.ClsDataPreprocessor", mean=[120.0, 110, 100], std=[50.0, 60, 70], to_rgb=True
)
METHODS = {
    "mixmae": dict(type="mixmae_bench.MixMAE", decoder=DECODER),
    "mixmae-raw": dict(type="mixmae_bench.MixMAE", decoder=DECODER, norm_pix_loss=False),
    "simmim": dict(type="mixmae_bench.SimMIM", mask_patch_size=8),
    "greenmim": dict(type="mixmae_bench.GreenMIM", decoder=DECODER),
    "ummae": dict(type="mixmae_bench.UMMAE", decoder=DECODER, mask_patch_size=4),
    "um-simmim": dict(type="mixmae_bench.UMSimMIM", mask_patch_size=4),
}


def build(name: str) -> Method:
    torch.manual_seed(0)
    return MODELS.build(dict(**METHODS[name], backbone=BACKBONE, data_preprocessor=PREPROCESSOR))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def perfect(method: Method) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a `predict` that knows the images."""
    name = type(method).__name__

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        if name == "SimMIM":
            return images
        patches = patchify(images, method.mask_patch_size)
        patches = normalise_patches(patches) if method.norm_pix_loss else patches
        return torch.cat([patches, patches.flip(0)]) if name == "MixMAE" else patches

    return predict


def test_patches_go_back_into_images(images: Tensor) -> None:
    wide = images[:, :, :16]
    assert torch.equal(unpatchify(patchify(wide, 8), (2, 4)), wide)


def test_normalisation_of_patches_is_undone_exactly(images: Tensor) -> None:
    patches = patchify(images.double(), 8)
    torch.testing.assert_close(
        denormalise_patches(normalise_patches(patches), patches), patches, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_perfect_prediction_is_shown_as_the_original(
    name: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(name)
    monkeypatch.setattr(method, "predict", perfect(method))
    shown = method.pictures(images, method.draw_mask(images))
    assert list(shown)[-1] == "reconstruction"
    torch.testing.assert_close(shown["reconstruction"], images, rtol=0, atol=1e-5)
    if name.startswith("mixmae"):
        torch.testing.assert_close(shown["un-mixed: image"], images, rtol=0, atol=1e-5)
        torch.testing.assert_close(shown["un-mixed: partner"], images.flip(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_the_reconstruction_shows_predictions_in_hidden_places_only(
    name: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(name)
    mask = method.draw_mask(images)
    wrong = torch.full_like(perfect(method)(images, mask), 9.0)
    monkeypatch.setattr(method, "predict", lambda images, mask: wrong)
    changed = (method.pictures(images, mask)["reconstruction"] != images).all(1)
    if name == "mixmae":  # every patch was hidden once
        assert changed.float().mean() > 0.99
        return
    hidden = {
        "simmim": mask,
        "um-simmim": mask,
        "ummae": mask == REMOVED,
        "greenmim": mask.expand(3, -1, -1),
    }.get(name, torch.ones(3, 4, 4, dtype=torch.bool))
    scale = 32 // hidden.shape[1]
    assert torch.equal(changed, hidden.repeat_interleave(scale, 1).repeat_interleave(scale, 2))


def test_the_mixed_input_has_the_partners_patches_where_the_mask_is_one(images: Tensor) -> None:
    method = build("mixmae")
    mask = torch.zeros(4, 4, dtype=torch.long)
    mask[0, 1] = 1
    mixed = method.pictures(images, mask)["mixed input"]
    expected = images.clone()
    expected[:, :, :8, 8:16] = images.flip(0)[:, :, :8, 8:16]
    assert torch.equal(mixed, expected)


def test_the_packed_picture_has_the_visible_patch_of_every_block(images: Tensor) -> None:
    method = build("ummae")
    mask = method.draw_mask(images)
    shown = method.pictures(images, mask)
    assert shown["as packed"].shape == (3, 3, 16, 16)
    for b in range(3):
        for row in range(4):
            for col in range(4):
                block = mask[b, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].flatten().tolist()
                packed = shown["as packed"][b, :, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
                if VISIBLE not in block:
                    assert (packed == 0).all()
                    continue
                top, left = (
                    2 * n + k for n, k in zip((row, col), divmod(block.index(VISIBLE), 2), strict=True)
                )
                assert torch.equal(packed, images[b, :, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4])


def test_drawing_changes_neither_generators_nor_the_mode(images: Tensor) -> None:
    method = build("ummae").train()
    torch.manual_seed(3)
    np.random.seed(3)
    draw_grid(method, images, seed=0)
    after = torch.rand(4).tolist() + np.random.rand(4).tolist()
    torch.manual_seed(3)
    np.random.seed(3)
    assert torch.rand(4).tolist() + np.random.rand(4).tolist() == after
    assert method.training


@pytest.fixture
def run(tmp_path: Path) -> tuple[str, str]:
    """A config and a checkpoint of it."""
    config = tmp_path / "mixmae.py"
    method = dict(**METHODS["mixmae"], backbone=BACKBONE, data_preprocessor=PREPROCESSOR)
    config.write_text(f"default_scope = 'mmpretrain'\nmodel = {method!r}\n", encoding="utf-8")
    torch.save({"state_dict": build("mixmae").state_dict()}, tmp_path / "epoch_1.pth")
    return str(config), str(tmp_path / "epoch_1.pth")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two coloured PNG files of 32 px."""
    paths = []
    for i in range(2):
        path = tmp_path / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


def test_the_command_shows_files_in_their_own_colours(
    run: tuple[str, str], files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "pictures" / "grid.png"
    assert main(["reconstruct", *run, *files, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}: 2 images, masked with seed 0\n"
    sheet = np.asarray(Image.open(out))
    scale, margin, title = 4, 4, 20
    for j, file in enumerate(files):
        top = title + j * (32 * scale + margin)
        original = sheet[top : top + 32 * scale : scale, margin : margin + 32 * scale : scale]
        assert (original == np.asarray(Image.open(file))).all()


def test_the_same_seed_gives_the_same_picture_and_another_one_another(
    run: tuple[str, str], files: list[str], tmp_path: Path
) -> None:
    pictures = []
    for seed in ("0", "0", "1"):
        out = tmp_path / "grid.png"
        assert main(["reconstruct", *run, *files, "--out", str(out), "--seed", seed]) == 0
        pictures.append(np.asarray(Image.open(out)))
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: [*a, "--out", "grid.jpg"],
            "error: --out is grid.jpg; give a file name that ends in .png\n",
        ),
        (lambda a: [*a[:2], "missing.png"], "error: image missing.png does not exist; check the path\n"),
        (lambda a: [*a[:2], a[0]], "cannot be read"),
        (lambda a: a[:3], "MixMAE got a batch of one image"),
        (lambda a: [a[0], "missing.pth"], "error: checkpoint missing.pth does not exist; check the path\n"),
        (
            lambda a: [str(ROOT / "configs/classification/mixmae-swin-small_1xb50-40e_digits.py"), a[1]],
            "has no pretraining method",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    change: Callable[[list[str]], list[str]],
    message: str,
    run: tuple[str, str],
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = tmp_path / "here"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main(["reconstruct", *change([*run, *files])]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(empty.iterdir()) == []


def test_pretraining_adds_a_picture_of_a_few_training_images(tmp_path: Path) -> None:
    cfg = load_config(ROOT / "tests" / "smoke" / "pretraining.py")
    assert [hook.type for hook in cfg.custom_hooks] == ["mixmae_bench.ReconstructionHook"]
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    cfg.train_dataloader.dataset.data_root = str(folder)
    cfg.train_dataloader.dataset.pop("indices", None)
    cfg.train_dataloader.batch_size = 4
    cfg.work_dir, cfg.log_level, cfg.train_cfg.max_epochs = str(tmp_path / "run"), "ERROR", 1
    Runner.from_cfg(cfg).train()
    (picture,) = (tmp_path / "run").glob("*/vis_data/vis_image/reconstruction_1.png")
    assert Image.open(picture).size == (4 + 5 * (128 + 4), 20 + 8 * (128 + 4))
