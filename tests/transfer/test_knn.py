"""k nearest neighbours of frozen features: votes as written down, and a whole run through the Runner."""

from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn.functional import normalize

from mixmae_bench.engine.config import find_data, load_config
from mixmae_bench.errors import UserError
from mixmae_bench.transfer.knn import KNNClassifier

ARCH = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(4, 4))
DIGITS = Path(__file__).parents[2] / "configs/classification/mixmae-swin-small_1xb50-40e_digits.py"


@pytest.fixture
def classifier() -> KNNClassifier:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return KNNClassifier(
            num_classes=3,
            k=5,
            backbone=dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32, drop_path_rate=0.5),
            neck=dict(type="GlobalAveragePooling"),
        )


def keep(classifier: KNNClassifier, images: torch.Tensor, labels: torch.Tensor) -> None:
    wrapper = OptimWrapper(torch.optim.SGD(classifier.parameters(), lr=1.0))
    for part in range(0, len(images), 4):
        samples = [DataSample().set_gt_label(int(label)) for label in labels[part : part + 4]]
        data = dict(inputs=list(images[part : part + 4]), data_samples=samples)
        classifier.train().train_step(data, wrapper)


def test_the_nearest_vote_with_the_exponential_of_their_cosine(classifier: KNNClassifier) -> None:
    images, labels = torch.rand(20, 3, 32, 32), torch.arange(20) % 3
    keep(classifier, images, labels)
    queries = torch.rand(6, 3, 32, 32)
    predicted = classifier.predict(queries)
    with torch.no_grad():
        bank, own = (normalize(classifier.extract_feat(x)[-1], dim=1).double() for x in (images, queries))
    for query, sample in zip(own, predicted, strict=True):
        cosines = bank @ query
        nearest = cosines.argsort(descending=True)[:5]
        votes = torch.zeros(3, dtype=torch.float64)
        for neighbour in nearest:
            votes[labels[neighbour]] += torch.exp(cosines[neighbour] / 0.07)
        torch.testing.assert_close(sample.pred_score.double(), votes / votes.sum(), atol=1e-4, rtol=0)
        assert int(sample.pred_label) == int(votes.argmax())


def test_an_image_of_the_training_set_is_its_own_nearest_neighbour(classifier: KNNClassifier) -> None:
    classifier.k = 1
    images, labels = torch.rand(9, 3, 32, 32), torch.arange(9) % 3
    keep(classifier, images, labels)
    assert [int(sample.pred_label) for sample in classifier.predict(images)] == labels.tolist()


def test_nothing_is_trained(classifier: KNNClassifier) -> None:
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    keep(classifier, torch.rand(8, 3, 32, 32), torch.arange(8) % 3)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_without_features_it_says_so(classifier: KNNClassifier) -> None:
    with pytest.raises(UserError, match="train and test in one run"):
        classifier.predict(torch.rand(2, 3, 32, 32))


def test_a_run_gathers_and_votes_and_knows_the_images_that_it_was_given(tmp_path: Path) -> None:
    cfg = load_config(DIGITS)
    cfg.model = dict(
        type="mixmae_bench.KNNClassifier",
        num_classes=10,
        k=1,
        backbone=cfg.model.backbone,
        neck=dict(type="GlobalAveragePooling"),
    )
    cfg.optim_wrapper = dict(optimizer=dict(type="SGD", lr=1.0))
    cfg.param_scheduler = []
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.train_dataloader.dataset = cfg.val_dataloader.dataset
    cfg.work_dir = str(tmp_path)
    runner = Runner.from_cfg(find_data(cfg))
    runner.train()
    assert runner.message_hub.get_scalar("val/accuracy/top1").current() == 100.0
