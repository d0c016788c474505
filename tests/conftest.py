"""What holds for all tests."""

import os
import tempfile
from pathlib import Path


def pytest_configure() -> None:
    """Let tests side by side not take each other's GPUs, which suites note in the temporary folder."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.gettempdir(), f"mixmae-bench-tests-{os.getuid()}", worker)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
