"""What holds for all tests."""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import FORKS, may_fork
from yapf.yapflib import yapf_api

import mixmae_bench.system.worker

LONGEST_FIRST = (
    "test_end_to_end",
    "test_validate",
    "test_runs_of_two",
    "test_two_processes",
    "test_cli",
    "test_cluster",
    "test_speed",
    "test_add_a_method",
)
"""Files that take over half a minute: begun last, one of them would keep one process busy alone."""


def pytest_configure() -> None:
    """Let tests side by side not take each other's GPUs, which suites note in the temporary folder."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.gettempdir(), f"mixmae-bench-tests-{os.getuid()}", worker)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_collection_finish() -> None:
    """Exclude from garbage collection the millions of objects that the frameworks have made by now.

    Workers are forks of this process where that works.
    """
    gc.freeze()
    _remember_formatted_configs()
    if may_fork():
        mixmae_bench.system.worker.subprocess = FORKS


def _remember_formatted_configs() -> None:
    """Format the text of a config once: a Runner does so several times, for a quarter of a second each."""
    known: dict[str, tuple] = {}
    form = yapf_api.FormatCode

    def remembered(text: str, **options: object) -> tuple:
        if text not in known:
            known[text] = form(text, **options)
        return known[text]

    yapf_api.FormatCode = remembered


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else Triton's binding reports leaks at exit


@pytest.fixture(autouse=True)
def default_scope() -> Iterator[None]:
    """Restore mmengine's default scope, which every Runner sets for the whole process."""
    registry = sys.modules.get("mmengine.registry")
    before = dict(registry.DefaultScope._instance_dict) if registry else {}
    yield
    if registry := sys.modules.get("mmengine.registry"):
        registry.DefaultScope._instance_dict.clear()
        registry.DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def new_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers be new processes in tests marked so."""
    if request.node.get_closest_marker("new_processes"):
        monkeypatch.setattr("mixmae_bench.system.worker.subprocess", subprocess)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: names.get(item.path.stem, len(names)))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="torch finds no GPU"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
