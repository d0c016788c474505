"""COCO metrics on some of the images of an annotation file."""

from mmdet.evaluation import CocoMetric

from mixmae_bench.registry import METRICS


@METRICS.register_module()
class CocoSubsetMetric(CocoMetric):
    """mmdet's `CocoMetric` on the evaluated images only.

    `CocoMetric` evaluates all images of its annotation file: objects on images that the loader does not yield
    count as missed.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics; `results` is a list of (ground truth, prediction) of every image."""
        self.img_ids = [truth["img_id"] for truth, _ in results]
        return super().compute_metrics(results)
