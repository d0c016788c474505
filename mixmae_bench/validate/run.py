"""Command `mixmae-bench validate`: check configs, and print the time, memory and first error of each."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mixmae_bench.compat.openmmlab import import_quietly
from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.system.environment import cores
from mixmae_bench.system.worker import Worker
from mixmae_bench.validate.step import Proof, prove

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""Arguments of `Console.print` for names and paths: no wrapping, no markup."""

SECONDS_BETWEEN_LOOKS = 0.05
"""Interval between checks of the worker processes."""


def validate(configs: list[Path], full: bool, checkpoint: Path | None, console: Console) -> int:
    """Validate configs and print a row for each; return the number of failures.

    Args:
        configs: Files of the configs.
        full: Whether to use models at full width.
        checkpoint: Checkpoint to try in every backbone, or None.
        console: Console for the progress bar and the table.

    Raises:
        UserError: If the checkpoint does not exist.
    """
    if checkpoint and not checkpoint.is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist; check the path")
    work = Path(tempfile.mkdtemp(prefix="mixmae-bench-validate-"))
    console.print(f"{len(configs)} configs; logs in {work}", **PLAIN)
    proofs: dict[Path, Proof] = {}
    called = partial(_called, work=work, full=full, checkpoint=checkpoint)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("validating", total=len(configs))
        for side_by_side in (min(cores(), len(configs)), 1):  # retry configs with a dead process alone
            for config, proof in called([c for c in configs if c not in proofs], side_by_side):
                if isinstance(proof, Proof):
                    proofs[config] = proof
                elif side_by_side == 1:
                    proofs[config] = Proof(
                        config, None, 0.0, 0.0, f"a process died with this config: {proof}"
                    )
                progress.update(task, completed=len(proofs))
    for row in _rows([proofs[config] for config in configs]):
        console.print(row, **PLAIN)
    failed = [proof for proof in proofs.values() if proof.error]
    for proof in failed:
        console.print(
            f"failed: {_name(proof.config)}: {proof.error}; log: {work / _folder(proof.config) / 'log.txt'}",
            style="red",
            **PLAIN,
        )
    passed = len(configs) - len(failed)
    console.print(f"{passed} of {len(configs)} configs build, train and evaluate", **PLAIN)
    return len(failed)


def _called(
    configs: Sequence[Path], side_by_side: int, work: Path, full: bool, checkpoint: Path | None
) -> Iterator[tuple[Path, Proof | ProcessDied]]:
    """Validate configs in concurrent processes; yield the result of each as it ends."""
    waiting, running = list(configs), {}
    idle = _workers(min(side_by_side, len(configs)))
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                config, worker = waiting.pop(0), idle.pop() if idle else _workers(1)[0]
                call = worker.submit(prove, config, work / _folder(config), full, checkpoint)
                running[config] = worker, call
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for config in [config for config, (_, call) in running.items() if call.done()]:
                worker, call = running.pop(config)
                try:
                    proof = call.result()
                    idle.append(worker)
                except ProcessDied as death:
                    proof = death
                    worker.stop()
                yield config, proof
    finally:
        for worker in [*idle, *(worker for worker, _ in running.values())]:
            worker.stop()


def _workers(count: int) -> list[Worker]:
    workers = [Worker() for _ in range(count)]
    for call in [worker.submit(import_quietly) for worker in workers]:
        call.result()
    return workers


def _name(config: Path) -> str:
    return f"{config.parent.name}/{config.stem}"


def _folder(config: Path) -> str:
    return _name(config).replace("/", "_")


def _rows(proofs: list[Proof]) -> Iterator[str]:
    width = max(len(_name(proof.config)) for proof in proofs)
    yield f"{'config':{width}}  params (M)  seconds  peak MB"
    for proof in proofs:
        params = f"{proof.params / 1e6:.1f}" if proof.params else ""
        took = f"{proof.seconds:7.0f}  {proof.peak_memory_mb:7.0f}"
        result = "failed" if proof.error else "ok"
        yield f"{_name(proof.config):{width}}  {params:>10}  {took}  {result}"
