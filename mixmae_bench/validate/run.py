"""The command `mixmae-bench validate`: a table of configs, what each took, and its first error."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mixmae_bench.compat.openmmlab import import_quietly
from mixmae_bench.environment import cores
from mixmae_bench.errors import UserError
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.validate.step import Proof, make_data, prove

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""How to print names and paths: whole, and as they are."""

BASES = "_base_"
"""Folder of what configs are made of, which does not train by itself."""


def validate(targets: list[Path], full: bool, checkpoint: Path | None, console: Console) -> int:
    """Prove configs and print a row for each; return how many failed.

    Args:
        targets: Configs, suites, and folders of configs.
        full: Whether to take models at their full width.
        checkpoint: One to try in every backbone, or None.
        console: Where the progress and the table go.

    Raises:
        UserError: Where a target or the checkpoint does not exist, or there is no config.
    """
    configs = find_configs(targets)
    if checkpoint and not checkpoint.is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist; check the path")
    work = Path(tempfile.mkdtemp(prefix="mixmae-bench-validate-"))
    console.print(f"{len(configs)} configs; logs in {work}", **PLAIN)
    make_data(work / "data")
    proofs: dict[Path, Proof] = {}
    pool = ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), import_quietly)
    with pool, Progress(console=console, transient=True) as progress:
        task = progress.add_task("validating", total=len(configs))
        futures: dict[Future[Proof], Path] = {
            pool.submit(prove, config, work / "data", work / _folder(config), full, checkpoint): config
            for config in configs
        }
        for future in as_completed(futures):
            proofs[futures[future]] = _proof(future, futures[future])
            progress.advance(task)
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


def _proof(future: Future[Proof], config: Path) -> Proof:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "a process died with this or beside it, for lack of memory perhaps; try it alone"
        return Proof(config, None, 0.0, 0.0, reason)


def find_configs(targets: list[Path]) -> list[Path]:
    """Return the configs that files, suites and folders mean, each once.

    Raises:
        UserError: Where a target does not exist or holds no config.
    """
    configs: list[Path] = []
    for target in targets:
        if target.suffix == ".yaml":
            configs += [cell.config for cell in read_suite(target).cells()]
        elif target.is_dir():
            configs += sorted(p for p in target.rglob("*.py") if BASES not in p.parts)
        elif target.is_file():
            configs.append(target)
        else:
            raise UserError(f"{target} does not exist; give configs, suites or folders of configs")
    if not configs:
        names = ", ".join(map(str, targets))
        raise UserError(f"no config in {names}; give configs, suites or folders of configs")
    return list(dict.fromkeys(path.resolve() for path in configs))


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
