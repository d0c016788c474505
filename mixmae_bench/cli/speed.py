"""measure images per second and peak memory of models, interleaved in one run"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.errors import UserError
from mixmae_bench.system.collection import without_collection

if TYPE_CHECKING:
    from rich.console import Console

    from mixmae_bench.results.measurements import Speed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@DTYPE][+compile]",
        help="as for flops; DTYPE is float32 (without TF32), tf32, bfloat16 or float16 (default: bfloat16 if "
        "supported natively); with +compile, the blocks of this model are compiled",
    )
    parser.add_argument("--batch", type=int, default=16, help="images per step (default: 16)")
    parser.add_argument("--shape", nargs=2, type=int, metavar=("H", "W"), help="image size")
    parser.add_argument(
        "--inference", action="store_true", help="time forward passes instead of training steps"
    )
    parser.add_argument("--compile", action="store_true", help="compile the blocks of all models")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if available")
    parser.add_argument("--steps", type=int, default=10, help="timed steps per model (default: 10)")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed steps before them (default: 2)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the results to a JSON Lines file")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    if min(args.batch, args.steps, *(args.shape or [1])) < 1 or args.warm_up < 0:
        raise UserError("--batch, --steps and --shape must be 1 or more, --warm-up 0 or more")
    console = Console()
    with console.status("starting"), without_collection():
        from mixmae_bench.cost.speed import WorkerPool, measure, settings_of
        from mixmae_bench.results.record import append_record

        settings = settings_of(args.models, args.batch, args.shape, args.inference, args.compile, args.device)
    with WorkerPool() as pool:
        speeds, failures = measure(settings, args.steps, args.warm_up, console, pool)
    if speeds:
        show(speeds, console)
    if args.record:
        for speed in speeds:
            append_record(args.record, speed)
    for failure in failures:
        console.print(f"failed: {failure}", style="red", soft_wrap=True, markup=False, highlight=False)
    return 1 if failures else 0


def show(speeds: list["Speed"], console: "Console") -> None:
    """Print a row per model, with ratios to the first model."""
    from rich.table import Table

    from mixmae_bench.report.speeds import speed_table

    found = speed_table(speeds)
    for number, (_, model, _, px, *_) in enumerate(found.rows, 1):
        console.print(f"{number}  {model}, {px} px", soft_wrap=True, highlight=False)
    _, _, step, _, batch, *_, machine = found.rows[0]
    shown = slice(found.columns.index("format"), -1)  # the other columns are in the title or printed above
    title = f"{step} steps, batch {batch}, {machine}"
    table = Table("", *found.columns[shown], title=title, title_justify="left", box=None)
    for column in table.columns:
        column.justify = "right"
    for number, row in enumerate(found.rows, 1):
        table.add_row(str(number), *row[shown])
    console.print(table)
    for note in found.notes:
        console.print(note, style="dim")
