"""Plan the runs of a suite: compute the hashes that match a run with its record."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mmengine.config import Config

from mixmae_bench.datasets.identity import Listing, data_hash, file_hash, join_hashes
from mixmae_bench.engine.config import check_training, content_hash, find_data
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.identity import identity, key_of
from mixmae_bench.suite.spec import RANDOM, Run, Suite
from mixmae_bench.system.environment import code_hash
from mixmae_bench.system.hub import local_file


@dataclass(frozen=True)
class Plan:
    """A run and the settings that determine its result.

    Attributes:
        run: The run.
        key: Key of its record. A run that was recorded under its older key keeps it.
        older_key: Key of versions before schema 5, a hash of all settings of the config.
        identity: Data that `key` is the hash of (see `suite.identity`).
        config_hash: See `record.Record`, as for the fields below.
    """

    run: Run
    key: str
    older_key: str
    identity: dict
    config_hash: str
    data_hash: str
    code_hash: str
    initialisation: str
    parent: str | None


def one_process(cfg: Config) -> int:
    """Return 1, the default number of processes that train a run."""
    return 1


def plan(
    suite: Suite,
    rescale: bool = False,
    processes: Callable[[Config], int] = one_process,
    recorded: Collection[str] = (),
    runs: Sequence[Run] | None = None,
) -> dict[str, Plan]:
    """Return the plan of every run by its name, in their order.

    Args:
        suite: The suite.
        rescale: Whether learning rates are scaled to the effective batch size (see `batch.fit_lr`).
        processes: Function from a config to the number of processes that train a run of it.
        recorded: Keys of the records in the suite's folder.
        runs: The runs, each after its parent run (default: `Suite.runs`).

    Raises:
        UserError: If a config or its data is missing, or a config does not train.
    """
    listings: dict[str, Listing] = {}
    runs = suite.runs() if runs is None else runs
    contents = {
        recipe: _content(config_of(run), rescale, processes, listings)
        for recipe, run in {run.recipe: run for run in runs}.items()
    }
    given = {method.checkpoint for method in suite.methods.values() if method.checkpoint}
    files = {checkpoint: file_hash(local_file(checkpoint)) for checkpoint in given}
    plans: dict[str, Plan] = {}
    lineage: dict[
        str, tuple[str, str]
    ] = {}  # key and older key of each run, part of the hashes of the runs that start from it
    for run in runs:
        content = contents[run.recipe]
        file = files.get(run.method.checkpoint)
        own, older = lineage[run.parent] if run.parent else (file, file)
        parts = {**content.identity, "seed": run.seed, "initial_weights": own or RANDOM}
        key = key_of(parts)
        text = json.dumps(
            [content.config_hash, content.data_hash, run.seed, older, *(["rescaled"] if rescale else [])]
        )
        older_key = hashlib.sha256(text.encode()).hexdigest()[:16]
        lineage[run.name] = key, older_key
        plans[run.name] = Plan(
            run,
            older_key if older_key in recorded and key not in recorded else key,
            older_key,
            parts,
            content.config_hash,
            content.data_hash,
            content.code_hash,
            run.initialisation,
            plans[run.parent].key if run.parent else None,
        )
    return plans


@dataclass(frozen=True)
class _Content:
    """Hashes of a config, its data and its code, and the identity of its runs."""

    config_hash: str
    data_hash: str
    code_hash: str
    identity: dict


def _content(
    cfg: Config, rescale: bool, processes: Callable[[Config], int], listings: dict[str, Listing]
) -> _Content:
    check_training(cfg)
    config_hash = content_hash(cfg)
    imports = cfg.get("custom_imports", {}).get("imports", [])
    found = find_data(cfg, by_option=False)
    data = {
        loader: data_hash(found[loader].dataset, listings)
        for loader in ("train_dataloader", "val_dataloader")
        if found.get(loader)
    }
    return _Content(
        config_hash,
        join_hashes(data.values()),
        code_hash(imports),
        identity(cfg, data, processes(cfg), rescale),
    )
