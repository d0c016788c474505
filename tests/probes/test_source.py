"""What a config, a folder of data and a checkpoint stand for."""

from pathlib import Path

import pytest
import timm
import torch

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.leaves import leaves, type_name
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.probes.frozen import Frozen
from mixmae_bench.probes.source import Source, find_source

DIGITS = "mixmae-swin-small_1xb50-40e_digits"
KNN = "um-mae_swin-t_1xb256-knn_in1k"


def steps(source: Source) -> list[list[str]]:
    """Return the names of the transforms of the training and of the validation images."""
    return [[type_name(step) for step in leaf.dataset["pipeline"]] for leaf in leaves(source.cfg)]


def test_training_images_go_through_the_pipeline_of_validation_in_order() -> None:
    source = find_source(DIGITS)
    assert steps(source) == [["LoadImageFromFile", "PackInputs"]] * 2
    assert not source.cfg.train_dataloader.sampler.shuffle
    assert (source.dataset, source.checkpoint) == ("digits", None)


def test_data_are_found_in_another_folder_in_the_layout_of_the_config(tmp_path: Path) -> None:
    make_tiny("imagenet", tmp_path)
    source = find_source(KNN, str(tmp_path))
    assert [leaf.dataset["data_root"] for leaf in leaves(source.cfg)] == [str(tmp_path)] * 2
    assert source.dataset == "imagenet"
    with pytest.raises(UserError, match="nowhere does not exist"):
        find_source(KNN, str(tmp_path / "nowhere"))


def test_any_timm_model_is_probed_on_the_digits_in_the_pipeline_of_the_config(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_vit").state_dict(), file)
    source = find_source("timm_8xb128-100e_in1k", "digits", f"timm:test_vit@{file}")
    assert source.cfg.model.backbone.model == "test_vit"
    theirs = load_config("timm_8xb128-100e_in1k").val_dataloader.dataset.pipeline
    assert steps(source) == [[type_name(step) for step in theirs]] * 2
    source.cfg.val_dataloader.num_workers = source.cfg.train_dataloader.num_workers = 0
    source.cfg.val_dataloader.persistent_workers = source.cfg.train_dataloader.persistent_workers = False
    frozen = Frozen(source, lambda *_: None)
    assert (frozen.stages, frozen.val.shape, len(frozen.train.labels)) == (1, (224, 224), 500)


def test_the_checkpoint_of_the_config_is_the_default(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    base = load_config(DIGITS).filename
    config.write_text(
        f"_base_ = {base!r}\n"
        "model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')))\n"
    )
    assert find_source(str(config)).checkpoint == "a.pth"
    assert find_source(str(config), checkpoint="b.pth").checkpoint == "b.pth"
