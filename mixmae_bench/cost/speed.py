"""The command `mixmae-bench speed`: images per second and peak memory of several models in one run.

Every model runs in a separate process, so its memory is measured separately, and a crash does not affect the
other models. The processes take turns, so other load on the machine affects all models equally. A turn is one
step on a CPU. On a GPU it is several, because in training the host queues steps ahead of the GPU.
Ratios compare medians of the same run.
"""

import gc
import re
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Self

import torch
from rich.console import Console
from rich.progress import Progress

from mixmae_bench.cost.flops import count
from mixmae_bench.cost.models import load_call
from mixmae_bench.cost.steps import DTYPES, Setting, Steps
from mixmae_bench.engine.precision import computes_bfloat16
from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.results.measurements import SPEED_SCHEMA, Speed
from mixmae_bench.system.environment import code_version, hardware, packages
from mixmae_bench.system.worker import Call, Worker

STEPS_PER_TURN = {"cpu": 1, "cuda": 4}

COMPILED, GRAPHED = "+compile", "+graph"
"""Suffixes of a model that is compiled, and of one that computes its loss with CUDA graphs, in this order."""


def settings_of(
    models: list[str],
    batch: int,
    shape: list[int] | None,
    inference: bool,
    compiled: bool,
    device: str | None,
) -> list[Setting]:
    """Return the settings of models given as NAME, NAME@DTYPE, and either with +compile, +graph or both.

    Raises:
        UserError: If a number format is unknown, the device is not available, or a CPU shall use CUDA graphs.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch finds no GPU; see mixmae-bench doctor")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    default = "bfloat16" if computes_bfloat16(device) else "float32"
    settings = []
    for model in models:
        eager = model.removesuffix(GRAPHED)
        plain = eager.removesuffix(COMPILED)
        if eager != model and (device != "cuda" or inference):
            raise UserError(f"{model}: {GRAPHED} is for training on a GPU")
        name, _, dtype = plain.partition("@")
        if dtype not in ("", *DTYPES):
            raise UserError(f"{model}: unknown number format '{dtype}'; known: {', '.join(DTYPES)}")
        settings.append(
            Setting(
                name,
                dtype or default,
                batch,
                tuple(shape) if shape else None,
                inference,
                compiled or plain != eager,
                eager != model,
                device,
                torch.get_num_threads(),
            )
        )
    return settings


class WorkerPool:
    """Worker processes that stay for the next comparison, as importing the frameworks takes seconds."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:
            worker.stop()

    def take(self) -> Worker:
        """Return an idle worker, or a new one."""
        return self._idle.pop() if self._idle else Worker()

    def give(self, worker: Worker) -> None:
        """Take a worker back that is not busy."""
        self._idle.append(worker)


