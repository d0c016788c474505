"""Eight processes write records to one file and are killed while writing."""

import dataclasses
import os
import random
import signal
import time
from pathlib import Path

from process import ROOT
from tally import Outcome

from mixmae_bench.results.record import Record, append_record, read_records

COUNT = 8
PACKAGES = 20_000
"""Entries that make a line long (half a megabyte), so that kills hit it while it is being written."""


def kill_writers(kills: int, seed: int, work: Path) -> list[Outcome]:
    """Kill writers of records at random times and replace them by new ones.

    A writer counts the records for which `append_record` has returned. Each of these must be readable, and
    every other line must be a record too or be reported as incomplete.
    """
    work.mkdir(parents=True)
    file = work / "records.jsonl"
    template, _ = read_records(ROOT / "results/measured/digits/records.jsonl")
    record = dataclasses.replace(template[0], packages={f"package{i}": "1.2.3" for i in range(PACKAGES)})
    chance = random.Random(seed)
    running = {start(name, file, record, work): name for name in range(COUNT)}
    for killed in range(kills):
        time.sleep(0.2 * chance.random())
        pid = chance.choice(list(running))
        end(pid)
        del running[pid]
        running[start(COUNT + killed, file, record, work)] = COUNT + killed
    for pid in running:
        end(pid)

    found, complaints = read_records(file)
    read = [(r.method, r.seed) for r in found]
    wrong = []
    for notes in work.glob("writer*"):
        noted = notes.read_bytes().count(b"\n")
        lost = [number for number in range(noted) if (notes.name, number) not in set(read)]
        if lost:
            wrong.append(f"{notes.name}: records {lost} are lost")
    if len(set(read)) != len(read) or any(r.packages != record.packages for r in found):
        wrong.append("a record is read twice, or is another than was written")
    if len(complaints) > kills + COUNT:
        wrong.append(f"{len(complaints)} lines are no records")
    text = f"{len(found)} records, {len(complaints)} parts of lines, seed {seed}"
    reason = "; ".join(wrong) or None
    return [Outcome("kill, writer of records", f"kill {i}: {text}", reason) for i in range(kills + COUNT)]


def start(name: int, file: Path, record: Record, work: Path) -> int:
    """Fork a writer; return its process ID."""
    if pid := os.fork():
        return pid
    try:
        with open(work / f"writer{name}", "ab", buffering=0) as notes:
            number = 0
            while True:
                append_record(file, dataclasses.replace(record, method=f"writer{name}", seed=number))
                notes.write(b"\n")
                number += 1
    finally:
        os._exit(1)


def end(pid: int) -> None:
    """Kill a process and wait for it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
