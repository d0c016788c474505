"""Train a config: pretraining, classification, detection or segmentation."""

import sys
from pathlib import Path

from mixmae_bench.cli import exits_on_user_error
from mixmae_bench.compat.openmmlab import require_family


@exits_on_user_error
def main() -> int:
    require_family()  # before the imports, which need it
    from mixmae_bench.cli.tools import existing, parser, read_config, use_amp
    from mixmae_bench.engine.batch import SCALE, processes
    from mixmae_bench.engine.distributed import destroy_process_group
    from mixmae_bench.engine.prepare import prepare, train
    from mixmae_bench.engine.trackers import check_trackers
    from mixmae_bench.system.files import check_writable

    options = parser(__doc__)
    options.add_argument(
        "--resume", nargs="?", const="auto", help="resume from the latest checkpoint, or from the given one"
    )
    options.add_argument(
        SCALE, action="store_true", help="scale the learning rate to the effective batch size"
    )
    options.add_argument(
        "--track", default="", metavar="NAME,...", help="also log to tensorboard, wandb or mlflow"
    )
    options.add_argument("--amp", action="store_true", help="automatic mixed precision (needs a GPU)")
    args = options.parse_args()
    trackers = args.track.split(",") if args.track else []
    check_trackers(trackers)
    cfg, work_dir = read_config(args)
    if args.resume and args.resume != "auto":
        cfg.resume, cfg.load_from = True, existing(args.resume)
    cfg = prepare(
        cfg,
        work_dir,
        processes(args.launcher),
        rescale=args.auto_scale_lr,
        resume=args.resume == "auto" or bool(cfg.get("resume") and not cfg.get("load_from")),
        trackers=trackers,
        name=(Path(args.config).stem, work_dir.name),
        by_option=True,
    )
    if args.amp:  # after the checks of the config: it needs an optim_wrapper
        use_amp(cfg)
    check_writable(work_dir)
    train(cfg, args.launcher)
    destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
