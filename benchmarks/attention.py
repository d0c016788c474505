"""Time and memory of window attention on a GPU: the fused kernel against PyTorch's own operators.

All implementations compute the same layer: attention inside segments of windows with a bias from a table, and
its gradients. They run alternately, so other load on the machine affects all of them equally. PyTorch's get
tokens in the order of windows, the kernel gets them in the order of the map.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmae_bench.backbones.layers.window_kernel import fused_window_attention
from mixmae_bench.cli.exits import exits_on_user_error
from mixmae_bench.cost.memory import peak_memory, reset_peak_memory
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import append_record
from mixmae_bench.system.environment import code_version, hardware, packages

ATTENTION_SCHEMA = 1
"""Version of the fields of `Timing`."""

HEAD_DIM = 32


@dataclass(frozen=True)
class Timing:
    """Time and memory of one layer in one number format, one JSON line of the records.

    Attributes:
        schema: Version of these fields.
        case: Name of the layer.
        dtype: Number format of queries, keys and values.
        batch: Images.
        rounds: Times that each implementation ran.
        forward_ms: Median time of the output without gradients, ms, by implementation.
        training_ms: Median time of the output and all gradients, ms, by implementation.
        peak_memory_mb: Peak memory of the output and all gradients, without the inputs, by implementation.
        started: Start time, ISO 8601 in UTC.
        code: See `mixmae_bench.results.record.Record`.
        packages: See there.
        hardware: See there.
    """

    schema: int
    case: str
    dtype: str
    batch: int
    rounds: int
    forward_ms: dict[str, float]
    training_ms: dict[str, float]
    peak_memory_mb: dict[str, float]
    started: str
    code: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]


@dataclass(frozen=True)
class Case:
    """A layer: a square map of tokens in windows.

    Attributes:
        name: Its name.
        side: Side of the map in tokens.
        window: Side of a window in tokens, which divides `side`.
        heads: Heads.
        shift: Shift of the windows in tokens; those that wrap around contain several segments.
        mixed: Whether tokens belong to one of two images, by areas of 1/7 of the side.
        packed: Whether images have their own coordinates in a map of twice the side.
    """

    name: str
    side: int
    window: int
    heads: int
    shift: int = 0
    mixed: bool = False
    packed: bool = False


CASES = (
    Case("MixMAE-B, stage 1", 56, 14, 4, mixed=True),
    Case("MixMAE-B, stage 2", 28, 14, 8, mixed=True),
    Case("MixMAE-B, stage 3", 14, 14, 16, mixed=True),
    Case("MixMAE-B, stage 4", 7, 7, 32, mixed=True),
    Case("Swin-B, shifted, stage 1", 56, 7, 4, shift=3),
    Case("UM-MAE Swin-T, 256 px, stage 1", 32, 8, 3, packed=True),
)


@dataclass(frozen=True)
class Inputs:
    """Arguments of `fused_window_attention` (see there), and the same windows for PyTorch's operators.

    Attributes:
        rows: Rows of the table for pairs of queries and keys, int64 (1 or B, 1 or k, n, n).
        same: Pairs that attend, bool (k, n, n).
    """

    qkv: Tensor
    table: Tensor
    index: Tensor
    segment_ids: Tensor
    coords: Tensor
    side: int
    rows: Tensor
    same: Tensor


def make_inputs(case: Case, batch: int, dtype: torch.dtype, device: str) -> Inputs:
    """Return random inputs of a layer."""
    torch.manual_seed(0)

    def by_window(maps: Tensor) -> Tensor:
        """Reorder maps (b, H, W, ...) to (b, k, n, ...)."""
        rolled = maps.roll((-case.shift, -case.shift), (1, 2))
        windows = rolled.unflatten(2, (-1, case.window)).unflatten(1, (-1, case.window)).transpose(2, 3)
        return windows.flatten(3, 4).flatten(1, 2)

    wraps = (torch.arange(case.side) < case.shift).long()
    ids = 2 * wraps[:, None] + wraps
    if case.mixed:
        cell = case.side // 7
        ids = torch.randint(2, (7, 7)).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    segment_ids = by_window(ids[None])[0]
    index = by_window(torch.arange(case.side**2).view(1, case.side, case.side))[0]
    if case.packed:
        places = _grid(case.side)
        coords = by_window(2 * places + torch.randint(2, (batch, *places.shape)))
    else:
        coords = _grid(case.window).view(1, 1, -1, 2).expand(1, len(index), -1, 2)
    side = 2 * case.window * (1 + case.packed) - 1
    own = coords if case.packed else coords[:, :1]
    rows = ((own[:, :, :, None] - own[:, :, None] + side // 2) * torch.tensor([side, 1])).sum(-1)
    qkv = torch.randn(batch, case.side**2, 3 * case.heads * HEAD_DIM, device=device, dtype=dtype)
    return Inputs(
        qkv.requires_grad_(),
        torch.randn(side * side, case.heads, device=device, requires_grad=True),
        *(t.int().contiguous().to(device) for t in (index, segment_ids, coords)),
        side,
        rows.to(device),
        (segment_ids[:, :, None] == segment_ids[:, None]).to(device),
    )


def _grid(side: int) -> Tensor:
    line = torch.arange(side)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)


def fused(inputs: Inputs) -> Tensor:
    """Compute the layer with the kernel."""
    return fused_window_attention(
        inputs.qkv,
        inputs.table,
        inputs.index,
        inputs.segment_ids,
        inputs.coords,
        inputs.side,
        inputs.table.shape[1],
    )


def _windows(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return queries, keys, values (3, B, k, heads, n, dim), and the masked bias (1 or B, k, heads, n, n)."""
    heads, (k, n) = inputs.table.shape[1], inputs.index.shape
    bias = F.embedding(inputs.rows, inputs.table).permute(0, 1, 4, 2, 3)
    bias = bias.masked_fill(~inputs.same[:, None], float("-inf"))
    return inputs.qkv.view(-1, k, n, 3, heads, HEAD_DIM).permute(3, 0, 1, 4, 2, 5), bias


