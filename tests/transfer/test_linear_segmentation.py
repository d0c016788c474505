"""A linear layer on the stages of a backbone."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.linear_segmentation import LinearHead

pytestmark = pytest.mark.usefixtures("of_mmseg")
CHANNELS = [8, 12, 20]
SWIN = dict(embed_dim=8, depths=(1, 1, 1), num_heads=(1, 2, 2))


@pytest.fixture
def of_mmseg() -> Iterator[None]:
    """Look up losses in mmseg, as in its runs."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def head(**kwargs: object) -> LinearHead:
    torch.manual_seed(0)
    return LinearHead(CHANNELS, [0, 1, 2], num_classes=5, **kwargs)


def maps(*sizes: int) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(2, channels, size, size + 1, dtype=torch.float64)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    )


def test_it_is_one_linear_layer_on_normalised_stages_upsampled_to_the_first() -> None:
    decoder = head().double().eval()
    for norm in decoder.norms:
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    features = maps(9, 5, 3)
    weight = torch.cat([layer.weight for layer in decoder.layers], 1)
    stacked = torch.cat(
        [
            F.interpolate(
                (map_ - norm.running_mean[:, None, None])
                / (norm.running_var[:, None, None] + norm.eps).sqrt(),
                features[0].shape[2:],
                mode="bilinear",
            )
            for map_, norm in zip(features, decoder.norms, strict=True)
        ],
        1,
    )
    torch.testing.assert_close(decoder(features), F.conv2d(stacked, weight, decoder.layers[0].bias))
    assert sum(p.numel() for p in decoder.parameters()) == 5 * (sum(CHANNELS) + 1)


def test_ignored_labels_have_no_gradient() -> None:
    decoder = head(ignore_index=7).double().eval()
    features = tuple(map_.requires_grad_() for map_ in maps(8, 8, 8))
    ignored, some = torch.full((2, 1, 8, 9), 7)
    some[:, :4] = 1
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for labels in (ignored, some)]
    decoder.loss(features, samples, {})["loss_ce"].backward()
    assert not features[0].grad[0].any()
    assert features[0].grad[1, :, :4].any()
    assert not features[0].grad[1, :, 4:].any()


def test_only_the_head_is_trained_and_the_backbone_stays_in_evaluation() -> None:
    model = MODELS.build(
        dict(
            type="mixmae_bench.FrozenSegmentor",
            backbone=dict(
                type="mixmae_bench.Swin",
                arch=SWIN,
                window_size=4,
                img_size=32,
                drop_path_rate=0.5,
                out_indices=(0, 1, 2),
            ),
            decode_head=dict(
                type="mixmae_bench.LinearHead", in_channels=[8, 16, 32], in_index=[0, 1, 2], num_classes=5
            ),
            train_cfg=dict(),
            test_cfg=dict(mode="whole"),
        )
    ).train()
    assert not model.backbone.training
    assert model.decode_head.training
    images = torch.randn(2, 3, 40, 56)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(5, (1, 40, 56))))
    first, second = (model.loss(images, [sample] * 2)["decode.loss_ce"] for _ in range(2))
    torch.testing.assert_close(first, second)
    first.backward()
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"decode_head"}
    assert model(images).shape == (2, 5, 10, 14)
