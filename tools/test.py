"""Evaluate a checkpoint with a config: classification, detection or segmentation."""

import sys

from mixmae_bench.cli import exits_on_user_error
from mixmae_bench.compat.openmmlab import require_family


@exits_on_user_error
def main() -> int:
    require_family()  # before the imports, which need it
    from mixmae_bench.backbones.loading import load_model
    from mixmae_bench.cli.tools import existing, parser, read_config
    from mixmae_bench.compat.checkpoints import safe_loaders
    from mixmae_bench.datasets.checks import check_datasets
    from mixmae_bench.engine.config import check_model, find_data
    from mixmae_bench.engine.distributed import destroy_process_group, unwrapped
    from mixmae_bench.engine.prepare import build, dead_loaders_named
    from mixmae_bench.errors import UserError
    from mixmae_bench.system.files import check_writable

    options = parser(__doc__)
    options.add_argument("checkpoint", help="checkpoint of the whole model, as written by training")
    args = options.parse_args()
    cfg, work_dir = read_config(args)
    if not cfg.get("test_dataloader"):
        raise UserError(f"config {args.config} has no test_dataloader; give a config that evaluates")
    cfg = find_data(cfg)
    check_model(cfg)
    checkpoint = existing(args.checkpoint)
    check_datasets(cfg)
    cfg.work_dir = str(work_dir)
    check_writable(work_dir)
    cfg.pop("runner_type", None)  # evaluation needs no sharding
    cfg.load_from, cfg.resume = None, False  # else mmengine would overwrite the checkpoint's weights
    with safe_loaders(), dead_loaders_named(cfg):
        runner = build(cfg, args.launcher, train=False)
        load_model(unwrapped(runner.model), checkpoint)
        runner.test()
    destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
