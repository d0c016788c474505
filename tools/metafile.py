"""Write configs/metafile.yml, the list of configs that OpenMMLab's tools read through model-index.yml.

It names no weights and no results: this project has trained no model of full size. FLOPs (a multiply-add is
1) and parameters are the counts of results/measured/cost.
"""

from pathlib import Path

import yaml

from mixmae_bench.report.make import read_results
from mixmae_bench.results.measurements import Count
from mixmae_bench.system.shipped import names, shipped

HEAD = "# Made by `python tools/metafile.py`, without weights and results.\n"

PAPERS = {
    "MixMAE": "https://arxiv.org/abs/2205.13137",
    "SimMIM": "https://arxiv.org/abs/2111.09886",
    "UM-MAE": "https://arxiv.org/abs/2205.10063",
    "GreenMIM": "https://arxiv.org/abs/2205.13515",
    "FCMAE": "https://arxiv.org/abs/2301.00808",
    "MAE": "https://arxiv.org/abs/2111.06377",
    "SparK": "https://arxiv.org/abs/2301.03580",
    "MaskFeat": "https://arxiv.org/abs/2112.09133",
    "BEiT": "https://arxiv.org/abs/2106.08254",
    "iTPN": "https://arxiv.org/abs/2211.12735",
    "timm": "https://github.com/huggingface/pytorch-image-models",
}
"""Address of the method of a collection; a config belongs to the first that its name contains."""

DATA = {
    "in1k": "ImageNet-1k",
    "in100": "ImageNet-100",
    "coco": "COCO",
    "ade20k": "ADE20K",
    "cityscapes": "Cityscapes",
    "voc2012": "PASCAL VOC 2012",
    "digits": "digits (embedded)",
    "inat2018": "iNaturalist 2018",
    "inat2019": "iNaturalist 2019",
    "places205": "Places205",
    "places365": "Places365",
    "cifar100": "CIFAR-100",
}


def content() -> str:
    """Return the text of the file."""
    counts = {count.model: count for count in read_results().counts}
    root = shipped("configs")
    models = []
    for path in names("configs").values():
        config = f"configs/{path.relative_to(root).as_posix()}"
        models.append(_model(path, config, counts.get(config)))
    collections = [{"Name": name, "Paper": {"URL": url}} for name, url in PAPERS.items()]
    file = {"Collections": collections, "Models": models}
    return HEAD + yaml.safe_dump(file, sort_keys=False, width=110)


def _model(path: Path, config: str, counted: Count | None) -> dict[str, object]:
    metadata: dict[str, object] = {"Training Data": _data_of(path.stem)}
    if counted:
        metadata |= {"FLOPs": counted.flops, "Parameters": counted.params}
    return {
        "Name": path.stem,
        "In Collection": _collection_of(path.stem),
        "Metadata": metadata,
        "Config": config,
    }


def _data_of(name: str) -> str:
    """Return the data set of a config: the part of its name behind the last '_'."""
    return DATA[name.rpartition("_")[2].partition("-")[0]]


def _collection_of(name: str) -> str:
    """Return the method of a config, whose backbone may be named after another method."""
    method = next(part for part in name.split("_") if any(_starts(part, known) for known in PAPERS))
    return next(known for known in PAPERS if _starts(method, known))


def _starts(part: str, method: str) -> bool:
    return part == method.lower() or part.startswith((f"{method.lower()}-", f"um-{method.lower()}"))


if __name__ == "__main__":
    (shipped("configs") / "metafile.yml").write_text(content(), encoding="utf-8")
