"""Full and read-only disks: errors must be one line, nothing may be lost, and a restart with room must work.

The disk is a small tmpfs if it can be mounted (as root). Otherwise, a limit on the size of files simulates
the full disk, and a folder without write permission simulates the read-only disk.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kills import FINAL, TASKS, difference, training
from process import ROOT, Ended, run
from tally import Outcome

from mixmae_bench.engine.resume import intact
from mixmae_bench.results.record import read_records

ROOM = 1 << 30


class Disk:
    """A folder on a disk of some size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._limit: int | None = None
        folder.mkdir(parents=True)
        self.mounted = not mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder)

    def size(self, size: int) -> None:
        """Set the size in bytes."""
        if self.mounted:
            mount("-o", f"remount,size={size}", folder=self.folder)
        else:
            self._limit = size

    def read_only(self) -> None:
        """Make the disk read-only."""
        if self.mounted:
            mount("-o", "remount,ro", folder=self.folder)
        else:
            self.folder.chmod(0o555)

    def run(self, words: list[object], cwd: Path) -> Ended:
        """Run a command to its end."""
        return run(words, cwd, file_limit=self._limit)

    def remove(self) -> None:
        """Unmount the disk, or restore the permissions of the folder."""
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=False)
        else:
            self.folder.chmod(0o755)


