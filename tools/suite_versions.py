"""Write configs/suites/versions.json: for every suite its version and a hash of what each result depends on.

A hash covers the recipe (the identity of the run, as in its key), the defaults of this package's classes in
it, the embedded data, the metrics and the grid of a tuned suite. If one changes, the suite needs a new
version, and the tool refuses to write until it has one. The hash does not cover the code of models (`verify`,
and `code_hash` of records, do) nor other packages (constraints.txt).
"""

import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

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
from mixmae_bench.system.shipped import names, shipped

FILE = Path("suites", "versions.json")
PARTS = ("model", "train_dataloader", "val_dataloader", "optim_wrapper")
REGISTRIES = (registry.MODELS, registry.DATASETS, registry.TRANSFORMS, registry.OPTIM_WRAPPERS)
REGISTRIES += (registry.OPTIM_WRAPPER_CONSTRUCTORS, registry.METRICS)
WORDS = ("title", "meaning")
"""Fields of a metric that no value depends on."""

Versions = dict[str, dict]
"""By suite: 'version', and 'runs' with a hash for every METHOD/TASK."""


def current() -> Versions:
    """Return the versions of the suites of this package, with hashes computed anew."""
    import_quietly()
    found = {}
    for name, path in names("suites").items():
        suite = read_suite(path)
        first = [run for run in suite.runs() if run.seed == suite.seeds[0]]
        runs = {f"{run.method.name}/{run.task}": depends_on(suite, run) for run in first}
        found[name] = {"version": suite.version, "runs": {key: key_of(parts) for key, parts in runs.items()}}
    return found


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
    """Return the default arguments of this package's classes that a config names."""
    for known in REGISTRIES:
        known.import_from_location()
    content = cfg.to_dict()
    nodes = [node for part in PARTS for node in dicts(content.get(part) or {})]
    types = {value for node in nodes for value in node.values() if isinstance(value, str)}
    classes = [
        kind
        for name in sorted(types)
        if name.startswith("mixmae_bench.")
        for known in REGISTRIES
        if (kind := known.module_dict.get(name.removeprefix("mixmae_bench.")))
    ]
    own = [base for kind in classes for base in kind.__mro__ if base.__module__.startswith("mixmae_bench.")]
    return {base.__qualname__: _defaults(base) for base in own}


def _defaults(kind: type) -> dict[str, str]:
    parameters = inspect.signature(kind.__init__).parameters.values()
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
        changed = [run for run, digest in own["runs"].items() if old["runs"].get(run, digest) != digest]
        if changed and old["version"] == own["version"]:
            lines.append(
                f"suite {name}: what its results depend on has changed ({', '.join(changed)}); undo it, or "
                f"raise `version` above {own['version']} and say what changed under `changes`"
            )
    return lines


def read() -> Versions:
    """Return the content of the file."""
    return json.loads((shipped("configs") / FILE).read_text(encoding="utf-8"))


def main() -> int:
    """Write the file if every changed suite has a new version; return the exit status."""
    path, now = shipped("configs") / FILE, current()
    lines = unraised(read(), now) if path.is_file() else []
    print("\n".join(lines), end="\n" if lines else "", file=sys.stderr)
    if not lines:
        path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
