"""The command `mixmae-bench speed`: images per second and peak memory of several models in one run.

Every model lives in a process of its own, so that its memory is its own. The processes take turns, step by
step, so that what else the machine does falls on all alike; ratios are of medians of the same run.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from statistics import median

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mixmae_bench.cost.flops import count
from mixmae_bench.cost.models import load_call
from mixmae_bench.cost.steps import DTYPES, Setting, Steps
from mixmae_bench.environment import code_version, hardware, packages
from mixmae_bench.errors import UserError
from mixmae_bench.measurements import SPEED_SCHEMA, Speed
from mixmae_bench.precision import computes_bfloat16
from mixmae_bench.report.speeds import speed_table


def settings_of(
    models: list[str],
    batch: int,
    shape: list[int] | None,
    inference: bool,
    compiled: bool,
    device: str | None,
) -> list[Setting]:
    """Return what to time for models given as NAME or NAME@DTYPE.

    Raises:
        UserError: For an unknown number format, or a device that is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, and torch sees no GPU; see mixmae-bench doctor")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    default = "bfloat16" if computes_bfloat16(device) else "float32"
    settings = []
    for model in models:
        name, _, dtype = model.partition("@")
        if dtype not in ("", *DTYPES):
            raise UserError(f"{model}: unknown number format '{dtype}'; known: {', '.join(DTYPES)}")
        settings.append(
            Setting(
                name,
                dtype or default,
                batch,
                tuple(shape) if shape else None,
                inference,
                compiled,
                device,
                torch.get_num_threads(),
            )
        )
    return settings


def measure(settings: list[Setting], steps: int, warm_up: int, console: Console) -> list[Speed]:
    """Time models in turn.

    Args:
        settings: The models, in the order of turns.
        steps: Timed steps of each.
        warm_up: Steps before them.
        console: Where progress is shown.

    Raises:
        UserError: Where a model cannot be built or trained.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts = [_facts(setting) for setting in settings]  # first, as it finds mistakes
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        processes = [stack.enter_context(ProcessPoolExecutor(1, context)) for _ in settings]
        task = progress.add_task("building", total=len(settings) * (1 + warm_up + steps))
        for future in [p.submit(_build, setting) for p, setting in zip(processes, settings, strict=True)]:
            future.result()
            progress.advance(task)
        seconds: list[list[float]] = [[] for _ in settings]
        for turn in range(warm_up + steps):
            for process, own in zip(processes, seconds, strict=True):
                own.append(process.submit(_step).result())
                progress.update(task, advance=1, description=f"step {turn + 1} of {warm_up + steps}")
        ends = [process.submit(_finish).result() for process in processes]
    about = dict(code=code_version(), packages=packages(), hardware=hardware())
    return [
        _speed(setting, own[warm_up:], started, *fact, *end, about)
        for setting, own, fact, end in zip(settings, seconds, facts, ends, strict=True)
    ]


def show(speeds: list[Speed], console: Console) -> None:
    """Print a row per model, with ratios to the first."""
    found = speed_table(speeds)
    for number, (_, model, _, px, *_) in enumerate(found.rows, 1):
        console.print(f"{number}  {model}, {px} px", soft_wrap=True, highlight=False)
    _, _, step, _, batch, *_, machine = found.rows[0]
    shown = slice(found.columns.index("format"), -1)  # the rest is the same for all, or above
    title = f"{step} steps, batch {batch}, {machine}"
    table = Table("", *found.columns[shown], title=title, title_justify="left", box=None)
    for column in table.columns:
        column.justify = "right"
    for number, row in enumerate(found.rows, 1):
        table.add_row(str(number), *row[shown])
    console.print(table)
    for note in found.notes:
        console.print(note, style="dim")


def _speed(
    setting: Setting,
    seconds: list[float],
    started: str,
    flops: int,
    shape: tuple[int, int],
    peak: int,
    matmul: float,
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
        device=setting.device,
        threads=setting.threads,
        steps=len(seconds),
        images_per_s=round(setting.batch / median(seconds), 4),
        slowest=round(setting.batch / max(seconds), 4),
        fastest=round(setting.batch / min(seconds), 4),
        peak_memory_mb=round(peak / 2**20, 1),
        flops=flops,
        matmul_flops_per_s=round(matmul),
        started=started,
        **about,
    )


def _facts(setting: Setting) -> tuple[int, tuple[int, int]]:
    """Return the FLOPs of a forward pass per image, and height and width of the images."""
    call = load_call(setting.model, setting.shape, "meta")
    cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    return cost.flops, tuple(call.inputs[0].shape[-2:])


# In the process of a model.
_steps: Steps


def _build(setting: Setting) -> None:
    global _steps
    _steps = Steps(setting)


def _step() -> float:
    return _steps.run()


def _finish() -> tuple[int, float]:
    return _steps.peak_memory(), _steps.matmul_speed()
