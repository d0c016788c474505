"""fine-tune a checkpoint on your own data: class folders, COCO files or label maps"""

import argparse
import math
from pathlib import Path

from mixmae_bench.cli.suite_arguments import PLAIN, report_failures
from mixmae_bench.errors import UserError

TASKS = ("classification", "detection", "segmentation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data")
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE|NAME",
        help="weights of the backbone: a file, timm:MODEL.TAG, timm:MODEL@FILE, hf-hub:REPO[@REVISION] "
        "or local-dir:FOLDER",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME|CONFIG",
        help="a model of timm, or a config with the backbone (default: recognised from the checkpoint)",
    )
    parser.add_argument(
        "--work-dir", type=Path, help="folder of all results (default: work_dirs/finetune-TASK-DATA)"
    )
    parser.add_argument("--epochs", type=int, help="length of the training")
    parser.add_argument("--batch-size", type=int, help="training images per process")
    parser.add_argument("--lr", type=float, help="learning rate")
    parser.add_argument("--img-size", type=int, help="side of the training images in pixels")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes, each with its own GPU if there are"
    )
    parser.add_argument(
        "--write-config", type=Path, metavar="FILE", help="write the config to FILE.py and do not train"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what is found and assumed")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    _check(args)
    console = Console()
    with console.status("starting"):
        # Imported here, as torch and mmengine take seconds to import.
        from mixmae_bench.finetune.recipes import Options
        from mixmae_bench.finetune.run import assume, result_lines, train, write

    folder = args.work_dir or Path("work_dirs") / f"finetune-{args.task}-{args.data.resolve().name}"
    file = args.write_config or folder / f"{args.task}.py"
    options = Options(args.epochs, args.batch_size, args.lr, args.img_size, args.processes)
    finetuning = assume(args.task, args.data, args.checkpoint, args.backbone, file, options)
    for fact in finetuning.facts:
        console.print(fact, **PLAIN)
    if args.dry_run:
        return 0
    suite = write(finetuning, file)
    console.print(f"config: {file}", **PLAIN)
    if args.write_config:
        console.print(f"train it with: mixmae-bench run {suite}, or python tools/train.py {file}", **PLAIN)
        return 0
    record, failed = train(suite, args.processes, console)
    for line in result_lines(record, folder) if record else ():
        console.print(line, **PLAIN)
    return report_failures(failed, folder, console)


def _check(args: argparse.Namespace) -> None:
    for name in ("epochs", "batch_size", "img_size", "processes", "lr"):
        value = getattr(args, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UserError(f"--{name.replace('_', '-')} is {value}; give a number above 0")
    if args.write_config and (args.dry_run or args.work_dir):
        raise UserError("--write-config cannot be used with --dry-run or --work-dir; remove one of them")
    if args.write_config and args.write_config.suffix != ".py":
        raise UserError(f"--write-config {args.write_config} must end in .py")