def mount(*options: object, folder: Path | None = None) -> int:
    """Call mount; return its exit status."""
    words = ["mount", *options, *([folder] if folder else [])]
    return subprocess.run([str(word) for word in words], capture_output=True, check=False).returncode


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Create a disk with room and remove it at exit."""
    own = Disk(folder)
    try:
        yield own
    finally:
        own.remove()


def kind(own: Disk, what: str) -> str:
    """Return the kind of a fault with the kind of disk."""
    return f"{what} ({'tmpfs' if own.mounted else 'file size limit and permissions'})"


def full_training(number: int, seed: int, runs: Path, work: Path) -> Outcome:
    """Train on a disk with room for one checkpoint and a part of the next; then make room and restart."""
    chance = random.Random(seed + number)
    task = TASKS[number % len(TASKS)]
    checkpoint = (runs / task / FINAL).stat().st_size
    share = chance.uniform(1.05, 1.95)
    with disk(work / f"full{number}") as own:
        folder = own.folder / "run"
        own.size(int(share * checkpoint) if own.mounted else int(0.9 * checkpoint))
        first = own.run(training(task, folder), work / f"full{number}_cwd")
        # Other packages may print warnings before the error.
        errors = [line for line in first.err.splitlines() if line.startswith("error: ")]
        wrong = None
        if (
            first.status != 2
            or len(errors) != 1
            or "cannot be written" not in errors[0]
            or "Traceback" in first.err
        ):
            wrong = f"on the full disk: {first.last_words}"
        elif own.mounted and not (
            intact(folder / "epoch_1.pth") and f"{folder}/epoch_1.pth is intact" in errors[0]
        ):
            wrong = f"the checkpoint before is not kept and named: {first.last_words}"
        elif list(folder.glob("*/.*.part")) or list(folder.glob(".*.part")):
            wrong = "a part of a checkpoint is left"
        else:
            own.size(ROOM)
            again = own.run(training(task, folder), work / f"full{number}_cwd")
            wrong = difference(folder, runs / task) if again.status == 0 else again.last_words
        return Outcome(kind(own, "full disk"), f"{task}, room for {share:.2f} checkpoints", wrong)


def full_suite(runs: Path, work: Path) -> list[Outcome]:
    """Run a suite of one run on a disk without room for its second checkpoint, then with room."""
    suite = work / "suite.yaml"
    work.mkdir(parents=True)
    suite.write_text(
        "name: full\nversion: 1\ndataset: digits\nmethods: {scratch: }\nseeds: [0]\n"
        f"tasks: {{classification: {ROOT}/tests/smoke/classification.py}}\n"
    )
    with disk(work / "disk") as own:
        folder = own.folder / "run"
        command = ["mixmae-bench", "run", suite, "--work-dir", folder, "--jobs", "1"]
        own.size(int(1.5 * (runs / "classification" / FINAL).stat().st_size))
        first = own.run(command, work / "cwd")
        wrong = None
        if first.status != 1 or "failed: scratch/seed0/classification: " not in first.out or first.err:
            wrong = f"on the full disk: {first.last_words}"
        elif "cannot be written" not in first.out or "Traceback" in first.out:
            wrong = f"on the full disk: {first.out[-500:]}"
        else:
            own.size(ROOM)
            again = own.run(command, work / "cwd")
            records, complaints = read_records(folder / "records.jsonl")
            if again.status or len(records) != 1 or complaints:
                wrong = f"with room again: {len(records)} records, {complaints}, {again.last_words}"
        return [Outcome(kind(own, "full disk"), "a suite", wrong)]


def outputs(disk: Path, runs: Path, work: Path) -> dict[str, list[object]]:
    """Return a command for every kind of output file, by the name of the output."""
    suite = work / "suite.yaml"
    config = ROOT / "tests/smoke/pretraining.py"
    checkpoint = runs / "pretraining" / FINAL
    measured = ROOT / "results/measured/digits"
    return {
        "a training": training("classification", disk / "w"),
        "a suite": ["mixmae-bench", "run", ROOT / "tests/smoke/suite.yaml", "--work-dir", disk / "w"],
        "a table": ["mixmae-bench", "table", "imagenet", "--out", disk / "x.md"],
        "a report": ["mixmae-bench", "report", suite, "--work-dir", measured, "--out", disk / "x.html"],
        "plots": ["mixmae-bench", "report", suite, "--work-dir", measured, "--plots", disk / "plots"],
        "counts": ["mixmae-bench", "flops", "timm:resnet18", "--record", disk / "x.jsonl"],
        "a conversion": ["mixmae-bench", "convert", checkpoint, disk / "x.pth"],
        "safetensors": ["mixmae-bench", "convert", checkpoint, disk / "x.safetensors"],
        "a picture": ["mixmae-bench", "reconstruct", config, checkpoint, "--out", disk / "x.png"],
        "a list": ["mixmae-bench", "data", "check", "coco", work, "--list", disk / "x.txt"],
    }


def refused_outputs(read_only: bool, runs: Path, work: Path) -> list[Outcome]:
    """Check that every command that writes to a full or read-only disk ends with one line and status 2."""
    outcomes = []
    work.mkdir(parents=True)
    (work / "suite.yaml").write_text((ROOT / "configs/suites/digits.yaml").read_text())
    for name in ("pretrain", "classification", "detection", "segmentation"):
        (work / name).symlink_to(ROOT / "configs" / name)
    (work / "suite.yaml").write_text((work / "suite.yaml").read_text().replace("../", f"{ROOT / 'configs'}/"))
    with disk(work / "disk") as own:
        what = "read-only folder" if read_only else "full disk"
        if read_only:
            own.read_only()
            if not own.mounted and os.geteuid() == 0:
                return [Outcome("read-only folder", "not tried: root may write everywhere", None)]
        else:
            own.size(4096)
            if own.mounted:
                (own.folder / "filler").write_bytes(bytes(4096))
        for name, command in outputs(own.folder, runs, work).items():
            before = sorted(own.folder.rglob("*"))
            done = own.run(command, work / "cwd")
            wrong = None
            if done.status != 2 or done.err.count("\n") != 1 or not done.err.startswith("error: "):
                wrong = done.last_words
            elif str(own.folder) not in done.err:
                wrong = f"the line does not name the file: {done.err}"
            elif [
                path
                for path in own.folder.rglob("*")
                if path not in before and path.is_file() and path.stat().st_size
            ]:
                wrong = "it left a part of a file"
            outcomes.append(Outcome(kind(own, what), name, wrong))
    return outcomes
