"""Write configs/suites/versions.json: the version of every suite, and what the result of each run depends on.

Every run has a hash, and the version since which it is unchanged: results of that version and later hold for
the current one (`suite/versions.py`). The hash covers the recipe (the identity of the run, as in its key),
the defaults of this package's classes in it, the embedded data, the metrics and the grid of a tuned suite. If
one changes, the suite needs a new version, and the tool refuses to write until it has one. The hash does not
cover the code of models (`verify`, and `code_hash` of records, do) nor other packages (constraints.txt).
"""

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict

from mmengine.config import Config

from mixmae_bench import registry
from mixmae_bench.compat.openmmlab import import_quietly
from mixmae_bench.datasets.digits import EMBEDDED
from mixmae_bench.datasets.identity import data_hash
from mixmae_bench.datasets.leaves import dicts
from mixmae_bench.engine.config import find_data, mentions
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.identity import identity, key_of
from mixmae_bench.suite.spec import Run, Suite, read_suite
from mixmae_bench.suite.versions import FILE, Versions, read_versions
from mixmae_bench.system.shipped import names, shipped

PARTS = ("model", "train_dataloader", "val_dataloader", "optim_wrapper")
REGISTRIES = (registry.MODELS, registry.DATASETS, registry.TRANSFORMS, registry.OPTIM_WRAPPERS)
REGISTRIES += (registry.OPTIM_WRAPPER_CONSTRUCTORS, registry.METRICS)
WORDS = ("title", "meaning")
"""Fields of a metric that no value depends on."""


def current(before: Versions) -> Versions:
    """Return the versions of the suites of this package, with hashes computed anew.

    Args:
        before: Earlier versions: a run with the same hash is unchanged since the version that it has there.
    """
    import_quietly()
    found = {}
    for name, path in names("suites").items():
        suite = read_suite(path)
        first = [run for run in suite.runs() if run.seed == suite.seeds[0]]
        recipes = {(run.recipe, run.task): run for run in first}
        of_recipe = {recipe: key_of(depends_on(suite, run)) for recipe, run in recipes.items()}
        hashes = {f"{run.method.name}/{run.task}": of_recipe[run.recipe, run.task] for run in first}
        known = before[name]["runs"] if name in before else {}
        found[name] = {"version": suite.version, "runs": dated(known, hashes, suite.version)}
    return found


def dated(known: Mapping[str, Mapping], hashes: Mapping[str, str], version: int) -> dict[str, dict]:
    """Return hashes with the version since which each is unchanged, in the form of the file."""
    return {
        run: known[run]
        if run in known and known[run]["hash"] == digest
        else {"hash": digest, "since": version}
        for run, digest in hashes.items()
    }


def depends_on(suite: Suite, run: Run) -> dict:
    """Return what the result of a run depends on, as plain data."""
    cfg = config_of(run)
    loaders = [loader for loader in ("train_dataloader", "val_dataloader") if cfg.get(loader)]
    data = dict.fromkeys(loaders, "")
    if mentions(cfg, EMBEDDED):
        found = find_data(cfg)
        data = {loader: data_hash(found[loader].dataset) for loader in loaders}
    metrics = [asdict(METRICS[name]) for name in suite.metrics.get(run.task, ())]
    return {
        "identity": identity(cfg, data, 1, rescale=False),
        "defaults": defaults(cfg),
        "metrics": [{key: value for key, value in own.items() if key not in WORDS} for own in metrics],
        "grid": suite.tuning.grids.get(run.task, ()) if suite.tuning else (),
    }


def defaults(cfg: Config) -> dict[str, dict[str, str]]:
    """Return the default arguments of this package's classes and functions that a config names."""
    for known in REGISTRIES:
        known.import_from_location()
    content = cfg.to_dict()
    nodes = [node for part in PARTS for node in dicts(content.get(part) or {})]
    types = {value for node in nodes for value in node.values() if isinstance(value, str)}
    kinds = [
        kind
        for name in sorted(types)
        if name.startswith("mixmae_bench.")
        for known in REGISTRIES
        if (kind := known.module_dict.get(name.removeprefix("mixmae_bench.")))
    ]
    bases = [base for kind in kinds for base in (kind.__mro__ if isinstance(kind, type) else [kind])]
    own = [base for base in bases if base.__module__.startswith("mixmae_bench.")]
    return {base.__qualname__: _defaults(base) for base in own}


def _defaults(kind: type | Callable) -> dict[str, str]:
    builder = kind.__init__ if isinstance(kind, type) else kind
    parameters = inspect.signature(builder).parameters.values()
    return {
        own.name: getattr(own.default, "__qualname__", repr(own.default))
        for own in parameters
        if own.default is not own.empty
    }


def unraised(before: Mapping, now: Mapping) -> list[str]:
    """Return a line for every suite that has changed without a new version; added runs are no change."""
    lines = []
    for name, own in now.items():
        old = before.get(name, {"version": None, "runs": {}})
        changed = [run for run, entry in own["runs"].items() if old["runs"].get(run, entry) != entry]
        if changed and old["version"] == own["version"]:
            lines.append(
                f"suite {name}: what its results depend on has changed ({', '.join(changed)}); undo it, or "
                f"raise `version` above {own['version']} and say what changed under `changes`"
            )
    return lines


def main() -> int:
    """Write the file if every changed suite has a new version; return the exit status."""
    before = read_versions()
    now = current(before)
    lines = unraised(before, now)
    print("\n".join(lines), end="\n" if lines else "", file=sys.stderr)
    if not lines:
        text = json.dumps(now, indent=1) + "\n"
        (shipped("configs") / FILE).write_text(text, encoding="utf-8")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
