"""Proving configs: what is narrowed, what is run, and how a broken one is told."""

import re
from pathlib import Path

import pytest
import torch

import mixmae_bench.validate.run
from mixmae_bench.cli import main
from mixmae_bench.cli.validate import find_configs
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.validate.narrow import narrow, narrow_arch

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAINING = CONFIGS / "pretrain" / "um-mae_pvt-s_16xb256-200e_in1k-256px.py"
CLASSIFICATION = CONFIGS / "classification" / "mixmae_swin-b-w14_8xb128-100e_in1k.py"
SEGMENTATION = CONFIGS / "segmentation" / "upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px.py"
DETECTION = CONFIGS / "detection" / "mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py"


def test_configs_of_every_kind_train_and_evaluate_on_tiny_data(capsys: pytest.CaptureFixture[str]) -> None:
    targets = [PRETRAINING, CLASSIFICATION, SEGMENTATION]
    assert main(["validate", *map(str, targets)]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\w+)/(\S+) +([\d.]+) +\d+ +\d+  ok$", out, flags=re.MULTILINE)
    assert [f"{kind}/{name}" for kind, name, _ in rows] == [f"{t.parent.name}/{t.stem}" for t in targets]
    # Parameters are those of the whole model at its full width: MixMAE's Swin-B and its head.
    assert float(rows[1][2]) == pytest.approx(88.3, abs=0.1)
    assert "3 of 3 configs build, train and evaluate" in out


def test_a_config_that_breaks_is_named_with_its_first_error_and_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken_1xb50_digits.py"
    base = CONFIGS / "classification" / "mixmae-swin-small_1xb50-40e_digits.py"
    broken.write_text(f"_base_ = '{base}'\nmodel = dict(head=dict(in_channels=96))\n")
    unlike = tmp_path / "batch_8xb128_digits.py"
    unlike.write_text(f"_base_ = '{base}'\nauto_scale_lr = dict(base_batch_size=2048)\n")
    assert main(["validate", str(broken), str(unlike)]) == 1
    out = capsys.readouterr().out
    assert "0 of 2 configs build, train and evaluate" in out
    first, second = re.findall(r"^failed: (.*); log: (\S+)$", out, flags=re.MULTILINE)
    assert "mat1 and mat2 shapes cannot be multiplied" in "".join((first[0], second[0]))
    assert "for a batch of 2048, but the effective batch is 400" in "".join((first[0], second[0]))
    assert all("Traceback" in Path(log).read_text() for _, log in (first, second))


def test_a_process_that_dies_is_told_of_its_own_config_and_takes_no_other_along(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixmae_bench.validate.run, "cores", lambda: 2)
    # One dies again and again, another only the first time, as for lack of memory beside others.
    kill, mark = "os.kill(os.getpid(), signal.SIGKILL)", str(tmp_path / "mark")
    (tmp_path / "deadly.py").write_text(f"import os, signal\n{kill}\n")
    (tmp_path / "unlucky.py").write_text(
        f"import os, signal\nif not os.path.exists({mark!r}):\n    os.mkdir({mark!r})\n    {kill}\n"
    )
    (tmp_path / "bystander.py").write_text("a = 1\n")
    targets = [str(tmp_path / f"{name}.py") for name in ("deadly", "unlucky", "bystander")]
    assert main(["validate", *targets]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    found = re.findall(r"^failed: [^/]+/(\w+): (.*); log: (\S+)$", out, flags=re.MULTILINE)
    failed = {name: reason for name, reason, _ in found}
    assert failed.keys() == {"deadly", "unlucky", "bystander"}
    died = r"a process died with this config: its process was killed by signal 9 \(out of memory\?\)"
    assert [bool(re.fullmatch(died, failed[name])) for name in failed] == [
        name == "deadly" for name in failed
    ], failed
    assert all(Path(log).is_file() for *_, log in found)


def test_suites_and_folders_stand_for_their_configs_each_once_and_bases_for_none() -> None:
    digits = find_configs([CONFIGS / "suites" / "digits.yaml"])
    assert len(digits) == 6
    assert find_configs(["digits"]) == digits
    everything = find_configs([CONFIGS])
    assert set(digits) < set(everything)
    assert len(everything) == len(set(everything)) > 60
    assert not any("_base_" in path.parts for path in everything)


def test_a_target_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="does not exist; check the path, or give a name of `mixmae-bench ls configs`"
    ):
        find_configs([tmp_path / "none.py"])
    with pytest.raises(UserError, match="no config in"):
        find_configs([tmp_path])


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        (
            dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=14),
            dict(embed_dim=32, depths=[2] * 4, num_heads=[1, 2, 4, 8], window_size=14),
        ),
        (dict(embed_dim=768, depth=12, num_heads=12), dict(embed_dim=128, depth=2, num_heads=2)),
        (
            dict(embed_dims=(64, 128, 320, 512), depths=(3, 4, 6, 3), num_heads=(1, 2, 5, 8)),
            dict(embed_dims=[32, 64, 160, 256], depths=[2] * 4, num_heads=(1, 2, 5, 8)),
        ),
    ],
)
def test_narrow_architectures_keep_windows_and_shifted_blocks(arch: dict, expected: dict) -> None:
    assert narrow_arch(arch) == expected


@pytest.mark.parametrize("config", [PRETRAINING, CLASSIFICATION, SEGMENTATION, DETECTION])
def test_a_narrow_model_is_a_fraction_of_its_size(config: Path) -> None:
    cfg = load_config(config)
    sizes = []
    for own in (cfg, narrow(cfg)):
        with torch.device("meta"):
            sizes.append(sum(p.numel() for p in MODELS.build(dict(own.model.backbone)).parameters()))
    assert sizes[1] * 5 < sizes[0]
    assert cfg.model.backbone.get("arch") == load_config(config).model.backbone.get("arch")


def test_only_what_reads_the_backbone_is_as_wide_as_the_backbone() -> None:
    model = narrow(load_config(DETECTION)).model
    assert list(model.neck.in_channels) == [32, 64, 128, 256]
    assert model.neck.out_channels == model.rpn_head.in_channels == 64
    assert model.roi_head.bbox_head.num_classes == 80
    assert model.roi_head.bbox_head.fc_out_channels == 256
    model = narrow(load_config(SEGMENTATION)).model
    assert list(model.decode_head.in_channels) == [32, 64, 128, 256]
    assert (model.decode_head.channels, model.auxiliary_head.in_channels) == (128, 128)
    assert model.decode_head.num_classes == 150
