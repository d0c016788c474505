"""UM-MAE's classifier as a config of mmpretrain: the neck pools, then normalises (U8)."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from mixmae_bench.backbones.official.names import POOL_NORM_CLASSIFIER, our_name
from mixmae_bench.transfer.neck import PoolNorm
from mixmae_bench.verify.case import Case, read_cases

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="module")
def case() -> Case:
    return next(case for case in read_cases(REFERENCE) if case.name == "umswin_ft_a")


def test_an_mmpretrain_classifier_gives_the_recorded_logits(case: Case) -> None:
    from mmpretrain.models import ImageClassifier

    official = case.info["constructor"]
    arch = {key: official[key] for key in ("embed_dim", "depths", "num_heads", "posmlp_dim")}
    channels = official["embed_dim"] * 2 ** (len(official["depths"]) - 1)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = ImageClassifier(
            backbone=dict(
                type="mixmae_bench.UMSwin",
                arch=arch,
                window_size=official["window_size"],
                img_size=official["img_size"],
                final_norm=False,
            ),
            neck=dict(type="mixmae_bench.PoolNorm", in_channels=channels),
            head=dict(type="LinearClsHead", num_classes=official["num_classes"], in_channels=channels),
        ).eval()
    model.load_state_dict({our_name(k, POOL_NORM_CLASSIFIER): v for k, v in case.group("sd").items()})
    with torch.no_grad():
        logits = model(case.tensors["in/x"], mode="tensor")
        pooled = model.extract_feat(case.tensors["in/x"])[-1]
    torch.testing.assert_close(logits, case.tensors["out/logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled, case.tensors["out/fc_norm"], rtol=0, atol=1e-5)


def test_the_mean_comes_before_the_norm_and_only_the_last_map_is_read() -> None:
    torch.manual_seed(0)
    maps = (torch.full((2, 3, 8, 8), float("nan")), torch.randn(2, 4, 3, 5) * 2 + 1)
    neck = PoolNorm(4)
    torch.nn.init.normal_(neck.norm.weight)
    (vector,) = neck(maps)
    mean = maps[-1].sum((2, 3)) / 15
    scaled = (mean - mean.mean(1, keepdim=True)) / (mean.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(vector, scaled * neck.norm.weight)
