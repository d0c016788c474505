"""k-nearest-neighbour classification of frozen features, weighted as in DINO (arXiv 2104.14294)."""

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.functional import normalize

from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

TEMPERATURE = 0.07
"""Temperature of the weights, as in DINO."""


def nearest(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest neighbours by cosine similarity, the nearest first; all, if there are fewer.

    Args:
        queries: L2-normalised features (B, C).
        bank: L2-normalised features (N, C).
        labels: Labels of the bank (N,).
        k: Number of neighbours.

    Returns:
        Similarities and labels of the neighbours, each (B, k).
    """
    similar, places = (queries @ bank.T).topk(min(k, len(bank)))
    return similar, labels[places]


def vote(similar: Tensor, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Return scores (B, num_classes), which sum to 1, from the output (B, k) of `nearest`."""
    votes = (similar / temperature).softmax(-1)
    return votes.new_zeros(len(votes), num_classes).scatter_add_(1, labels, votes)


@MODELS.register_module()
class KNNClassifier(ImageClassifier):
    """k-nearest-neighbour classifier that stores the features of the training images in one epoch.

    Neighbours are weighted by exp(cosine similarity / temperature). Nothing is trained. Only one process is
    supported, and features are not saved in checkpoints, so train and test in the same run.

    Args:
        num_classes: Number of classes.
        k: Number of neighbours.
        temperature: Temperature of the weights.
        kwargs: Arguments of mmpretrain's ImageClassifier; `neck` must return one vector per image.

    Raises:
        UserError: If there are several processes.
    """

    def __init__(
        self, num_classes: int, k: int = 20, temperature: float = TEMPERATURE, **kwargs: object
    ) -> None:
        if get_world_size() > 1:
            raise UserError(
                "KNNClassifier keeps all features in one process and does not support several; start it "
                "without a launcher"
            )
        super().__init__(**kwargs)
        self.num_classes, self.k, self.temperature = num_classes, k, temperature
        self._features: list[Tensor] = []
        self._labels: list[Tensor] = []

    def train(self, mode: bool = True) -> "KNNClassifier":
        return super().train(False)

    @torch.no_grad()
    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Store features and labels of a batch; return a loss of 0 without any optimisation."""
        with optim_wrapper.optim_context(self):
            data = self.data_preprocessor(data, training=True)
            self._features.append(self._embed(data["inputs"]))
        self._labels.append(torch.cat([sample.gt_label for sample in data["data_samples"]]))
        return {"loss": torch.zeros(())}

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Set scores (num_classes,), which sum to 1, and the predicted label for each image of (B, 3, H, W).

        Raises:
            UserError: If no training features are stored.
        """
        if not self._features:
            raise UserError("KNNClassifier has no features of training images; train and test in one run")
        if len(self._features) > 1:
            self._features, self._labels = [torch.cat(self._features)], [torch.cat(self._labels)]
        similar, labels = nearest(self._embed(inputs), self._features[0], self._labels[0], self.k)
        scores = vote(similar, labels, self.num_classes, self.temperature)
        samples = data_samples or [DataSample() for _ in inputs]
        return [
            sample.set_pred_score(score).set_pred_label(score.argmax())
            for sample, score in zip(samples, scores, strict=True)
        ]

    def _embed(self, inputs: Tensor) -> Tensor:
        """Return L2-normalised features (B, C) in float32."""
        return normalize(self.extract_feat(inputs)[-1].float(), dim=1)
