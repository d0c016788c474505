"""Command `mixmae-bench doctor`: check the installation and the hardware."""

import time

from rich.console import Console
from rich.table import Table

from mixmae_bench import __version__
from mixmae_bench.compat.openmmlab import family
from mixmae_bench.compat.ops import ops_kind
from mixmae_bench.errors import UserError
from mixmae_bench.system.environment import hardware, packages


def diagnose() -> int:
    """Print versions, OpenMMLab family, device, precisions and ops; return 0, or 1 if there is a problem."""
    console = Console()
    table = Table(box=None, show_header=False)
    problems = []
    table.add_row("mixmae-bench", __version__)
    for name, version in packages().items():
        table.add_row(name, version)
    try:
        table.add_row(
            "OpenMMLab family", {"onedl": "onedl-* (maintained forks)", "openmmlab": "original"}[family()]
        )
    except UserError as error:
        problems.append(str(error))
    for check in (_device, _ops, _frameworks):
        try:
            for row in check():
                table.add_row(*row)
        except Exception as error:  # report any broken part
            problems.append(
                f"{check.__name__.strip('_')}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
    console.print(table)
    for problem in problems:
        console.print(f"problem: {problem}", style="red", soft_wrap=True, markup=False)
    if not problems:
        console.print("no problem found", style="green")
    return 1 if problems else 0


def _device() -> list[tuple[str, str]]:
    import torch

    from mixmae_bench.engine.precision import why_not_bfloat16

    found = hardware()
    rows = [("cpu", f"{found['cpu']}, {found['cores']} cores"), ("gpu", str(found["gpu"] or "none"))]
    device = "cuda" if found["gpu"] else "cpu"
    rows += [
        (f"{name} matmul", _matmul_speed(getattr(torch, name), device))
        for name in ("float32", "bfloat16", "float16")
    ]
    why_not = why_not_bfloat16(device)
    rows.append(("Bf16OptimWrapper", f"float32; bfloat16: {why_not}" if why_not else "bfloat16"))
    return rows


def _matmul_speed(dtype: object, device: str) -> str:
    """Measure the speed of matrix multiplication for about 0.1 s after a warm-up."""
    import torch

    size = 4096 if device == "cuda" else 512
    a = torch.ones(size, size, device=device, dtype=dtype)
    (a @ a).sum().item()
    repeats, clock = 0, time.monotonic()
    while time.monotonic() - clock < 0.1:
        (a @ a)[0, 0].item()
        repeats += 1
    return f"{2 * size**3 * repeats / (time.monotonic() - clock) / 1e12:.2f} TFLOP/s on {device}"


def _ops() -> list[tuple[str, str]]:
    kind = {
        "compiled": "compiled",
        "torchvision": "torchvision's kernels (nms, soft-nms, roi_align; other ops raise)",
    }
    return [("mmcv ops", kind[ops_kind()])]


def _frameworks() -> list[tuple[str, str]]:
    """Import the frameworks of the transfer tasks; an incompatible version raises here."""
    import mmdet.models
    import mmpretrain.models
    import mmseg.models

    return [("import", f"{mmpretrain.models.__name__}, {mmdet.models.__name__}, {mmseg.models.__name__}: ok")]
