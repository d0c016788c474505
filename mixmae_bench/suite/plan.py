"""What a suite's cells are made of today: the hashes that tell a record of today from one of before."""

import hashlib
import json
from dataclasses import dataclass

from mmengine.config import Config

from mixmae_bench.config import content_hash, file_hash, find_data, load_config
from mixmae_bench.data.identity import data_hash
from mixmae_bench.environment import code_hash
from mixmae_bench.suite.spec import Cell, Suite


@dataclass(frozen=True)
class Plan:
    """A cell and what decides its outcome; the attributes are those of `record.Record`."""

    cell: Cell
    key: str
    config_hash: str
    data_hash: str
    code_hash: str
    start: str
    parent: str | None


def plan(suite: Suite, rescale: bool = False) -> dict[str, Plan]:
    """Return the plan of every cell by its name, in the order of `Suite.cells`.

    Args:
        suite: Whose cells.
        rescale: Whether learning rates are scaled to the effective batch (see `batch.fit_lr`).

    Raises:
        UserError: Where a config or its data is missing.
    """
    configs = {path: _hashes(load_config(path)) for path in {cell.config for cell in suite.cells()}}
    files = {m.checkpoint: file_hash(m.checkpoint) for m in suite.methods.values() if m.checkpoint}
    plans: dict[str, Plan] = {}
    for cell in suite.cells():
        parent = plans[cell.parent] if cell.parent else None
        weights = parent.key if parent else files.get(cell.method.checkpoint)
        config, data, code = configs[cell.config]
        text = json.dumps([config, data, cell.seed, weights, *(["rescaled"] if rescale else [])])
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        plans[cell.name] = Plan(cell, key, config, data, code, cell.start, parent and parent.key)
    return plans


def _hashes(cfg: Config) -> tuple[str, str, str]:
    """Return the hashes of a config's content, its data and the code that it runs."""
    content = content_hash(cfg)
    imports = cfg.get("custom_imports", {}).get("imports", [])
    cfg = find_data(cfg, by_option=False)
    data = [data_hash(cfg[key].dataset) for key in ("train_dataloader", "val_dataloader") if cfg.get(key)]
    return content, hashlib.sha256(" ".join(data).encode()).hexdigest()[:16], code_hash(imports)
