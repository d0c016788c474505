"""docs/add-a-method.md as a reader follows it: its files and its suite, unchanged, on shortened configs."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from mixmae_bench.results.record import read_records

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests" / "smoke"
TEXT = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
SHORTENED = {
    "pretrain/mixmae_mixmae-swin-small_1xb64-20e_digits.py": "pretraining.py",
    "classification/mixmae-swin-small_1xb50-20e_digits.py": "classification.py",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's folder with the files of the document, beside a clone whose configs take seconds."""
    clone = tmp_path / "mixmae-bench"
    for config, smoke in SHORTENED.items():
        path = clone / "configs" / config
        path.parent.mkdir(parents=True)
        path.write_text(f"_base_ = {str(SMOKE / smoke)!r}\ntrain_cfg = dict(max_epochs=1, val_interval=1)\n")
    (clone / "tools").symlink_to(ROOT / "tools")
    folder = tmp_path / "my-method"
    folder.mkdir()
    for name, content in re.findall(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        (folder / name).write_text(content)
    return folder


def run(folder: Path, commands: str) -> str:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_method_of_the_document_is_pretrained_and_compared(folder: Path) -> None:
    tree = re.search(r"^my-method/\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE).group(1).split()
    assert sorted(path.name for path in folder.iterdir()) == sorted(tree)
    suite, train = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)

    out = run(folder, f"{suite.rstrip()} --jobs 1")  # each process takes longer to start than to run
    assert "| lowpass-mim | MixMAESwin-small |" in out
    records, complaints = read_records(folder / "work_dirs" / "lowpass" / "records.jsonl")
    assert complaints == []
    runs = {(record.method, record.task): record for record in records}
    assert sorted(runs) == [
        (m, t) for m in ("lowpass-mim", "mixmae") for t in ("classification", "pretraining")
    ]
    assert runs["lowpass-mim", "classification"].checkpoint_filled == 100
    assert runs["lowpass-mim", "pretraining"].metrics != runs["mixmae", "pretraining"].metrics

    # The tool takes as long to start as the suite: that its files are there must do.
    assert all((folder / file).is_file() for file in train.split()[1:])
