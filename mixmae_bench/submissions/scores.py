"""Rules for metrics: recomputed from the per-image outcomes."""

from collections.abc import Iterator

from mixmae_bench.datasets.catalog import published_images
from mixmae_bench.datasets.leaves import Leaf, leaves
from mixmae_bench.engine.outcomes import stderr
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outcomes import Detected, check_values
from mixmae_bench.submissions.folder import Submission, SubmittedRun


def metrics(submission: Submission) -> Iterator[str]:
    """Every metric with a standard error is recomputed from the per-image outcomes, within rounding."""
    for run in submission.runs:
        record, found = run.record, run.outcomes
        wanted = {name for name in record.metrics if name not in METRICS or METRICS[name].stderr}
        parts = set(found.parts) if found else set()
        if wanted != parts:
            yield f"{run.name}: metrics {sorted(wanted)}, but outcomes of {sorted(parts)}"
        elif found:
            try:
                check_values(found, record.metrics)
            except ValueError as error:
                yield f"{run.name}: {error}"


def errors(submission: Submission) -> Iterator[str]:
    """The standard errors over images are those of the per-image outcomes."""
    for run in submission.runs:
        record = run.record
        found = stderr(record.metrics, record.num_samples, run.outcomes)
        if found != record.stderr:
            yield f"{run.name}: stderr is {record.stderr}, but {found} from the outcomes"


def images(submission: Submission) -> Iterator[str]:
    """The metrics are over all images of the data set, each once, and over the same ones for all seeds."""
    for runs in submission.groups().values():
        first = next((run for run in runs if run.outcomes), runs[0])
        for run in runs:
            total, loaded = _images(submission, run)
            if loaded is not None and run.record.num_samples != loaded:
                yield f"{run.name}: {run.record.num_samples} images, but the data set has {loaded}"
            if run.outcomes is None:
                continue
            names = run.outcomes.images
            # AP is over all images of the annotations, also those that are not loaded.
            is_ap = any(isinstance(part, Detected) for part in run.outcomes.parts.values())
            wanted = total if is_ap else loaded
            if wanted is not None and not len(names) == len(set(names)) == wanted:
                yield f"{run.name}: outcomes of {len(set(names))} images, but the data set has {wanted}"
            elif names != first.outcomes.images:
                yield f"{run.name}: outcomes of other images than seed {first.record.seed}"


def _images(submission: Submission, run: SubmittedRun) -> tuple[int | None, int | None]:
    """Return the number of images of the evaluated data set, and of those that its config loads.

    For pretraining it is the training set. None if the data set is not in the catalog.
    """
    cfg = submission.config_of(submission.planned[run.name])
    loader = "val_dataloader" if cfg.get("val_dataloader") else "train_dataloader"
    counts = [_counts(leaf) for leaf in leaves(cfg) if leaf.loader == loader]
    if any(total is None for total, _ in counts):
        return None, None
    return sum(total for total, _ in counts), sum(loaded for _, loaded in counts)


def _counts(leaf: Leaf) -> tuple[int | None, int]:
    total, chosen = published_images(leaf.dataset), leaf.dataset.get("indices")
    loaded = chosen if isinstance(chosen, int) else len(chosen) if chosen is not None else total or 0
    return total, loaded * leaf.times
