"""A submission of two seeds of a suite that trains for seconds: pretraining and classification."""

import contextlib
from pathlib import Path

import pytest

from mixmae_bench.submissions.pack import submit
from mixmae_bench.suite.execute import run_job
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.plan import plan
from mixmae_bench.suite.spec import read_suite

SMOKE = Path(__file__).parents[1] / "smoke"


@pytest.fixture(scope="session")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    config = f"_base_ = '{SMOKE / 'classification.py'}'\ntrain_cfg = dict(max_epochs=2, val_interval=1)\n"
    (folder / "classification.py").write_text(config)
    path = folder / "light.yaml"
    path.write_text(
        "name: light\nversion: 1\ndataset: digits\nseeds: [0, 1]\n"
        f"methods: {{mixmae: {{pretrain: {SMOKE / 'pretraining.py'}}}}}\n"
        "tasks: {classification: classification.py}\n"
    )
    return path


@pytest.fixture(scope="session")
def work_dir(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's work folder after all its runs."""
    folder, suite = tmp_path_factory.mktemp("work"), read_suite(suite_file)
    # pytest replaces sys.stdout; a run's log is what is written to file descriptor 1.
    with open(1, "w", buffering=1, closefd=False) as stdout, contextlib.redirect_stdout(stdout):
        for name, planned in plan(suite).items():
            run_job(
                Job(
                    suite=suite.name,
                    suite_file=suite_file,
                    suite_version=suite.version,
                    dataset="digits",
                    plan=planned,
                    folder=folder / name,
                    records=folder / "records.jsonl",
                    parent=folder / planned.run.parent if planned.run.parent else None,
                    threads=1,
                    rescale=False,
                    trackers=(),
                )
            )
    return folder


@pytest.fixture(scope="session")
def good(work_dir: Path, suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An accepted submission; tests change copies of it."""
    folder = tmp_path_factory.mktemp("submissions") / "good"
    assert submit(work_dir / "mixmae", folder, suite_file) == []
    return folder
