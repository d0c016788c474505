"""`mixmae-bench push`: a finished run as a folder that timm, OpenMMLab and this package load back."""

import json
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from mmengine.config import Config
from torch import Tensor, nn

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.finetune.start import start_of
from mixmae_bench.registry import MODELS
from mixmae_bench.results.record import SCHEMA, Record
from mixmae_bench.system import hub

ARCH = dict(embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2))
BACKBONES = {
    "timm": dict(type="mixmae_bench.TimmBackbone", model="test_resnet", img_size=64, pooled=True),
    "vit": dict(type="mixmae_bench.TimmBackbone", model="test_vit", img_size=64, pooled=True),
    "swin": dict(type="mixmae_bench.Swin", arch=ARCH, window_size=2, img_size=64),
    "mixmae": dict(type="mixmae_bench.MixMAESwin", arch=dict(ARCH, window_size=(4, 4, 4, 2)), img_size=64),
    "um-mae": dict(type="mixmae_bench.UMSwin", arch=ARCH),
}
CLASSES = ("cat", "dog", "ü")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(**more: object) -> Record:
    values = dict(
        schema=SCHEMA,
        suite="test",
        suite_version=1,
        method="net",
        backbone="Net-small",
        task="classification",
        dataset="pets",
        seed=0,
        key="0" * 16,
        initialisation="checkpoint",
        metrics={"top1": 81.25},
        stderr={"top1": 1.5},
        num_samples=400,
        params=2_000_000,
        backbone_params=1_500_000,
        flops=3_200_000_000,
        image_shape=[64, 64],
        config="classification.py",
        config_hash="abc",
        checkpoint="f" * 16,
        checkpoint_filled=100.0,
        checkpoint_source="hf-hub:org/net@0123",
        epochs=7,
        lr=1e-3,
        effective_batch=32,
        images_per_s=None,
        seconds=123.4,
        peak_memory_mb=512.0,
        threads=2,
        started="2026-01-01T00:00:00+00:00",
        code="1",
        packages={},
        hardware={"cpu": "a CPU", "gpu": None},
    )
    return Record(**values | more)


@torch.no_grad()
def made_run(backbone: dict, root: Path = Path("out"), **more: object) -> nn.Module:
    """Write the folder of a finished classification with random weights; return its model."""
    made = record(**more)
    run = root / "net" / "seed0" / made.task
    run.mkdir(parents=True)
    torch.manual_seed(0)
    built = MODELS.build(backbone)
    model = nn.ModuleDict(
        {"backbone": built, "head": nn.ModuleDict({"fc": nn.Linear(built.out_channels[-1], 3)})}
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * torch.randn_like(parameter))
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, run / "epoch_7.pth")
    (run / "last_checkpoint").write_text(str(run / "epoch_7.pth"))
    init_cfg = dict(type="Pretrained", checkpoint="/home/me/secret.pth")
    data = dict(type="CustomDataset", data_root="/home/me/pets", data_prefix="train", pipeline=[])
    cfg = dict(
        model=dict(type="ImageClassifier", backbone=dict(backbone, init_cfg=init_cfg)),
        data_preprocessor=dict(mean=[127.5] * 3, std=[51.0] * 3),
        train_dataloader=dict(dataset=data),
        work_dir="/home/me/work",
        optim_wrapper=dict(clip_grad=dict(max_norm=float("inf"))),  # as written by earlier versions
    )
    (run / "classification.py").write_text(Config(cfg).pretty_text)
    (root / "records.jsonl").write_text(json.dumps(asdict(made)) + "\n")
    return model.eval()


def logits(model: nn.Module, images: Tensor) -> Tensor:
    return model["head"]["fc"](model["backbone"](images)[-1].mean((2, 3)))


