"""Damaged checkpoints: a run must warn, resume from the one before, and end with equal weights."""

import random
import shutil
from pathlib import Path

from kills import FINAL, TASKS, difference, training
from process import run
from tally import Outcome

from mixmae_bench.engine.resume import intact


def resume_damaged(number: int, seed: int, runs: Path, work: Path) -> Outcome:
    """Damage the last checkpoint of a finished run and resume it."""
    chance = random.Random(seed + number)
    task = TASKS[number % len(TASKS)]
    folder = work / f"damaged{number}"
    shutil.copytree(runs / task, folder)
    file = folder / FINAL
    what = damage(file, chance)
    harmless = intact(file)  # some bytes are padding
    done = run(training(task, folder), work / f"damaged{number}_cwd")
    if done.status or "Traceback" in done.err:
        wrong = done.last_words
    elif not harmless and f"{file} is missing or damaged; trying the previous one" not in done.err:
        wrong = "no warning names it"
    else:
        wrong = difference(folder, runs / task)
    if not wrong:
        shutil.rmtree(folder)
    return Outcome("damaged checkpoint", f"{what} of {task} (number {number}, seed {seed})", wrong)


def damage(file: Path, chance: random.Random) -> str:
    """Truncate a file, flip one bit, or overwrite a part with zeros, at random; return a description."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    kind = chance.choice(["cut", "bit", "zeros"])
    if kind == "cut":
        del content[place:]
    elif kind == "bit":
        content[place] ^= 1 << chance.randrange(8)
    else:
        content[place : place + 4096] = bytes(len(content[place : place + 4096]))
    file.write_bytes(content)
    return f"{kind} at byte {place}"
