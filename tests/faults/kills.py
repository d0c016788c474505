"""SIGKILL at random times of trainings and of a suite; after restarts, the results must be unchanged."""

import os
import random
import signal
import time
from pathlib import Path

import torch
from process import ROOT, Command, Ended, run
from tally import Outcome

from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.results.record import read_records

TASKS = ("pretraining", "classification", "detection", "segmentation")
FINAL = "epoch_2.pth"
TRIES = 60
"""Maximum number of starts of one run; a run that needs more makes no progress."""


def training(task: str, folder: Path, *more: object) -> list[object]:
    """Return the command of a smoke training."""
    return ["train.py", ROOT / "tests/smoke" / f"{task}.py", "--work-dir", folder, "--resume", *more]


def undisturbed(task: str, runs: Path) -> float:
    """Run a training without faults, as the reference; return its duration in seconds."""
    began = time.monotonic()
    done = run(training(task, runs / task), runs / f"{task}_cwd")
    if done.status:
        raise RuntimeError(f"the undisturbed run of {task} fails: {done.last_words}")
    return time.monotonic() - began


def difference(folder: Path, other: Path) -> str | None:
    """Return how the last checkpoints of two runs differ, or None if their weights are bitwise equal."""
    try:
        one, two = (read_checkpoint(path / FINAL)["state_dict"] for path in (folder, other))
    except Exception as error:  # any error means that the file is lost
        return f"{FINAL} cannot be read: {error}"
    if one.keys() != two.keys():
        return "its weights have other names"
    differing = [name for name in one if not torch.equal(one[name], two[name])]
    return f"{len(differing)} of {len(one)} tensors differ, such as {differing[0]}" if differing else None


def kill_training(task: str, kills: int, seed: int, runs: Path, seconds: float, work: Path) -> list[Outcome]:
    """Kill and restart a training until it ends; repeat with new runs until there are `kills` kills.

    Half of the kills come at any time of a run, a quarter while a checkpoint is written, and a quarter after
    the last checkpoint, while transfers are evaluated.

    Args:
        task: Name of the smoke config.
        kills: Number of kills.
        seed: Random seed of the times.
        runs: Folder of the undisturbed runs.
        seconds: Duration of the undisturbed run of this task.
        work: Working folder.
    """
    chance = random.Random(seed)
    outcomes: list[Outcome] = []
    waiting: list[str] = []
    """Kills of the current run; their outcome is the outcome of the run."""
    number = 0

    def conclude(done: Ended) -> None:
        nonlocal number
        folder = work / f"run{number}"
        wrong = difference(folder, runs / task) if done.status == 0 else done.last_words
        if "Traceback" in done.err:
            wrong = done.last_words
        outcomes.extend(Outcome(f"kill, {task}", what, wrong) for what in waiting)
        waiting.clear()
        number += 1

    while len(outcomes) + len(waiting) < kills:
        folder = work / f"run{number}"
        moment = chance.choice(["time", "time", "writing", "evaluating"])
        after = chance.random()
        command = Command(training(task, folder), work / "cwd")
        if moment == "time":
            wait(command, lambda: False, after * seconds)
        elif moment == "writing":
            part = f".epoch_{chance.choice([1, 2])}.pth.*.part"
            wait(command, lambda part=part, folder=folder: any(folder.glob(part)), 3 * seconds)
            time.sleep(0.05 * after)
        else:
            wait(command, (folder / FINAL).exists, 3 * seconds)
            time.sleep(0.5 * after)
        if command.running():
            command.kill()
            command.wait()
            waiting.append(f"{phase(folder)} (run {number}, {moment} {after:.3f}, seed {seed})")
        else:
            conclude(command.wait())
        if len(waiting) == TRIES:
            break
    if waiting:
        conclude(run(training(task, work / f"run{number}"), work / "cwd"))
    return outcomes


def wait(command: Command, condition: object, seconds: float) -> None:
    """Wait until a condition is true, a command ends, or `seconds` have passed."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not condition() and command.running():
        time.sleep(0.001)


def phase(folder: Path) -> str:
    """Return the phase in which a run was killed, from the files it left."""
    if list(folder.glob(".*.part")):
        return "writing a checkpoint"
    if (folder / FINAL).exists():
        return "evaluating or ending"
    return "training" if list(folder.glob("*/vis_data/*.json")) else "starting"


def suite(kills: int, seed: int, work: Path) -> list[Outcome]:
    """Run the smoke suite undisturbed, then with kills (see `kill_suite`)."""
    began = time.monotonic()
    done = run(suite_command(work / "undisturbed"), work / "cwd", fresh=True, seconds=900)
    if done.status:
        raise RuntimeError(f"the undisturbed suite fails: {done.last_words}")
    return kill_suite(kills, seed, work / "undisturbed", time.monotonic() - began, work)


def suite_command(folder: Path) -> list[object]:
    """Return the command of the smoke suite."""
    return ["mixmae-bench", "run", ROOT / "tests/smoke/suite.yaml", "--work-dir", folder, "--jobs", "2"]


def kill_suite(kills: int, seed: int, reference: Path, seconds: float, work: Path) -> list[Outcome]:
    """Kill a suite with all its processes, its main process only, or a worker, like `kill_training`.

    Commands run in new Python processes instead of forks. After a worker is killed, the suite must continue
    by itself, so it is not restarted.
    """
    chance = random.Random(seed)
    outcomes: list[Outcome] = []
    waiting: list[str] = []
    number = 0
    while len(outcomes) + len(waiting) < kills:
        folder = work / f"suite{number}"
        target = chance.choice(["all", "all", "the suite's process", "a worker"])
        after = chance.random() * (seconds / 2)
        command = Command(suite_command(folder), work / "cwd", fresh=True)
        wait(command, lambda: False, after)
        if command.running():
            found = workers(command.pid)
            if target == "a worker" and found:
                os.kill(chance.choice(found), signal.SIGKILL)
            else:
                command.kill(group=target == "all")
                command.wait()
            waiting.append(f"{target} after {after:.1f} s (suite {number}, seed {seed})")
            if target != "a worker" or not found:
                continue
        wrong = suite_wrong(command.wait(900), folder, reference)
        outcomes += [Outcome("kill, suite", what, wrong) for what in waiting]
        waiting.clear()
        number += 1
    if waiting:
        folder = work / f"suite{number}"
        done = run(suite_command(folder), work / "cwd", fresh=True, seconds=900)
        wrong = suite_wrong(done, folder, reference)
        outcomes += [Outcome("kill, suite", what, wrong) for what in waiting]
    return outcomes


def suite_wrong(done: Ended, folder: Path, reference: Path) -> str | None:
    """Return the problem of a suite that has ended, or None."""
    if done.status or done.err:
        return done.last_words
    runs = sorted(path.parent.relative_to(reference) for path in reference.glob(f"*/*/*/{FINAL}"))
    records, complaints = read_records(folder / "records.jsonl")
    recorded = sorted(Path(r.method, f"seed{r.seed}", r.task) for r in records)
    if complaints or recorded != runs:
        return f"records of {len(recorded)} runs instead of {len(runs)}; {complaints}"
    for name in runs:
        if wrong := difference(folder / name, reference / name):
            return f"{name}: {wrong}"
    return None


def workers(pid: int) -> list[int]:
    """Return the process IDs of the workers of a suite."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children += map(int, task.read_text().split())
    return [child for child in children if "mixmae_bench.system.worker" in command_line(child)]


def command_line(pid: int) -> str:
    """Return the command line of a process, or '' if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
