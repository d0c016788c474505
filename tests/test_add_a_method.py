"""docs/add-a-method.md as a reader follows it: its files and its suite, unchanged, on shortened configs."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from pages import ROOT, commands, read_page, write_files, write_short_configs

from mixmae_bench.results.record import read_records

PAGE = read_page("add-a-method.md")
SHORTENED = {
    "pretrain/mixmae_mixmae-swin-small_1xb32-12e_digits.py": "pretraining.py",
    "classification/mixmae-swin-small_1xb50-40e_digits.py": "classification.py",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's folder with the files of the document, beside a clone whose configs take seconds."""
    clone = tmp_path / "mixmae-bench"
    write_short_configs(clone, SHORTENED)
    (clone / "tools").symlink_to(ROOT / "tools")
    return write_files(PAGE, tmp_path)


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
    suite, train = commands(PAGE)
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
