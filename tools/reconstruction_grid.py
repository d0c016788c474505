"""Draw docs/reconstructions.png: masked inputs and reconstructions of every method of the digits suite."""

import argparse
from pathlib import Path

from mmengine.registry import DATASETS, init_default_scope

from mixmae_bench.backbones.loading import load_model
from mixmae_bench.engine.config import find_data, load_config
from mixmae_bench.engine.pictures import columns_of, draw, sample
from mixmae_bench.registry import MODELS
from mixmae_bench.suite.spec import read_suite

ROWS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work-dir", type=Path, default=Path("work_dirs/digits"), help="work folder of `make bench`"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/reconstructions.png"))
    args = parser.parse_args()
    columns = {}
    for name, method in read_suite("digits").methods.items():
        if not method.pretrain:
            continue
        cfg = find_data(load_config(method.pretrain))
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        folder = args.work_dir / name / "seed0" / "pretraining"
        load_model(model, folder / Path((folder / "last_checkpoint").read_text().strip()).name)
        images = sample(DATASETS.build(cfg.train_dataloader.dataset), model, ROWS, seed=0)
        for title, pictures in columns_of(model, images, seed=0).items():
            columns[title if title == "original" else f"{name}\n{title}"] = pictures
    draw(columns).save(args.out)


if __name__ == "__main__":
    main()
