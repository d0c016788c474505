"""A curve of nearest neighbours during pretraining: how good the features are after every few epochs."""

from collections.abc import Iterator

import torch
from mmengine.dist import all_gather
from mmengine.evaluator import Evaluator
from mmengine.runner import FlexibleRunner, Runner, ValLoop
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.datasets.tuning_split import as_validated
from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS, LOOPS
from mixmae_bench.transfer.knn import TEMPERATURE, nearest, vote


@LOOPS.register_module()
class KNNLoop(ValLoop):
    """Validation of a pretraining: the images of validation are classified by their nearest training images.

    Neighbours vote as in `KNNClassifier`, on the mean over the tokens of the encoder's last stage. The
    training images have the pipeline of validation. The training itself is not changed.

    Args:
        runner: The runner.
        dataloader: Loader of the images of validation.
        evaluator: An evaluator of classification.
        k: Number of neighbours.
        images: Number of training images, at even intervals of the training set; None for all.

    Raises:
        UserError: If `k` or `images` is below 1, the runner is a FlexibleRunner, the model is not a method
            with an `Encoder`, or the training images have no labels.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        k: int = 20,
        images: int | None = None,
    ) -> None:
        if isinstance(runner, FlexibleRunner):
            raise UserError("KNNLoop does not work with runner_type=FlexibleRunner; remove val_cfg")
        if k < 1 or (images is not None and images < 1):
            raise UserError(f"val_cfg of KNNLoop has k={k}, images={images}; give numbers from 1")
        super().__init__(runner, dataloader, evaluator)
        self.k = k
        self.model = unwrapped(runner.model)
        if not isinstance(getattr(self.model, "backbone", None), Encoder):
            raise UserError(
                f"KNNLoop needs a pretraining method with an encoder of this package, not "
                f"{type(self.model).__name__}; remove val_cfg"
            )
        known = DATASETS.build(as_validated(runner.cfg))
        if images is not None and images < len(known):
            known.get_subset_([place * len(known) // images for place in range(images)])
        self.bank = runner.build_dataloader({**runner.cfg.val_dataloader, "dataset": known}, seed=runner.seed)
        if known.get_data_info(0).get("gt_label") is None:
            raise UserError(
                f"the training images of config {runner.cfg.filename} have no labels, so KNNLoop cannot use "
                "them; remove val_cfg"
            )
        self.classes = len(self.dataloader.dataset.metainfo["classes"])

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Classify all images of validation; return the metrics."""
        runner = self.runner
        runner.call_hook("before_val")
        runner.call_hook("before_val_epoch")
        self.model.eval()
        with runner.optim_wrapper.optim_context(runner.model):
            parts = [
                (
                    features,
                    torch.cat([sample.gt_label for sample in batch["data_samples"]]).to(features.device),
                )
                for batch, features in self._embedded(self.bank)
            ]
            bank, labels = (torch.cat(all_gather(torch.cat(own))) for own in zip(*parts, strict=True))
            for number, (batch, features) in enumerate(self._embedded(self.dataloader)):
                runner.call_hook("before_val_iter", batch_idx=number, data_batch=batch)
                scores = vote(*nearest(features, bank, labels, self.k), self.classes, TEMPERATURE)
                outputs: list[DataSample] = [
                    sample.set_pred_score(score).set_pred_label(score.argmax())
                    for sample, score in zip(batch["data_samples"], scores, strict=True)
                ]
                self.evaluator.process(data_samples=outputs, data_batch=batch)
                runner.call_hook("after_val_iter", batch_idx=number, data_batch=batch, outputs=outputs)
            metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        runner.call_hook("after_val_epoch", metrics=metrics)
        runner.call_hook("after_val")
        return metrics

    def _embedded(self, loader: DataLoader) -> Iterator[tuple[dict, Tensor]]:
        """Yield every batch with its L2-normalised features (B, C) in float32."""
        for batch in loader:
            # The preprocessor of pretraining takes a list for several views of the images.
            images = torch.stack(list(batch["inputs"]))
            given = {"inputs": images, "data_samples": batch["data_samples"]}
            inputs = self.model.data_preprocessor(given, training=False)["inputs"]
            maps = self.model.backbone.encode(self.model.backbone.embed(inputs))
            yield batch, normalize(maps[-1].float().mean((1, 2)), dim=1)
