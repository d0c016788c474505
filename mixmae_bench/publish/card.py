"""The model card of a run, with its results in the format of the Hugging Face Hub."""

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mixmae_bench.publish.weights import OPENMMLAB, OPENMMLAB_CONFIG
from mixmae_bench.results.metrics import METRICS, title
from mixmae_bench.results.record import Record
from mixmae_bench.system.hub import shareable

PIPELINES = {
    "top1": ("image-classification", "accuracy"),
    "box_ap": ("object-detection", "box_ap"),
    "mask_ap": ("image-segmentation", "mask_ap"),
    "miou": ("image-segmentation", "mean_iou"),
}
"""The Hub's task, and its name of the metric, by our metric."""

TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

{{ what }}

## Results

| metric | value | standard error over images |
| --- | ---: | ---: |
{{ rows }}

{{ images }}

## Training

{{ training }}

## Cost

{{ cost }}

## Use

{{ use }}
"""


def card(record: Record, name: str, target: str, model: str | None) -> ModelCard:
    """Return the model card of a run.

    Args:
        record: The record of the run.
        name: Name of the repository or folder.
        target: The repository ('hf-hub:ORG/NAME') or folder ('local-dir:FOLDER') that commands name.
        model: Name of the model in timm, or None.
    """
    known = [metric for metric in record.metrics if metric in PIPELINES]
    data = ModelCardData(
        library_name="timm" if model else "mmengine",
        pipeline_tag=PIPELINES[known[0]][0] if known else None,
        tags=["mixmae-bench", "masked-image-modelling", record.method],
        model_name=name,
        eval_results=[_result(record, metric) for metric in known] or None,
    )
    rows = "\n".join(
        f"| {METRICS[key].meaning if key in METRICS else key} | {value:.2f} | {_error(record, key)} |"
        for key, value in record.metrics.items()
    )
    absent = f" No validation image has {', '.join(record.absent_classes)}." if record.absent_classes else ""
    return ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        title=name,
        what=f"{record.backbone} ({record.method}), trained for {record.task} on {record.dataset} with "
        "mixmae-bench.",
        rows=rows,
        images=f"Evaluated after the last epoch on {record.num_samples} images of {record.dataset}.{absent}",
        training=_lines(_training(record)),
        cost=_lines(_cost(record)),
        use=_use(record, target, model),
    )


def _result(record: Record, metric: str) -> EvalResult:
    task, kind = PIPELINES[metric]
    return EvalResult(
        task_type=task,
        dataset_type=record.dataset,
        dataset_name=record.dataset,
        dataset_split="validation",
        metric_type=kind,
        metric_name=title(metric),
        metric_value=record.metrics[metric],
        metric_args={"stderr": record.stderr[metric]} if metric in record.stderr else None,
    )


def _error(record: Record, metric: str) -> str:
    return f"{record.stderr[metric]:.2f}" if metric in record.stderr else ""


def _training(record: Record) -> dict[str, object]:
    initial = {"random": "random weights"}.get(record.initialisation, record.initialisation)
    weights = shareable(record.checkpoint_source or "")
    if record.checkpoint:
        weights = f"{weights} (SHA-256 {record.checkpoint}...)".strip()
    return {
        "initialisation": f"{initial}{': ' if weights else ''}{weights}",
        "config": f"`{OPENMMLAB_CONFIG}` (from {record.config}, hash {record.config_hash})",
        "data": f"{record.dataset} (hash {record.data_hash})",
        "schedule": f"{record.epochs} epochs" if record.epochs else f"{record.iterations} iterations",
        "learning rate": f"{record.lr:.4g}" if record.lr else None,
        "images per step": record.effective_batch,
        "precision": record.precision,
        "seed": record.seed,
        "protocol": record.protocol,
        "code": record.code,
    }


def _cost(record: Record) -> dict[str, object]:
    hardware = ", ".join(f"{key} {value}" for key, value in record.hardware.items() if value)
    flops = f"{record.flops / 1e9:.3g} G, a multiply-add is 1" if record.flops else None
    shape = "x".join(map(str, record.image_shape))
    return {
        "parameters": f"{record.params / 1e6:.2f} M (backbone: {record.backbone_params / 1e6:.2f} M)",
        f"FLOPs of a forward pass at {shape} px": flops,
        "training": f"{record.seconds:.0f} s with evaluation",
        "processes": record.processes,
        "images per second": record.images_per_s,
        "peak memory per process": f"{record.peak_memory_mb:.0f} MB",
        "hardware": hardware,
    }


def _lines(values: dict[str, object]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in values.items() if value not in (None, ""))


def _use(record: Record, target: str, model: str | None) -> str:
    parts = []
    if model:
        own = "import mixmae_bench.timm_models\n" if model.startswith("mixmae_") else ""
        head = "" if "top1" in record.metrics else ", num_classes=0"
        parts.append(
            "The backbone (of a classifier: with its head) in timm:\n\n```python\nimport timm\n"
            f'{own}model = timm.create_model("{target}", pretrained=True{head})\n```'
        )
    parts.append(
        "The whole model in OpenMMLab, with mixmae-bench installed:\n\n"
        f"```sh\npython tools/test.py {OPENMMLAB_CONFIG} {OPENMMLAB}\n```"
    )
    parts.append(
        "As initial weights of another training:\n\n```sh\nmixmae-bench finetune classification --data DIR "
        f"--checkpoint {target}\n```"
    )
    return "\n\n".join(parts)
