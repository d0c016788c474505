"""Train from a config: pretraining, classification, detection or segmentation."""

import sys
from functools import partial
from pathlib import Path

from mixmae_bench.cli import exits_on_user_error
from mixmae_bench.engine.batch import SCALE, fit_lr, processes
from mixmae_bench.engine.config import check_training
from mixmae_bench.engine.distributed import leave
from mixmae_bench.engine.prepare import (
    build,
    configure,
    existing,
    names_dead_loaders,
    parser,
    resume_latest,
    use_amp,
)
from mixmae_bench.engine.resume import protect
from mixmae_bench.engine.retry import train
from mixmae_bench.engine.trackers import check_trackers, track
from mixmae_bench.system.files import check_writable


@exits_on_user_error
def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--resume", nargs="?", const="auto", help="go on from the latest checkpoint, or from this one"
    )
    options.add_argument(SCALE, action="store_true", help="scale the learning rate to the effective batch")
    options.add_argument(
        "--track", default="", metavar="NAME,...", help="log to tensorboard, wandb or mlflow as well"
    )
    options.add_argument("--amp", action="store_true", help="automatic mixed precision (needs a GPU)")
    args = options.parse_args()
    cfg = configure(args)
    check_training(cfg)
    fit_lr(cfg, processes(args.launcher), args.auto_scale_lr)
    if args.amp:
        use_amp(cfg)
    if args.resume and args.resume != "auto":
        cfg.resume, cfg.load_from = True, existing(args.resume)
    elif args.resume or (cfg.get("resume") and not cfg.get("load_from")):
        resume_latest(cfg)
    check_writable(Path(cfg.work_dir))
    protect(cfg)
    if args.track:
        trackers = args.track.split(",")
        check_trackers(trackers)
        track(cfg, trackers, Path(args.config).stem, Path(cfg.work_dir).name)
    with names_dead_loaders(cfg):
        train(cfg, partial(build, launcher=args.launcher, train=True))
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
