"""`mixmae-bench flops`: which model, which images, which call; and its table."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.cli import main
from mixmae_bench.cost import Cost, count
from mixmae_bench.cost.models import Call, built_on, load_call
from mixmae_bench.results.measurements import COUNT_SCHEMA, Count
from mixmae_bench.results.record import read_lines

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAIN = CONFIGS / "pretrain" / "mixmae_mixmae-swin-small_1xb32-12e_digits.py"
CLASSIFICATION = CONFIGS / "classification" / "mixmae-swin-small_1xb50-40e_digits.py"
DETECTION = CONFIGS / "detection" / "mask-rcnn_mixmae-swin-small_1xb8-24e_digits.py"
PAPER_DETECTION = CONFIGS / "detection" / "mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py"
SEGMENTATION = CONFIGS / "segmentation" / "upernet_mixmae-swin-small_1xb32-12e_digits.py"


def cost_of(call: Call) -> Cost:
    return count(call.model, *call.inputs, forward=call.forward, images=call.images)


def load(name: str | Path, shape: tuple[int, int] | None = None, device: str = "meta") -> Call:
    return load_call(str(name), shape, device)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (PRETRAIN, (32, 32)),
        (CLASSIFICATION, (32, 32)),
        (DETECTION, (32, 32)),
        (PAPER_DETECTION, (800, 1280)),
        (SEGMENTATION, (32, 32)),
        ("timm:vit_tiny_patch16_384", (384, 384)),
        ("mmpretrain:resnet18_8xb32_in1k", (224, 224)),
    ],
)
def test_images_are_of_the_size_that_the_model_is_made_for(name: str | Path, shape: tuple[int, int]) -> None:
    call = load(name)
    assert tuple(call.inputs[0].shape[-2:]) == shape
    assert all(parameter.is_meta for parameter in call.model.parameters())
    assert cost_of(call).flops > 0


@pytest.mark.parametrize("name", [PRETRAIN, CLASSIFICATION, SEGMENTATION, DETECTION])
def test_the_meta_device_counts_what_really_runs(name: Path) -> None:
    shape = (64, 64) if name in (SEGMENTATION, DETECTION) else None
    assert cost_of(load(name, shape)) == cost_of(load(name, shape, "cpu"))


def test_pretraining_includes_the_decoder_on_two_sequences_per_image() -> None:
    call = load(PRETRAIN)
    cost = cost_of(call)
    assert call.images == 2
    patches, width = 16, 64
    blocks = 2 * (12 * patches * width**2 + 2 * patches**2 * width)
    predictions = patches * width * 8 * 8 * 3
    assert cost.by_module["decoder"] == patches * 128 * width + 2 * (blocks + predictions)
    assert cost.flops == cost.by_module["backbone"] + cost.by_module["decoder"]


def test_a_detector_counts_the_proposals_that_its_rpn_may_return() -> None:
    call = load(DETECTION, (32, 32))
    assert call.what == "50 proposals, 50 masks, without post-processing"
    boxes = 50 * (7 * 7 * 64 * 256 + 256 * 256 + 256 * (11 + 40))
    masks = 50 * (7 * 7 * 64 * 64 * (2 * 9 + 4) + 14 * 14 * 64 * 10)
    assert cost_of(call).by_module["roi_head"] == boxes + masks


def test_parameters_on_the_meta_device_take_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with built_on("meta"):
        model = MixMAESwin("huge")
    assert sum(p.numel() for p in model.parameters()) > 650e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500e3  # KiB; they would be 2.6 GB


def test_shared_parameters_stay_shared_on_the_meta_device() -> None:
    with built_on("meta"):
        first, second = nn.Linear(2, 2), nn.Linear(2, 2)
        second.weight = first.weight
    assert second.weight is first.weight
    with built_on("meta"):
        pass
    assert not nn.Linear(2, 2).weight.is_meta


def test_the_command_prints_one_table_per_model(capsys: pytest.CaptureFixture) -> None:
    assert main(["flops", str(PRETRAIN), "timm:resnet18", "--shape", "32", "32"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "one image of 32x32 px, pretraining, decoder included" in out
    assert "decoder 0.12 0.12 0.004" in out
    assert "total 1.06 1.05 0.025" in out
    assert "layer4 8.39 8.39 0.008" in out
    assert "in none" not in out


def test_counts_are_recorded_with_what_they_are_of(tmp_path: Path) -> None:
    file = tmp_path / "flops.jsonl"
    assert main(["flops", "timm:resnet18", str(PRETRAIN), "--shape", "32", "32", "--record", str(file)]) == 0
    (resnet, pretraining), complaints = read_lines(file, Count, COUNT_SCHEMA)
    assert complaints == []
    assert (resnet.model, resnet.shape, resnet.what) == ("timm:resnet18", [32, 32], "")
    assert resnet.params == 11689512
    assert pretraining.what == "pretraining, decoder included"
    assert pretraining.trainable < pretraining.params == 1057556
    assert pretraining.flops == 24707072


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "nowhere.py does not exist"),
        (["timm:resnet5"], "timm has no model 'resnet5'. Did you mean 'resnet50'?"),
        (["mmpretrain:resnet50_8xb32_in1"], "Did you mean 'resnet50_8xb32_in1k'?"),
        (["timm:vit_tiny_patch16_224", "--shape", "100", "100"], "cannot be counted at 100x100 px"),
        (["timm:resnet18", "--shape", "0", "10"], "--shape is 0 10"),
        ([str(PRETRAIN), "--shape", "64", "64"], "change the pipeline or backbone.img_size"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["flops", *arguments]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert "\n" not in err


def test_timm_models_of_this_package_are_known_in_a_process_that_has_only_named_them() -> None:
    """Others may have been registered by another test here."""
    code = (
        "import sys; from mixmae_bench.cli import main; "
        "sys.exit(main(['flops', 'timm:mixmae_swin_base_w14_224', 'timm:mixmae_swin_bas_w14_224']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "total 88.3" in " ".join(done.stdout.split())
    near = "timm has no model 'mixmae_swin_bas_w14_224'. Did you mean 'mixmae_swin_base_w14_224'?"
    assert done.stderr.splitlines()[-1] == f"error: {near}"
