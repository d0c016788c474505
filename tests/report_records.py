"""Records of made-up runs."""

from mixmae_bench.results.record import SCHEMA, Record
from mixmae_bench.suite.spec import read_suite

VERSION = read_suite("digits").version
TASKS = {
    "pretraining": ("loss",),
    "classification": ("top1",),
    "detection": ("box_ap", "mask_ap"),
    "segmentation": ("miou",),
}


def record(method: str, seed: int, backbone: str = "MixMAESwin-small", **metrics: float) -> Record:
    return Record(
        schema=SCHEMA,
        suite="digits",
        suite_version=VERSION,
        method=method,
        backbone=backbone,
        task=next(task for task, names in TASKS.items() if next(iter(metrics)) in names),
        dataset="digits",
        seed=seed,
        key=f"{method}-{backbone}-{seed}-{'-'.join(metrics)}",
        initialisation="random",
        parent=None,
        metrics=metrics,
        stderr={},
        resamples=0,
        losses=[],
        grad_norms=[],
        num_samples=200,
        params=2032864,
        backbone_params=935764,
        flops=380818944,
        image_shape=[64, 64],
        config="config.py",
        config_hash="fedcba9876543210",
        data_hash="76543210fedcba98",
        checkpoint=None,
        checkpoint_filled=None,
        epochs=8,
        iterations=400,
        lr=2e-3,
        retries=0,
        processes=1,
        accumulation=1,
        effective_batch=8,
        images_per_s=80.0,
        seconds=12.5,
        peak_memory_mb=1024.5,
        threads=1,
        started="2026-01-02T03:04:05+00:00",
        code="0.1.0",
        code_hash="3210fedcba987654",
        packages={},
        hardware={},
    )
