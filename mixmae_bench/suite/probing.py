"""Initial weights of a suite's methods, for probes."""

from dataclasses import dataclass
from pathlib import Path

from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.results.outline import PRETRAINING
from mixmae_bench.results.record import read_records
from mixmae_bench.results.tuning import RESULTS_FILE
from mixmae_bench.suite.spec import Method, Suite
from mixmae_bench.suite.stale import read_note


@dataclass(frozen=True)
class Weights:
    """Initial weights of the transfers of a method with one seed.

    Attributes:
        method: Name of the method.
        seed: Seed of the suite.
        config: Classification config with backbone and data.
        checkpoint: Checkpoint file, name of `system.hub`, or folder of the pretraining; None for random
            weights.
    """

    method: str
    seed: int
    config: Path
    checkpoint: str | None


def initial_weights(suite: Suite, work_dir: Path) -> list[Weights]:
    """Return the initial weights of every method and seed of a suite.

    Args:
        suite: The suite.
        work_dir: Folder of its results, with finished pretraining.

    Raises:
        UserError: If a method has no classification task, or a pretraining has no record.
    """
    records, _ = read_records(work_dir / RESULTS_FILE)
    done = {r.key for r in records if (r.suite, r.suite_version) == (suite.name, suite.version)}
    found = []
    for method in suite.methods.values():
        config = _classification(method, suite.path)
        for seed in suite.seeds:
            folder = work_dir / method.name / f"seed{seed}" / PRETRAINING
            note = read_note(folder) if method.pretrain else None
            if method.pretrain and (note is None or note.key not in done):
                raise UserError(
                    f"{folder} has no finished pretraining with a record of version {suite.version} of the "
                    f"suite; run the suite with seed {seed} first"
                )
            checkpoint = folder if method.pretrain else method.checkpoint
            found.append(Weights(method.name, seed, config, checkpoint and str(checkpoint)))
    return found


def _classification(method: Method, path: Path) -> Path:
    """Return the config of a method's first task that trains an image classifier."""
    for task in method.tasks:
        if load_config(task.config).model.get("type") == "ImageClassifier":
            return task.config
    raise UserError(f"suite {path}: method '{method.name}' has no classification task to probe with")