def measure(
    settings: list[Setting], steps: int, warm_up: int, console: Console, pool: WorkerPool
) -> tuple[list[Speed], list[str]]:
    """Time steps of several models, alternating between the models.

    Args:
        settings: The models, in the order of the steps.
        steps: Timed steps per model.
        warm_up: Steps per model before the timed ones.
        console: Console for the progress bar.
        pool: Where the processes of the models come from.

    Returns:
        The results of the models that succeeded, and a line with the reason for each model that failed.

    Raises:
        UserError: If a model is unknown or cannot be trained. This is raised before anything is timed.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    lanes = [_Lane(setting, pool) for setting in settings]
    try:
        with Progress(console=console, transient=True) as progress:
            per_turn = STEPS_PER_TURN[settings[0].device]
            turns = _turns(warm_up, per_turn) + _turns(steps, per_turn)
            task = progress.add_task("building", total=len(settings) * (1 + len(turns)))
            for lane in lanes:
                lane.submit(_build, lane.setting)
            for lane in lanes:
                lane.cost = lane.result()
                progress.advance(task)
            for number, turn in enumerate(turns, 1):
                for lane in lanes:
                    lane.submit(_run, turn)
                    lane.seconds += lane.result() or []
                    progress.update(task, advance=1, description=f"turn {number} of {len(turns)}")
            for lane in lanes:
                lane.submit(_finish)
                lane.end = lane.result()
    finally:
        for lane in lanes:
            lane.close()
    about = dict(started=started, code=code_version(), packages=packages(), hardware=hardware())
    speeds = [
        _speed(lane.setting, lane.seconds[warm_up:], *lane.cost, *lane.end, about)
        for lane in lanes
        if not lane.failure
    ]
    return speeds, [lane.failure for lane in lanes if lane.failure]


def _turns(steps: int, per_turn: int) -> list[int]:
    """Return the steps of every turn."""
    return [min(per_turn, steps - done) for done in range(0, steps, per_turn)]


class _Lane:
    """A model in a separate process, and its results; after a failure, calls are ignored."""

    def __init__(self, setting: Setting, pool: WorkerPool) -> None:
        self.setting = setting
        self.failure: str | None = None
        self.cost: tuple[int, tuple[int, int]] | None = None
        self.seconds: list[float] = []
        self.end: tuple[int, float, tuple[int, int] | None] | None = None
        self._pool = pool
        self._worker = pool.take()
        self._call: Call | None = None

    def submit(self, function: Callable, *args: object) -> None:
        """Call a function in the process."""
        if not self.failure:
            self._call = self._worker.submit(function, *args)

    def result(self) -> object:
        """Wait for the call and return its result, or None if the model has failed."""
        if self.failure:
            return None
        try:
            return self._call.result()
        except UserError:
            raise
        except Exception as error:  # a model can fail in any way
            self.failure = _failure(self.setting, error)
            self._worker.stop()  # frees its memory for the others
            return None

    def close(self) -> None:
        """Give the process back to the pool, or end it if its model has failed or is still busy."""
        if self.failure:
            return
        if self.end is None:
            self._worker.stop()
            return
        self.submit(_release)
        self._call.result()
        self._pool.give(self._worker)


def _failure(setting: Setting, error: Exception) -> str:
    """Return a line about a model that failed, with a remedy if it may have run out of memory."""
    kind = "" if isinstance(error, ProcessDied) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())[:300]
    short = re.search("memory|alloc", reason.lower())
    remedy = "; time it alone, or with a smaller --batch" if short else ""
    return f"{setting.model}@{setting.dtype}: {reason}{remedy}"


def _speed(
    setting: Setting,
    seconds: list[float],
    flops: int,
    shape: tuple[int, int],
    peak: int,
    matmul: float,
    launches: tuple[int, int] | None,
    about: dict,
) -> Speed:
    return Speed(
        schema=SPEED_SCHEMA,
        model=setting.model,
        step="inference" if setting.inference else "training",
        dtype=setting.dtype,
        batch=setting.batch,
        shape=shape,
        compile=setting.compile,
        graph=setting.graph,
        device=setting.device,
        threads=setting.threads,
        steps=len(seconds),
        queued=setting.device == "cuda",
        images_per_s=round(setting.batch / median(seconds), 4),
        slowest=round(setting.batch / max(seconds), 4),
        fastest=round(setting.batch / min(seconds), 4),
        peak_memory_mb=round(peak / 2**20, 1),
        flops=flops,
        matmul_flops_per_s=round(matmul),
        launches=launches[0] if launches else None,
        waits=launches[1] if launches else None,
        **about,
    )


# The following runs in the process of a model.
_steps: Steps


def _build(setting: Setting) -> tuple[int, tuple[int, int]]:
    """Return the FLOPs of a forward pass per image, and height and width of the images."""
    global _steps
    facts = _facts(setting)
    _steps = Steps(setting)
    return facts


def _facts(setting: Setting) -> tuple[int, tuple[int, int]]:
    call = load_call(setting.model, setting.shape, "meta")
    cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    return cost.flops, tuple(call.inputs[0].shape[-2:])


def _run(steps: int) -> list[float]:
    return _steps.run(steps)


def _release() -> None:
    """Free the memory of the model for the next one."""
    global _steps
    del _steps
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _finish() -> tuple[int, float, tuple[int, int] | None]:
    return _steps.peak_memory(), _steps.matmul_speed(), _steps.launches()
