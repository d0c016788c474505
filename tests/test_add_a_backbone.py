"""The files of docs/add-a-backbone.md, unchanged, beside the configs of this repository."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from pages import ROOT, read_page, write_files

from mixmae_bench.cost.flops import count
from mixmae_bench.cost.models import config_call
from mixmae_bench.engine.config import check_model, load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.suite.spec import read_suite

PAGE = read_page("add-a-backbone.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder with the files of the document, beside a clone."""
    parent = tmp_path_factory.mktemp("parent")
    (parent / "mixmae-bench").symlink_to(ROOT)
    folder = write_files(PAGE, parent)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def configs(folder: Path) -> dict[str, Config]:
    """The configs of the document's suite by task."""
    runs = read_suite(folder / "suite.yaml").runs()
    assert [run.name for run in runs] == [
        "scratch/seed0/classification",
        "simmim/seed0/pretraining",
        "simmim/seed0/classification",
    ]
    return {run.task: load_config(run.config) for run in runs}


def test_the_backbone_is_pretrained(configs: dict[str, Config]) -> None:
    check_model(configs["pretraining"])
    torch.manual_seed(0)
    model = MODELS.build({**configs["pretraining"].model, "data_preprocessor": None})
    images = torch.randn(3, 3, 32, 32)
    model.loss(images, model.draw_mask(images)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    with pytest.raises(UserError, match="cannot keep segments apart"):
        model.backbone.encode(model.backbone.embed(images), segment_ids=torch.zeros(4, 4, dtype=torch.long))


def test_depths_rise_from_the_embedding_to_the_head(configs: dict[str, Config]) -> None:
    backbone = MODELS.build(configs["classification"].model.backbone)
    depth = {
        name: backbone.get_layer_depth(f"backbone.{name}", "backbone.") for name in backbone.state_dict()
    }
    assert {total for _, total in depth.values()} == {8}
    assert [depth[f"stages.{s}.{b}.mlp.0.weight"][0] for s, b in [(0, 0), (0, 1), (1, 0), (1, 3)]] == [
        1,
        2,
        3,
        6,
    ]
    assert (depth["patch_embed.weight"][0], depth["downsamples.0.bias"][0], depth["norm.bias"][0]) == (
        0,
        2,
        7,
    )


def test_its_operations_are_those_counted_by_hand(configs: dict[str, Config]) -> None:
    call = config_call(configs["classification"], None, "meta")
    counted = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    # 8x8 tokens and 2 blocks, then 4x4 tokens, twice the width and 4 blocks. An MLP is 8 width^2 per token.
    width, tokens = 64, 64
    assert counted.flops == (
        tokens * 48 * width
        + 2 * tokens * 8 * width**2
        + tokens // 4 * 4 * width * 2 * width
        + 4 * (tokens // 4) * 8 * (2 * width) ** 2
        + 2 * width * 10
    )
