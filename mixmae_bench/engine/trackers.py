"""Log curves and records to TensorBoard, Weights & Biases or MLflow, with mmengine's back ends."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import mmengine.visualization  # noqa: F401  registers the back ends
from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.results.tuning import is_tuning, label

BACKENDS = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend", "mlflow": "MLflowVisBackend"}
"""Trackers by the name of their Python package, with mmengine's back end for each."""


def check_trackers(names: Sequence[str]) -> None:
    """Check the names of trackers.

    Raises:
        UserError: If one is unknown or its package is not installed.
    """
    for name in names:
        if name not in BACKENDS:
            near = did_you_mean(name, BACKENDS)
            raise UserError(f"unknown tracker '{name}'; known: {', '.join(BACKENDS)}.{near}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"tracker {name} is not installed; run: pip install {name}")


def track(cfg: Config, names: Sequence[str], group: str, run: str) -> None:
    """Add trackers to the visualizer back ends of a config; existing ones are kept.

    Args:
        cfg: The config; changed in place.
        names: Names of `BACKENDS`.
        group: Group of runs (project of Weights & Biases, experiment of MLflow).
        run: Name of the run.
    """
    if not names:
        return
    visualizer = cfg.get("visualizer") or dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
    more = [_backend(name, group, run) for name in names]
    cfg.visualizer = {**visualizer, "vis_backends": [*(visualizer.get("vis_backends") or []), *more]}


def export(files: Sequence[Path], name: str, folder: Path) -> int:
    """Write records to a tracker, one run each: all fields, metrics with their standard errors, and curves.

    Args:
        files: Files of records.
        name: One of `BACKENDS`.
        folder: Folder of TensorBoard's files and of Weights & Biases' local copy. MLflow uses `mlflow.db` in
            the current folder, or MLFLOW_TRACKING_URI.

    Returns:
        The number of records written.

    Raises:
        UserError: If the tracker is not installed, a file is missing, or a line in it is not a record.
    """
    check_trackers([name])
    records: list[Record] = []
    for file in files:
        if not file.is_file():
            raise UserError(f"file of records {file} does not exist; check the path")
        read, complaints = read_records(file)
        if complaints:
            raise UserError(complaints[0])
        records += read
    for record in records:
        point = f"@{label(record.settings)}" if is_tuning(record) else ""
        run = f"{record.method}/seed{record.seed}/{record.task}{point}"
        place = folder / record.suite / run
        backend = VISBACKENDS.build({**_backend(name, record.suite, run), "save_dir": str(place)})
        backend.add_config(Config({"record": asdict(record), "work_dir": str(place)}))
        for curve, values in (("loss", record.losses), ("grad_norm", record.grad_norms)):
            for epoch, value in enumerate(values, 1):
                backend.add_scalar(curve, value, step=epoch)
        errors = {f"{metric} standard error": error for metric, error in record.stderr.items()}
        backend.add_scalars(record.metrics | errors, step=len(record.losses))
        backend.close()
    return len(records)


def _backend(name: str, group: str, run: str) -> dict:
    own = {
        "tensorboard": {},
        "wandb": dict(init_kwargs=dict(project=group, name=run)),
        # MLflow's own default; MLflow no longer writes mmengine's default, a folder of files.
        "mlflow": dict(
            exp_name=group,
            run_name=run,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        ),
    }
    return dict(type=BACKENDS[name], **own[name])
