"""What a wheel holds, and that it works without a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixmae_bench.cli import COMMANDS, main
from mixmae_bench.compat.openmmlab import MODULES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel would put into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def run(installed: Path, folder: Path, *commands: str) -> str:
    """Run commands of the installed package in an empty folder, one after the other in one process."""
    code = f"from mixmae_bench.cli import main; [main(line.split()) for line in {commands!r}]"
    done = subprocess.run(
        [sys.executable, "-c", code],
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
    assert (there / "model-index.yml").read_bytes() == (ROOT / "model-index.yml").read_bytes()


def test_it_lists_counts_and_tabulates_by_name_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    config = "mixmae_swin-b-w14_8xb128-100e_in1k"
    report = f"report digits --work-dir {ROOT / 'results/measured/digits'} --out report.html"
    out = run(installed, tmp_path, "ls suites", "table imagenet", f"flops {config}", "status digits", report)
    assert any(line.startswith("digits ") for line in out.splitlines())
    assert run(ROOT, tmp_path, "table imagenet") in out
    assert "16.316" in out
    assert "folder work_dirs/digits" in out
    assert "None: all 75 runs are recorded." in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_name_means_one_config() -> None:
    configs = [path for path in (ROOT / "configs").rglob("*.py") if "_base_" not in path.parts]
    assert len({path.stem for path in configs}) == len(configs)


@pytest.mark.parametrize("kind", ["metrics", "configs"])
def test_a_reader_that_closes_the_pipe_ends_a_command_without_a_traceback(kind: str) -> None:
    """Little output is written when the command ends, much of it before."""
    command = [sys.executable, "-m", "mixmae_bench", "ls", kind]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1


ARGUMENTS = {
    "run": "digits",
    "tune": "digits",
    "status": "digits",
    "clean": "digits",
    "report": "digits",
    "table": "imagenet",
    "compare": "run reference",
    "finetune": "detection --data folder --checkpoint file",
    "push": "run folder",
    "submit": "run --out folder",
    "check": "folder",
    "probe": "config",
    "evaluate": "config --on imagenet-a",
    "verify": "folder",
    "convert": "file out",
    "reconstruct": "config checkpoint",
    "flops": "config",
    "speed": "config",
    "data": "check imagenet folder",
    "export": "tensorboard records.jsonl",
}
"""Arguments of commands that need some."""


def test_without_openmmlab_every_command_and_tool_names_the_extra_at_once(tmp_path: Path) -> None:
    lines = [f"{name} {ARGUMENTS.get(name, '')}" for name in COMMANDS]
    code = f"""
import runpy
import sys
sys.modules.update(dict.fromkeys({MODULES!r}))  # as if they were not installed
from mixmae_bench.cli import main
for line in {lines!r}:
    assert main(line.split()) == 2, line
for tool in ("train", "test"):
    assert runpy.run_path(f"{ROOT}/tools/{{tool}}.py")["main"]() == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    errors = done.stderr.splitlines()
    assert len(errors) == len(lines) + 2
    assert all(e.startswith("error: ") and "pip install 'mixmae-bench[onedl]'" in e for e in errors)
    assert list(tmp_path.iterdir()) == []


def test_one_missing_module_is_named_and_help_needs_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mmseg", None)
    assert main(["ls", "configs"]) == 2
    assert "not installed: mmseg;" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
