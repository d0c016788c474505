"""What a wheel holds, and that it works without a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel would put into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """Run a command of the installed package in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-m", "mixmae_bench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_wheel_holds_every_config_suite_and_result(installed: Path) -> None:
    for name in ("configs", "results"):
        own = {p.relative_to(ROOT) for p in (ROOT / name).rglob("*") if p.is_file() and p.suffix != ".pyc"}
        there = installed / "mixmae_bench" / ".mim"
        assert own == {p.relative_to(there) for p in (there / name).rglob("*") if p.is_file()}


def test_it_lists_counts_and_tabulates_by_name_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "ls", "suites").splitlines()[1].startswith("digits ")
    config = "mixmae_swin-b-w14_8xb128-100e_in1k"
    assert "16.316" in run(installed, tmp_path, "flops", config)
    assert run(installed, tmp_path, "table", "imagenet") == run(ROOT, tmp_path, "table", "imagenet")
    assert "folder work_dirs/digits" in run(installed, tmp_path, "status", "digits")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_it_makes_a_report_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    digits = str(ROOT / "results/measured/digits")
    out = run(installed, tmp_path, "report", "digits", "--work-dir", digits, "--out", "report.html")
    assert out == "report.html\n"
    assert "All 45 runs" in (tmp_path / "report.html").read_text(encoding="utf-8")