def sdpa(inputs: Inputs) -> Tensor:
    """Compute the layer with `scaled_dot_product_attention` and the bias as mask."""
    (query, key, value), bias = _windows(inputs)
    bias = bias.to(query.dtype).expand(len(query), -1, -1, -1, -1).flatten(0, 1)
    query, key, value = (t.flatten(0, 1) for t in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return out.transpose(1, 2).reshape(len(inputs.qkv), -1, inputs.qkv.shape[-1] // 3)


def products(inputs: Inputs) -> Tensor:
    """Compute the layer with batched matrix products and softmax."""
    (query, key, value), bias = _windows(inputs)
    weights = ((query @ key.mT).float() * HEAD_DIM**-0.5 + bias).softmax(-1).to(value.dtype)
    return (weights @ value).transpose(2, 3).reshape(len(inputs.qkv), -1, inputs.qkv.shape[-1] // 3)


IMPLEMENTATIONS = {"fused": fused, "sdpa": sdpa, "products": products}


def measure(case: Case, dtype: torch.dtype, batch: int, rounds: int) -> Timing:
    """Time all implementations of a layer on the GPU."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    inputs = make_inputs(case, batch, dtype, "cuda")
    forward, training, peak = {}, {}, {}
    for name, implementation in IMPLEMENTATIONS.items():
        _train(implementation, inputs)  # compiles kernels
        reset_peak_memory()
        before = torch.cuda.memory_allocated()
        _train(implementation, inputs)
        peak[name] = round((peak_memory() - before) / 2**20, 1)
    for _ in range(rounds):
        for name, implementation in IMPLEMENTATIONS.items():
            forward.setdefault(name, []).append(_milliseconds(_infer, implementation, inputs))
            training.setdefault(name, []).append(_milliseconds(_train, implementation, inputs))
    return Timing(
        schema=ATTENTION_SCHEMA,
        case=case.name,
        dtype=str(dtype).removeprefix("torch."),
        batch=batch,
        rounds=rounds,
        forward_ms={name: round(median(times), 4) for name, times in forward.items()},
        training_ms={name: round(median(times), 4) for name, times in training.items()},
        peak_memory_mb=peak,
        started=started,
        code=code_version(),
        packages=packages(),
        hardware=hardware(),
    )


def _infer(implementation: Callable[[Inputs], Tensor], inputs: Inputs) -> None:
    with torch.no_grad():
        implementation(inputs)


def _train(implementation: Callable[[Inputs], Tensor], inputs: Inputs) -> None:
    out = implementation(inputs)
    torch.autograd.grad(out, (inputs.qkv, inputs.table), torch.ones_like(out))


def _milliseconds(step: Callable, *args: object) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    step(*args)
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


@exits_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Time the layers in bfloat16 and float32; print and record each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=128, help="images (default: 128)")
    parser.add_argument("--rounds", type=int, default=10, help="timed runs of each (default: 10)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the results to a JSON-lines file")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        raise UserError("attention kernels are timed on a GPU, but torch finds none; see mixmae-bench doctor")
    for dtype in (torch.bfloat16, torch.float32):
        for case in CASES:
            timing = measure(case, dtype, args.batch, args.rounds)
            if args.record:
                append_record(args.record, timing)
            columns = ", ".join(
                f"{name} {timing.forward_ms[name]:.2f} / {timing.training_ms[name]:.2f} ms "
                f"{timing.peak_memory_mb[name]:.0f} MB"
                for name in IMPLEMENTATIONS
            )
            print(f"{timing.dtype} {case.name} (forward / training): {columns}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
