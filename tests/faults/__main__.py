"""Fault injection in real processes: `make faults`, at most 20 minutes on 2 cores.

Faults are kills, damaged checkpoints, a full disk, concurrent writers and bad input. Nothing may be lost, no
traceback shown, and no code of a file executed. Prints a table; exit status 1 if anything was lost.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from process import import_everything
from tally import Outcome, Tally

LANES = 2
"""Number of pieces of work that run in parallel."""

KILLS = {"pretraining": 14, "classification": 12, "detection": 12, "segmentation": 12}
KILLS_AT_A_TIME = 6
SUITE_KILLS = 10
WRITER_KILLS = 60
DAMAGED = 20
FULL = 4
INPUTS_AT_A_TIME = 15


@dataclass(frozen=True)
class Piece:
    """A piece of work: a function without arguments, and the seconds it takes on one core."""

    part: str
    run: Callable[[], Outcome | list[Outcome]]
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="random seed of the faults (default: 0)")
    parser.add_argument(
        "--only", default="", help="run only parts with one of these in their name, such as kill,disk"
    )
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # results are bitwise reproducible on CPU only
    work = Path(tempfile.mkdtemp(prefix="mixmae-bench-faults-"))
    print(f"seed {args.seed}, folder {work}", flush=True)
    import_everything()
    import kills

    tally = Tally()
    with ProcessPoolExecutor(LANES, multiprocessing.get_context("fork")) as pool:
        runs = work / "undisturbed"
        seconds = pool.map(partial(kills.undisturbed, runs=runs), kills.TASKS)
        took = dict(zip(kills.TASKS, seconds, strict=True))
        print(f"undisturbed runs: {', '.join(f'{task} {s:.1f} s' for task, s in took.items())}", flush=True)
        todo = [
            piece
            for piece in pieces(args.seed, work, runs, took)
            if any(o in piece.part for o in args.only.split(","))
        ]
        total = sum(piece.seconds for piece in todo)
        futures = {pool.submit(piece.run): piece for piece in todo}
        for future in as_completed(futures):
            found = future.result()
            tally.add(found if isinstance(found, list) else [found], futures[future].seconds, total)
    print(tally.table())
    if lost := any(outcome.wrong for outcome in tally.outcomes):
        print(f"files are kept in {work}")
    else:
        shutil.rmtree(work)
    return int(lost)


def pieces(seed: int, work: Path, runs: Path, took: dict[str, float]) -> list[Piece]:
    """Return all pieces of work, roughly the longest first; `took`: seconds of an undisturbed run by task."""
    import damage
    import disk
    import inputs
    import kills
    import writers

    run = max(took.values())
    found = [Piece("kill suite", partial(kills.suite, SUITE_KILLS, seed, work / "suite"), 300)]
    for task, count in KILLS.items():
        for first in range(0, count, KILLS_AT_A_TIME):
            number = min(KILLS_AT_A_TIME, count - first)
            own = partial(
                kills.kill_training, task, number, seed + first, runs, took[task], work / f"{task}{first}"
            )
            found.append(Piece(f"kill {task}", own, number * took[task]))
    for number in range(DAMAGED):
        own = partial(damage.resume_damaged, number, seed, runs, work / "damage")
        found.append(Piece("damaged checkpoints", own, run))
    for number in range(FULL):
        own = partial(disk.full_training, number, seed, runs, work / "disk")
        found.append(Piece("disk, training", own, 2 * run))
    found.append(Piece("disk, suite", partial(disk.full_suite, runs, work / "disk_suite"), 60))
    for read_only in (True, False):
        own = partial(disk.refused_outputs, read_only, runs, work / f"outputs{read_only}")
        found.append(Piece("disk, outputs", own, 30))
    found.append(Piece("writers", partial(writers.kill_writers, WRITER_KILLS, seed, work / "writers"), 30))
    for first in range(0, len(inputs.INPUTS), INPUTS_AT_A_TIME):
        own = partial(inputs.check_some, first, INPUTS_AT_A_TIME, work / "inputs", runs)
        found.append(Piece("inputs", own, 20))
    return found


if __name__ == "__main__":
    sys.exit(main())
