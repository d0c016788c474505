"""Records of made-up runs of the suites at paper scale: no number of theirs was measured."""

from dataclasses import replace

from report_records import record

from mixmae_bench.results.outline import PRETRAINING, Outline, OutlinedTask
from mixmae_bench.results.record import Record
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.system.shipped import find_suite

GIGA = 10**9


def made_up_suite(name: str) -> Outline:
    """Return a suite of this package with its methods called made-up-1, made-up-2 and so on."""
    suite = read_suite(find_suite(name)).outline()
    methods = enumerate(suite.methods.values(), 1)
    return replace(suite, seeds=(0, 1), methods={f"made-up-{i}": method for i, method in methods})


def made_up_records(suite: Outline, backbones: int = 3) -> list[Record]:
    """Return a record of every run of a suite, on as many sizes of a backbone."""
    return [
        _record(suite, place, method, seed, task, place % backbones)
        for seed in suite.seeds
        for place, method in enumerate(suite.methods)
        for task in suite.methods[method].tasks
    ]


def _record(suite: Outline, place: int, method: str, seed: int, task: OutlinedTask, size: int) -> Record:
    value = 60.0 + 3 * size + place + 0.5 * seed + 0.25 * len(task.name)
    metrics = {name: value - 10 * i for i, name in enumerate(task.metrics)}
    first = task.name == PRETRAINING
    origin = any(own.name == PRETRAINING for own in suite.methods[method].tasks)
    epochs, losses = 10, [3.0 / (i + 1 + 0.1 * place) for i in range(10)]
    return replace(
        record(method, seed, f"MadeUp-{'blh'[size]}", top1=0.0),
        suite=suite.name,
        suite_version=suite.version,
        task=task.name,
        dataset=task.dataset,
        key=f"{method}/{seed}/{task.name}",
        parent=None if first or not origin else f"{method}/{seed}/{PRETRAINING}",
        initialisation="random" if first or not origin else PRETRAINING,
        config=str(task.config),
        metrics={"loss": losses[-1]} if first else metrics,
        losses=losses,
        curves={} if first else {name: [[5.0, own - 5], [8.0, own - 2]] for name, own in metrics.items()},
        epochs=epochs,
        iterations=10000 * (1 + place),
        flops=(12 + 18 * size) * GIGA,
        backbone_params=(88 + 108 * size) * 10**6,
        seconds=3600.0 * (4 + place),
        effective_batch=1024,
        hardware={"cpu": "made-up CPU", "gpu": "made-up GPU", "cores": 64},
        packages={"torch": "0.0", "python": "0.0"},
    )
