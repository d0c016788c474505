"""The command line. Imports lazily, so that --help is instant."""

import argparse
import errno
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from mixmae_bench.errors import ProcessDied, UserError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a full disk, or one that may not be written or read, says."""


def exits_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a mistake of the user, or a refusal of the disk, into one line on stderr and exit status 2.

    A process of ours that died is one line too, and exit status 1.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> int:
        try:
            return main(*args)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except ProcessDied as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2

    return wrapped


@exits_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command `mixmae-bench`; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="mixmae-bench", description="Transfer benchmark for masked image modelling on hierarchical ViTs."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="run a suite: pretraining, transfers, records and table")
    run.add_argument("suite", help="suite file, such as configs/suites/digits.yaml")
    run.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    run.add_argument("--seeds", help="seeds instead of the suite's, such as 0,1,2")
    run.add_argument("--methods", help="only these methods of the suite, such as scratch,mixmae")
    run.add_argument(
        "--jobs",
        type=int,
        help="cells to run side by side, each on GPUs of its own (default: as many as there are GPUs for; "
        "without GPUs one per core, at most 4; 16 on Slurm)",
    )
    run.add_argument(
        "--executor",
        choices=["local", "slurm"],
        help="run cells as jobs of submitit, which go on without this process (default: its own processes)",
    )
    run.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE|FILE",
        help="for --executor slurm, repeated: partition=..., time=MINUTES, gpus_per_node=..., or a YAML file",
    )
    run.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="processes that train each cell together, with a GPU each where there are GPUs (default: 1)",
    )
    run.add_argument(
        "--auto-scale-lr", action="store_true", help="scale learning rates to the effective batch"
    )
    run.add_argument(
        "--rerun",
        action="store_true",
        help="train again what is finished and no longer what the configs say; the old folders are kept",
    )
    run.add_argument(
        "--track", default="", metavar="NAME,...", help="log to tensorboard, wandb or mlflow as well"
    )
    run.add_argument(
        "--dry-run", action="store_true", help="only say what every run takes, from its config; needs no data"
    )
    run.add_argument(
        "--flops-per-s",
        type=float,
        metavar="N",
        help="for --dry-run: multiply-adds per second of one GPU, such as 1.5e14",
    )
    run.set_defaults(function=_run)

    status = commands.add_parser(
        "status", help="what of a suite is done, stale (and why), running, failed or missing"
    )
    status.add_argument("suite", help="suite file")
    status.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    status.add_argument("--seeds", help="seeds instead of the suite's, such as 0,1,2")
    status.add_argument("--processes", type=int, default=1, metavar="N", help="as given to run (default: 1)")
    status.add_argument("--auto-scale-lr", action="store_true", help="as given to run")
    status.set_defaults(function=_status)

    clean = commands.add_parser("clean", help="list the folders of stale runs of a suite, or remove them")
    clean.add_argument("suite", help="suite file")
    clean.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    clean.add_argument("--remove", action="store_true", help="remove them instead of listing them only")
    clean.set_defaults(function=_clean)

    validate = commands.add_parser(
        "validate", help="prove that configs build, load, train and evaluate, on tiny data sets"
    )
    validate.add_argument(
        "targets",
        nargs="*",
        type=Path,
        default=[Path("configs")],
        help="configs, suites or folders of configs (default: configs)",
    )
    validate.add_argument("--full", action="store_true", help="models at their full width")
    validate.add_argument("--checkpoint", type=Path, help="one to try in the backbone of every config")
    validate.set_defaults(function=_validate)

    verify = commands.add_parser(
        "verify", help="compare with recorded outputs of the official implementations"
    )
    verify.add_argument("folder", type=Path, help="folder with a manifest.json, such as tests/reference")
    verify.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    verify.add_argument("--only", default="*", metavar="PATTERN", help="cases to compare, such as 'mixmae_*'")
    verify.set_defaults(function=_verify)

    convert = commands.add_parser(
        "convert", help="bring a checkpoint of another code base to this one's names, or to the official ones"
    )
    convert.add_argument(
        "file", type=Path, help="checkpoint: official, mmpretrain's, timm's, or of a run here"
    )
    convert.add_argument("out", type=Path, help="file to write, .safetensors or .pth")
    convert.add_argument("--to", choices=["official"], help="write the names of the method's official code")
    convert.add_argument(
        "--fit", type=Path, metavar="CONFIG", help="resize position and bias tables to this config's backbone"
    )
    convert.add_argument(
        "--img-size",
        type=int,
        metavar="N",
        help="pixels per side, where only shift masks would tell",
    )
    convert.set_defaults(function=_convert)

    flops = commands.add_parser("flops", help="count parameters and FLOPs of models, module by module")
    flops.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="config file, or any model by name: timm:NAME, mmpretrain:NAME",
    )
    flops.add_argument(
        "--shape",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="size of the images (default: what the model is made for; detection 800 1280)",
    )
    flops.add_argument(
        "--device",
        default="meta",
        help="meta (default: no memory, no arithmetic), or cpu or cuda for models that look at values",
    )
    flops.add_argument("--record", type=Path, metavar="FILE", help="add the counts to a JSON-lines file")
    flops.set_defaults(function=_flops)

    reconstruct = commands.add_parser(
        "reconstruct", help="picture what a pretrained method sees and reconstructs"
    )
    reconstruct.add_argument("config", type=Path, help="config of a pretraining method")
    reconstruct.add_argument("checkpoint", type=Path, help="checkpoint of its run, or a converted one")
    reconstruct.add_argument(
        "images", type=Path, nargs="*", help="image files (default: a few of the training set)"
    )
    reconstruct.add_argument("--out", type=Path, default=Path("reconstruction.png"), help="PNG to write")
    reconstruct.add_argument("--seed", type=int, default=0, help="seed of the mask (default: 0)")
    reconstruct.set_defaults(function=_reconstruct)

    speed = commands.add_parser("speed", help="images per second and memory of models, in turn in one run")
    speed.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@DTYPE]",
        help="as for flops; DTYPE float32, bfloat16 or float16 (default: bfloat16 where the hardware has it)",
    )
    speed.add_argument("--batch", type=int, default=16, help="images per step (default: 16)")
    speed.add_argument("--shape", nargs=2, type=int, metavar=("H", "W"), help="size of the images")
    speed.add_argument("--inference", action="store_true", help="forward passes instead of training steps")
    speed.add_argument("--compile", action="store_true", help="through torch.compile")
    speed.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    speed.add_argument("--steps", type=int, default=10, help="timed steps of each model (default: 10)")
    speed.add_argument("--warm-up", type=int, default=2, help="steps before them (default: 2)")
    speed.add_argument("--record", type=Path, metavar="FILE", help="add the results to a JSON-lines file")
    speed.set_defaults(function=_speed)

    table = commands.add_parser(
        "table", help="published values beside measured ones, or the table of a suite"
    )
    table.add_argument(
        "name",
        nargs="?",
        help="imagenet, coco, ade20k, classification, pretraining-cost, speed, controlled, digits; records "
        "for all records as they are",
    )
    table.add_argument("--all", action="store_true", help="every table, as results/README.md (Markdown)")
    table.add_argument("--format", choices=["md", "csv", "latex"], default="md", help="default: md")
    table.add_argument(
        "--records",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="records instead of results/measured",
    )
    table.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")
    table.set_defaults(function=_table)

    export = commands.add_parser("export", help="write records to TensorBoard, Weights & Biases or MLflow")
    export.add_argument("tracker", help="tensorboard, wandb or mlflow")
    export.add_argument("records", type=Path, nargs="+", metavar="FILE", help="records.jsonl of a suite")
    export.add_argument("--out", type=Path, default=Path("exported"), help="folder (default: exported)")
    export.set_defaults(function=_export)

    report = commands.add_parser("report", help="one HTML file: table, plots, every run and how to repeat it")
    report.add_argument("suite", help="suite file")
    report.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="HTML file to write (default: report.html in the folder)"
    )
    report.add_argument("--plots", type=Path, metavar="DIR", help="write the plots there too, as SVG and PNG")
    report.set_defaults(function=_report)

    data = commands.add_parser("data", help="data sets: is one whole, and readable? how fast is it loaded?")
    data_commands = data.add_subparsers(dest="data_command", required=True)
    check = data_commands.add_parser(
        "check", help="compare a data set with what is published, and try every file"
    )
    check.add_argument(
        "name", help="imagenet, inat2018, inat2019, places205, places365, cifar100, coco, ade20k or digits"
    )
    check.add_argument("folder", type=Path, help="folder of the data set, in the published layout")
    check.add_argument("--quick", action="store_true", help="look if files are there, decode none")
    check.add_argument(
        "--list", type=Path, metavar="FILE", help="list of all problems (default: NAME_problems.txt)"
    )
    check.set_defaults(function=_data_check)

    loading = data_commands.add_parser(
        "speed", help="training images per second of one core, beside mmpretrain's and torchvision's"
    )
    loading.add_argument(
        "configs",
        nargs="*",
        type=Path,
        default=[Path("configs/pretrain/mixmae_swin-b-w14_16xb128-600e_in1k.py")],
        metavar="CONFIG",
        help="whose training pipelines to time (default: MixMAE's pretraining at 224 px)",
    )
    loading.add_argument("--images", type=int, default=256, help="JPEG files to make (default: 256)")
    loading.add_argument("--rounds", type=int, default=10, help="how often each loads them (default: 10)")
    loading.add_argument("--record", type=Path, metavar="FILE", help="add the results to a JSON-lines file")
    loading.set_defaults(function=_data_speed)

    doctor = commands.add_parser(
        "doctor", help="print versions, device and ops, and any conflict with its remedy"
    )
    doctor.set_defaults(function=_doctor)

    args = parser.parse_args(argv)
    return args.function(args)


def _run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mixmae_bench.suite.slurm import read_parameters
    from mixmae_bench.suite.spec import read_suite

    if args.slurm and args.executor != "slurm":
        raise UserError("--slurm goes with --executor slurm")
    parameters = read_parameters(args.slurm)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give 1 or more")
    if args.processes < 1:
        raise UserError(f"--processes is {args.processes}; give 1 or more")
    if args.processes > 1 and args.executor:
        raise UserError("--processes goes without --executor; on Slurm, --slurm gpus_per_node=N is for that")
    seeds = None if args.seeds is None else _integers(args.seeds)
    suite = read_suite(args.suite, seeds, args.methods.split(",") if args.methods else None)
    work_dir = args.work_dir or Path("work_dirs") / suite.name
    console = Console()
    if args.flops_per_s is not None and not (args.dry_run and args.flops_per_s > 0):
        raise UserError("--flops-per-s goes with --dry-run and is above 0")
    if args.dry_run:
        with console.status("starting"):
            from mixmae_bench.suite.estimate import show_estimate
        show_estimate(suite, args.flops_per_s, console)
        if args.executor == "slurm":
            from mixmae_bench.suite.cluster import show_scripts

            show_scripts(suite, work_dir, parameters)
        return 0
    with console.status("starting"):
        # Here, as importing torch and mmengine takes seconds.
        from mixmae_bench.suite.run import run_suite
        from mixmae_bench.suite.workers import Workers

    trackers = tuple(args.track.split(",")) if args.track else ()
    executor = Workers(args.processes)
    if args.executor:
        from mixmae_bench.suite.cluster import LocalJobs, SlurmJobs

        executor = SlurmJobs(parameters) if args.executor == "slurm" else LocalJobs()
    failed = run_suite(
        suite, work_dir, args.jobs, args.auto_scale_lr, trackers, console, executor, args.rerun
    )
    return 1 if failed else 0


def _status(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mixmae_bench.suite.spec import read_suite

    suite = read_suite(args.suite, None if args.seeds is None else _integers(args.seeds))
    console = Console()
    with console.status("starting"):
        from mixmae_bench.suite.status import show_status

    work_dir = args.work_dir or Path("work_dirs") / suite.name
    show_status(suite, work_dir, args.auto_scale_lr, args.processes, console)
    return 0


def _clean(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mixmae_bench.suite.spec import read_suite

    suite, console = read_suite(args.suite), Console()
    with console.status("starting"):
        from mixmae_bench.suite.stale import clean

    clean(suite, args.work_dir or Path("work_dirs") / suite.name, args.remove, console)
    return 0


def _validate(args: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from mixmae_bench.validate.run import validate

    return 1 if validate(args.targets, args.full, args.checkpoint, console) else 0


def _verify(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mixmae_bench.verify.run import verify

    return 1 if verify(args.folder, args.device, args.only, Console()) else 0


def _reconstruct(args: argparse.Namespace) -> int:
    from mixmae_bench.reconstruct import reconstruct

    print(reconstruct(args.config, args.checkpoint, args.images, args.out, args.seed))
    return 0


def _convert(args: argparse.Namespace) -> int:
    from mixmae_bench.convert.run import convert

    report = convert(args.file, args.out, args.to == "official", args.fit, args.img_size)
    print("\n".join([*report.lines(), f"wrote {args.out}"]))
    return 0


def _flops(args: argparse.Namespace) -> int:
    from rich.console import Console

    if args.shape and min(args.shape) < 1:
        raise UserError(f"--shape is {args.shape[0]} {args.shape[1]}; give height and width in pixels")
    console = Console()
    with console.status("starting"):
        from mixmae_bench.cost.table import show_cost
        from mixmae_bench.record import append_record
    for model in args.models:
        count = show_cost(model, args.shape, args.device, console)
        if args.record:
            append_record(args.record, count)
    return 0


def _speed(args: argparse.Namespace) -> int:
    from rich.console import Console

    if min(args.batch, args.steps, *(args.shape or [1])) < 1 or args.warm_up < 0:
        raise UserError("--batch, --steps and --shape take numbers from 1 on, --warm-up from 0 on")
    console = Console()
    with console.status("starting"):
        from mixmae_bench.cost.speed import measure, settings_of, show
        from mixmae_bench.record import append_record

        settings = settings_of(args.models, args.batch, args.shape, args.inference, args.compile, args.device)
    speeds, failures = measure(settings, args.steps, args.warm_up, console)
    if speeds:
        show(speeds, console)
    if args.record:
        for speed in speeds:
            append_record(args.record, speed)
    for failure in failures:
        console.print(f"failed: {failure}", style="red", soft_wrap=True, markup=False, highlight=False)
    return 1 if failures else 0


def _table(args: argparse.Namespace) -> int:
    from mixmae_bench.report.make import NAMES, make_table, read_results, results_page
    from mixmae_bench.report.table import FORMATS

    if args.all == bool(args.name):
        raise UserError(f"give the name of a table or --all; tables: {', '.join(NAMES)}")
    if args.all and args.format != "md":
        raise UserError("--all is Markdown; give the name of one table for another format")
    results = read_results(files=args.records)
    text = results_page(results) if args.all else FORMATS[args.format](make_table(args.name, results))
    for complaint in results.complaints:
        print(complaint, file=sys.stderr)
    if args.out:
        from mixmae_bench.files import write_atomically

        write_atomically(args.out, text)
    else:
        sys.stdout.write(text)
    return 0


def _export(args: argparse.Namespace) -> int:
    from mixmae_bench.trackers import export

    print(f"{export(args.records, args.tracker, args.out)} records written to {args.out}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from mixmae_bench.suite.spec import read_suite

    suite = read_suite(args.suite)
    work_dir = args.work_dir or Path("work_dirs") / suite.name
    if not (work_dir / "records.jsonl").is_file():
        raise UserError(f"{work_dir} holds no records.jsonl; give --work-dir, or run the suite first")
    from mixmae_bench.report.page import suite_records, write_plots, write_report

    for complaint in suite_records(suite, work_dir)[1]:
        print(complaint, file=sys.stderr)
    if args.plots:
        write_plots(suite, work_dir, args.plots)
    print(write_report(suite, work_dir, args.out))
    return 0


def _data_check(args: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from mixmae_bench.data.check import check_data

    listing = args.list or Path(f"{args.name}_problems.txt")
    return 1 if check_data(args.name, args.folder, args.quick, listing, console) else 0


def _data_speed(args: argparse.Namespace) -> int:
    from rich.console import Console

    if min(args.images, args.rounds) < 1:
        raise UserError("--images and --rounds take numbers from 1 on")
    console = Console()
    with console.status("starting"):
        from mixmae_bench.compat.openmmlab import quiet
        from mixmae_bench.record import append_record

        with quiet():
            from mixmae_bench.cost.loading import measure, pipelines_of, show

            pipelines = pipelines_of(args.configs)
    results = measure(pipelines, args.images, args.rounds, console)
    show(results, console)
    if args.record:
        for result in results:
            append_record(args.record, result)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from mixmae_bench.doctor import diagnose

    return diagnose()


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds is '{text}'; give integers with commas, such as 0,1,2") from None


if __name__ == "__main__":
    sys.exit(main())