@torch.no_grad()
@pytest.mark.parametrize("name", ["timm", "vit", "swin", "mixmae"])
def test_timm_loads_the_folder_and_classifies_as_the_run(name: str) -> None:
    ours = made_run(BACKBONES[name])
    assert main(["push", "out", "hub"]) == 0
    theirs = timm.create_model("local-dir:hub", pretrained=True).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = logits(ours, images)
    assert expected.std() > 0.01
    torch.testing.assert_close(theirs(images), expected, rtol=0, atol=1e-4)
    assert list(theirs.pretrained_cfg["mean"]) == [0.5, 0.5, 0.5]
    assert tuple(theirs.pretrained_cfg["input_size"]) == (3, 64, 64)
    assert json.loads(Path("hub/config.json").read_text())["label_names"] == list(CLASSES)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_folder_is_a_checkpoint_of_the_same_backbone(name: str) -> None:
    ours = made_run(BACKBONES[name])
    assert main(["push", "out/net/seed0/classification", "hub"]) == 0
    found = start_of("local-dir:hub", None, dense=False)
    assert found.backbone["type"] == BACKBONES[name]["type"]
    if found.in_timm:
        assert found.size == 64
        assert hub.is_local(found.checkpoint)
        state = read_state_dict(hub.local_file(found.checkpoint))
    else:
        assert BACKBONES[name]["arch"].items() <= found.backbone["arch"].items()
        state = (
            {k.removeprefix("backbone."): v for k, v in found.converted.state.items()}
            if found.converted
            else {k.removeprefix("backbone."): v for k, v in read_state_dict(found.checkpoint).items()}
        )
    for key, value in ours["backbone"].state_dict().items():
        assert torch.equal(state[key], value), key


def test_the_whole_model_is_there_for_openmmlab_without_folders_of_this_machine() -> None:
    ours = made_run(BACKBONES["timm"])
    assert main(["push", "out/records.jsonl", "hub"]) == 0
    saved = torch.load("hub/openmmlab.pth", weights_only=True)
    assert saved["state_dict"].keys() == ours.state_dict().keys()
    assert saved["meta"]["dataset_meta"]["classes"] == list(CLASSES)
    text = Path("hub/config.py").read_text()
    assert "/home/me" not in text
    assert Config.fromfile("hub/config.py").train_dataloader.dataset.data_root == "data/pets"


def test_the_card_states_results_with_errors_training_and_cost() -> None:
    made_run(BACKBONES["timm"])
    assert main(["push", "out/records.jsonl:net/seed0/classification", "my-model"]) == 0
    card = ModelCard.load("my-model/README.md")
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_name) == ("image-classification", "pets")
    assert (result.metric_type, result.metric_value) == ("accuracy", 81.25)
    assert result.metric_args == {"stderr": 1.5}
    assert card.data.to_dict()["model-index"][0]["name"] == "my-model"
    for said in (
        "| top-1 accuracy, % | 81.25 | 1.50 |",
        "on 400 images of pets",
        "- schedule: 7 epochs",
        "- images per step: 32",
        "hf-hub:org/net@0123 (SHA-256 ffffffffffffffff...)",
        "2.00 M (backbone: 1.50 M)",
        "3.2 G, a multiply-add is 1",
        'timm.create_model("local-dir:my-model", pretrained=True)',
        "python tools/test.py config.py openmmlab.pth",
    ):
        assert said in card.text


def error_of(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert main(["push", *arguments]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


def test_what_cannot_be_pushed_is_one_line(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(BACKBONES["timm"])
    Path("full").mkdir()
    Path("full/x").touch()
    assert "full exists and is no empty folder" in error_of(capsys, "out", "full")
    assert "has no run 'net/seed1/classification'" in error_of(
        capsys, "out/records.jsonl:net/seed1/classification", "hub"
    )
    assert "is no finished run of a suite" in error_of(capsys, "full", "hub")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert "no token of the Hub; run `hf auth login`" in error_of(capsys, "out", "hf-hub:org/net")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "t")

    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", unreachable)
    said = error_of(capsys, "out", "hf-hub:org/net")
    assert "hf-hub:org/net cannot be uploaded (ConnectionError: no network)" in said
    Path("out/net/seed0/classification/epoch_7.pth").write_bytes(b"damaged")
    assert "has no intact checkpoint" in error_of(capsys, "out", "hub")
    assert not Path("hub").exists()


def test_an_upload_sends_the_written_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    made_run(BACKBONES["timm"])
    sent = {}

    def upload(self: object, repo_id: str, folder_path: Path) -> None:
        sent[repo_id] = {path.name for path in Path(folder_path).iterdir()}

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "t")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *args, **kwargs: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert main(["push", "out", "hf-hub:org/net"]) == 0
    files = {"README.md", "config.json", "config.py", "model.safetensors", "openmmlab.pth"}
    assert sent == {"org/net": files}
