"""Linear probing: the backbone is neither trained nor in training mode, and the probe alone learns."""

import pytest
import torch
from mmengine.registry import DefaultScope

from mixmae_bench.transfer.linear_probe import LinearProbe, PoolBatchNorm

ARCH = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(4, 4))


@pytest.fixture
def probe() -> LinearProbe:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return LinearProbe(
            backbone=dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32, drop_path_rate=0.5),
            neck=dict(type="mixmae_bench.PoolBatchNorm", in_channels=16),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=16),
        )


def test_only_the_linear_layer_is_trained(probe: LinearProbe) -> None:
    assert {name for name, p in probe.named_parameters() if p.requires_grad} == {
        "head.fc.weight",
        "head.fc.bias",
    }


def test_in_training_the_backbone_stays_as_in_evaluation(probe: LinearProbe) -> None:
    probe.train()
    assert probe.neck.training
    assert not any(module.training for module in probe.backbone.modules())
    images = torch.rand(2, 3, 32, 32)
    first, second = probe.backbone(images)[-1], probe.backbone(images)[-1]  # drop path would tell them apart
    assert torch.equal(first, second)


def test_what_the_probe_is_fed_has_mean_0_and_variance_1_over_the_batch() -> None:
    maps = (torch.zeros(1), 3 + 5 * torch.randn(64, 16, 2, 2))
    (out,) = PoolBatchNorm(16)(maps)
    torch.testing.assert_close(out.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(0, unbiased=False), torch.ones(16), atol=1e-4, rtol=0)
