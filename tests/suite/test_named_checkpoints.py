"""Checkpoints by name: a timm model's weights make rows in every task of a suite, from generic configs."""

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import read_records
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.system import hub

ROOT = Path(__file__).parents[2]
MODEL = "test_resnet"
BACKBONE = f"dict(_delete_=True, type='mixmae_bench.TimmBackbone', model='{MODEL}'"
# timm's smallest model has strides 4 to 32; the digits' heads read the first two maps.
MAPS = f"backbone={BACKBONE}, out_indices=(0, 1))"
TASKS = {
    "classification": f"backbone={BACKBONE}, pooled=True), head=dict(in_channels=None)",
    "detection": f"{MAPS}, neck=dict(in_channels=None)",
    "segmentation": f"{MAPS}, decode_head=dict(in_channels=None), auxiliary_head=dict(in_channels=None)",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with a generic config per task, of the smoke configs."""
    for task, model in TASKS.items():
        base = f"_base_ = {str(ROOT / 'tests' / 'smoke' / f'{task}.py')!r}\n"
        loaders = "".join(f"{part}_dataloader = dict(dataset=dict(indices=8))\n" for part in ("train", "val"))
        once = "train_cfg = dict(max_epochs=1, val_interval=1)\n"
        (tmp_path / f"{task}.py").write_text(f"{base}model = dict({model})\n{loaders}{once}")
    generic = "".join(f"  {task}: {task}.py\n" for task in TASKS)
    text = "name: named\nversion: 1\ndataset: digits\nmethods:\n  scratch: {tasks: {a: classification.py}}\n"
    (tmp_path / "suite.yaml").write_text(f"{text}generic:\n{generic}seeds: [0]\n")
    return tmp_path / "suite.yaml"


def weights(path: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = timm.create_model(MODEL).state_dict()
    save_file(state, path)
    return state


def test_a_file_of_a_timm_model_makes_a_row_in_every_task(suite: Path, tmp_path: Path) -> None:
    """Without detection, which takes as long as the others together."""
    suite.write_text(suite.read_text().replace("  detection: detection.py\n", ""))
    weights(tmp_path / "w.safetensors")
    source = f"timm:{MODEL}@{tmp_path / 'w.safetensors'}"
    named = ["--methods", "net", "--checkpoint", f"net={source}"]
    assert main(["run", str(suite), "--work-dir", str(tmp_path / "out"), *named, "--jobs", "1"]) == 0
    records = read_records(tmp_path / "out" / "records.jsonl")[0]
    assert [record.task for record in records] == ["classification", "segmentation"]
    for record in records:
        assert (record.method, record.initialisation) == ("net", "checkpoint")
        assert record.backbone == f"TimmBackbone-{MODEL}"
        assert record.checkpoint_source == source
        assert record.checkpoint_filled == 100
        assert record.checkpoint


def test_the_name_of_a_source_is_the_backbone_of_generic_configs(suite: Path) -> None:
    runs = read_suite(suite, None, ["net"], {"net": "timm:test_convnext.r160_in1k"}).runs()
    configs = [config_of(run) for run in runs]
    assert {cfg.model.backbone.model for cfg in configs} == {"test_convnext.r160_in1k"}
    channels = [f["num_chs"] for f in timm.create_model("test_convnext").feature_info]
    assert configs[1].model.neck.in_channels == channels[:2]
    assert configs[2].model.auxiliary_head.in_channels == channels[1]
    assert configs[0].model.head.in_channels == channels[-1]


def test_a_repository_is_read_from_the_cache_and_its_commit_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--org--net" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    state = weights(snapshot / "model.safetensors")
    arguments = '{"num_classes": 5, "layers": [1, 1, 1, 1]}'
    (snapshot / "config.json").write_text(f'{{"architecture": "{MODEL}", "model_args": {arguments}}}')
    asked = []

    def download(repository: str, file: str, revision: str | None, local_files_only: bool) -> str:
        asked.append((repository, revision, local_files_only))
        return str(snapshot / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = read_state_dict("hf-hub:org/net@v1")
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert set(asked) == {("org/net", "v1", True)}  # nothing is downloaded
    assert hub.origin("hf-hub:org/net@v1") == "hf-hub:org/net@0123abc"
    assert hub.model_of("hf-hub:org/net@v1") == (MODEL, {"layers": [1, 1, 1, 1]})


def test_without_a_network_one_line_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(UserError, match=r"fetch model.safetensors .* hf download timm/hiera_base_224.mae$"):
        hub.local_file("timm:hiera_base_224.mae")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("net", "--checkpoint is 'net'; give NAME=SOURCE"),
        ("net=w.pth", "checkpoint net=w.pth: give timm:MODEL.TAG"),
        ("scratch=timm:resnet18", "has a method 'scratch'; give the checkpoint another name"),
        (f"net=timm:{MODEL}@no.pth", "no.pth does not exist; check the path"),
        ("net=timm:resnet18.no", "Invalid pretrained tag (no) for resnet18"),
    ],
)
def test_a_wrong_source_is_one_line(
    given: str, message: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(suite), "--checkpoint", given]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_suite_without_generic_tasks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(ROOT / "configs/suites/digits.yaml"), "--checkpoint", "x=timm:resnet18"]) == 2
    assert "the suite has no `generic` tasks" in capsys.readouterr().err


def test_two_checkpoints_of_one_name_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--checkpoint", "net=timm:resnet18", "--checkpoint", "net=timm:resnet50"]
    assert main(["run", "transfer", "--dry-run", *twice]) == 2
    assert "--checkpoint names 'net' twice; give every checkpoint another name" in capsys.readouterr().err


def test_a_damaged_config_of_a_repository_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"')
    with pytest.raises(UserError, match=r"config\.json is not JSON .*; write or download it again"):
        hub.config_of(f"local-dir:{tmp_path}")
