"""Speed and memory of training steps on a GPU, against what a user would run instead.

usage: benchmarks/gpu.py FOLDER PART   PART is pretraining or dense; each takes under four minutes on an H100.

Writes records to FOLDER, one file per comparison, as they come. All models of a comparison take turns in one
run. They must fit in the GPU's memory together.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from mixmae_bench.cli.exits import exits_on_user_error
from mixmae_bench.cli.speed import show
from mixmae_bench.cost.speed import WorkerPool, measure, settings_of
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import append_record

MIXMIM = "mmpretrain:mixmim_mixmim-base_16xb128-coslr-300e_in1k"
MIXMAE = "configs/pretrain/mixmae_swin-b-w14_16xb128-300e_in1k.py"
SIMMIM = "configs/pretrain/simmim_mixmae-swin-b-w14_16xb128-300e_in1k.py"
UM_MAE = "configs/pretrain/um-mae_mixmae-swin-b-w14_16xb128-300e_in1k-256px.py"
UM_SIMMIM_SWIN = "configs/pretrain/um-simmim_swin-t_16xb256-200e_in1k-256px.py"
UM_MAE_SWIN = "configs/pretrain/um-mae_swin-t_16xb256-200e_in1k-256px.py"
UM_SIMMIM_PVT = "benchmarks/um-simmim_pvt-s.py"
UM_MAE_PVT = "configs/pretrain/um-mae_pvt-s_16xb256-200e_in1k-256px.py"
MASK_RCNNS = [
    "benchmarks/mask-rcnn_mmdet-swin-b-w7.py",
    "configs/detection/mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py",
]
UPERNETS = [
    "benchmarks/upernet_mmseg-swin-b-w7.py",
    "configs/segmentation/upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px.py",
]


BF16 = "bfloat16"


@dataclass(frozen=True)
class Comparison:
    """Models that take turns.

    Attributes:
        file: Name of the file of records, without its suffix.
        models: As for `mixmae-bench speed`; ratios refer to the first one.
        batch: Images per step.
        shape: Height and width of the images, or None for the models' own.
    """

    file: str
    models: list[str]
    batch: int
    shape: tuple[int, int] | None = None


def in_format(models: list[str], dtype: str) -> list[str]:
    """Return the models with a number format, which stands before +compile and +graph."""
    return [re.sub(r"$|(?=\+)", f"@{dtype}", model, count=1) for model in models]


def graphed(models: list[str]) -> list[str]:
    """Return the models with CUDA graphs."""
    return [f"{model}+graph" for model in models]


PARTS = {
    "pretraining": [
        Comparison("mixmae-b", in_format([MIXMIM, MIXMAE, f"{MIXMAE}+graph"], BF16), 128),
        Comparison("um-mae", in_format([UM_SIMMIM_SWIN, UM_MAE_SWIN], BF16), 256),
        Comparison("um-mae", in_format(graphed([UM_SIMMIM_SWIN, UM_MAE_SWIN]), BF16), 256),
        Comparison("um-mae", in_format([UM_SIMMIM_PVT, UM_MAE_PVT], BF16), 256),
        Comparison("um-mae", in_format(graphed([UM_SIMMIM_PVT, UM_MAE_PVT]), BF16), 256),
        Comparison("methods", in_format(graphed([SIMMIM, MIXMAE, UM_MAE]), BF16), 128),
        Comparison("mixmae-b", in_format([MIXMIM, f"{MIXMAE}+compile+graph"], BF16), 128),
        Comparison("mixmae-b", in_format([MIXMIM, MIXMAE], "float32"), 128),
        Comparison("methods", in_format([SIMMIM, MIXMAE, UM_MAE], BF16), 128),
        Comparison("mixmae-b", in_format([MIXMIM, MIXMAE, f"{MIXMAE}+graph"], BF16), 64),
        Comparison("mixmae-b", in_format([f"{MIXMIM}+compile", f"{MIXMAE}+compile"], BF16), 128),
    ],
    "dense": [
        Comparison("mask-rcnn", in_format(MASK_RCNNS, BF16), 2, (800, 1333)),
        Comparison("upernet", in_format(UPERNETS, BF16), 2),
        Comparison("upernet", in_format(UPERNETS, BF16), 8),
        Comparison("mask-rcnn", in_format(MASK_RCNNS, "float32"), 2, (800, 1333)),
        Comparison("upernet", in_format(UPERNETS, "float32"), 2),
        Comparison("upernet", in_format(UPERNETS, "float32"), 8),
    ],
}
STEPS, WARM_UP = 12, 5


@exits_on_user_error
def main(argv: list[str]) -> int:
    """Measure a part; return the exit status."""
    if len(argv) != 2 or argv[1] not in PARTS:
        raise UserError(f"usage: benchmarks/gpu.py FOLDER {'|'.join(PARTS)}")
    if not torch.cuda.is_available():
        raise UserError("benchmarks/gpu.py needs a GPU, but torch finds none; see mixmae-bench doctor")
    console, failures = Console(), []
    with WorkerPool() as pool:
        for row in PARTS[argv[1]]:
            settings = settings_of(row.models, row.batch, row.shape, False, False, "cuda")
            speeds, failed = measure(settings, STEPS, WARM_UP, console, pool)
            failures += failed
            if speeds:
                show(speeds, console)
            for speed in speeds:
                append_record(Path(argv[0], f"{row.file}.jsonl"), speed)
    for failure in failures:
        console.print(f"failed: {failure}", style="red", soft_wrap=True, markup=False, highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
