"""Replacement of ``mmcv._ext``, mmcv's compiled ops, with torchvision's kernels.

mmcv's wheels for current PyTorch releases have no compiled ops, so ``import mmcv.ops`` (and with it mmdet
and parts of mmseg) fails on ``mmcv._ext``. :func:`install` registers an import finder for this module. It
is the last one on ``sys.meta_path``, so it is used only if there is no compiled module.

``nms``, ``softnms``, ``roi_align_forward`` and ``roi_align_backward`` are implemented, as needed by Mask
R-CNN and UperNet. Every other op can be imported, but raises an error with its name when called.

This module imports neither torch nor mmcv until an op is used, so ``import mixmae_bench`` stays cheap.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EXT_NAME = "mmcv._ext"

_INSTALL_HINT = (
    "install mmcv with compiled ops (`mim install mmcv`, or build mmcv from source with MMCV_WITH_OPS=1)"
)
_POOL_MAX = 0  # mmcv's code for pool_mode "max"; 1 is "avg"
_NAIVE, _LINEAR, _GAUSSIAN = 0, 1, 2  # mmcv's codes for the soft-NMS methods


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression with ``torchvision::nms``.

    Differences from mmcv's compiled op:

    * Boxes with equal scores keep their input order (stable sort); in mmcv their order is undefined.
    * float64, float16 and bfloat16 are accepted (the latter two computed in float32); mmcv takes
      float32 only.
    * With ``offset=1``, 1 is added to ``x2`` and ``y2`` beforehand instead of to each difference, which
      is equal up to rounding.

    As in mmcv, a box is suppressed only if the IoU is strictly above the threshold, both in float32 for
    float32 boxes. Two boxes of zero area have no IoU (0/0) and never suppress each other.

    Args:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels.
        scores: ``(N,)``.
        iou_threshold: IoU in [0, 1] above which the box with the lower score is suppressed.
        offset: 0, or 1 if widths and heights are ``x2 - x1 + 1``.

    Returns:
        ``(K,)`` int64 indices of the kept boxes, by descending score; ``(0,)`` without boxes.

    Raises:
        ValueError: ``offset`` is neither 0 nor 1.
    """
    import torch

    _check_offset(offset)
    dtype = _box_dtype(boxes, scores)
    boxes = boxes.to(dtype)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # torchvision compares a float32 IoU with a float64 threshold: unlike in mmcv, an IoU of exactly 0.3
    # would be above 0.3, as float32(0.3) > 0.3.
    threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    return torch.ops.torchvision.nms(boxes, scores.to(dtype), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS on the CPU: overlapping boxes get lower scores instead of being removed.

    The order of equal scores is mmcv's, including its swaps. As in mmcv, the first box is always kept:
    ``min_score`` is tested only after a box has been reweighted.

    Differences from mmcv's compiled op: two boxes of zero area have IoU 0 (mmcv computes 0/0, and
    ``gaussian`` then turns the score into NaN); dtypes other than float32 are accepted.

    Args:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels.
        scores: ``(N,)``; not modified.
        dets: ``(N, 5)``, written in place: the first K rows become ``x1, y1, x2, y2, new score``.
        iou_threshold: IoU from which on (inclusive) ``naive`` and ``linear`` reweight; unused by
        ``gaussian``.
        sigma: width of the ``gaussian`` weight ``exp(-iou**2 / sigma)``.
        min_score: boxes with a new score below this value are dropped.
        method: 0 naive (weight 0), 1 linear (weight ``1 - iou``), 2 gaussian.
        offset: 0, or 1 if widths and heights are ``x2 - x1 + 1``.

    Returns:
        ``(K,)`` int64 CPU indices of the kept boxes, by descending new score.

    Raises:
        ValueError: ``method`` or ``offset`` is not one of the above.
    """
    import torch

    _check_offset(offset)
    if method not in (_NAIVE, _LINEAR, _GAUSSIAN):
        raise ValueError(f"soft-NMS method must be 0 (naive), 1 (linear) or 2 (gaussian), got {method}")
    dtype = _box_dtype(boxes, scores)
    rows = torch.cat([boxes.to("cpu", dtype), scores.to("cpu", dtype)[:, None]], dim=1)
    index = torch.arange(len(rows))
    count = len(rows)
    done = 0
    while done < count:
        best = done + int(rows[done:count, 4].argmax())
        if best != done:
            rows[[done, best]] = rows[[best, done]]
            index[[done, best]] = index[[best, done]]
        rest, rest_index = rows[done + 1 : count], index[done + 1 : count]
        iou = _iou(rows[done, :4], rest[:, :4], offset)
        if method == _GAUSSIAN:
            weight = torch.exp(-(iou * iou) / sigma)
        else:
            reduced = 1 - iou if method == _LINEAR else torch.zeros_like(iou)
            weight = torch.where(iou >= iou_threshold, reduced, torch.ones_like(iou))
        rest[:, 4] *= weight
        alive = ~(rest[:, 4] < min_score)
        kept = int(alive.sum())
        # As in mmcv, a dropped row is overwritten by the last kept one, which determines the order of ties.
        holes = (~alive[:kept]).nonzero().flatten()
        movers = alive[kept:].nonzero().flatten().flip(0) + kept
        rest[holes] = rest[movers]
        rest_index[holes] = rest_index[movers]
        done += 1
        count = done + kept
    dets[:count] = rows[:count].to(dets.dtype)
    return index[:count]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign with average pooling on ``torchvision::roi_align``.

    Both kernels sample the same points: ``sampling_ratio`` points per bin and axis, or
    ``ceil(roi size / bins)`` if it is 0 (an aligned RoI of zero size has no points, so its output is 0).
    A point more than one pixel outside the map counts as 0; a nearer one is clamped to the border. With
    ``aligned=False``, sizes are at least one pixel of the map.

    Differences from mmcv's compiled op:

    * float16 and bfloat16 are computed in float32, coordinates included; mmcv computes float16 in
      float16 and has no bfloat16. ``rois`` and ``input`` may have different dtypes; mmcv raises.
      In float64, ``spatial_scale`` keeps its full precision; mmcv rounds it to float32.
    * On the CPU, malformed RoIs raise ValueError: a non-finite coordinate or a batch index outside
      the batch (mmcv reads out of bounds), and, as in mmcv, an aligned RoI with ``x2 < x1`` or
      ``y2 < y1`` (torchvision's own kernel may fail in the allocator). On CUDA, as in mmcv, none of
      them is checked, to avoid synchronization with the device.
    * ``pool_mode="max"`` is not supported.

    Args:
        input: ``(B, C, H, W)`` feature map.
        rois: ``(N, 5)`` rows ``batch index, x1, y1, x2, y2``, coordinates in pixels of the image.
        output: ``(N, C, aligned_height, aligned_width)``, written in place.
        argmax_y: unused, needed by ``pool_mode="max"`` only.
        argmax_x: as ``argmax_y``.
        aligned_height: bins along y.
        aligned_width: bins along x.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: points per bin along each axis; 0 for as many as the RoI covers.
        pool_mode: 1 for average.
        aligned: whether to shift by half a pixel of the map.

    Raises:
        NotImplementedError: ``pool_mode`` is 0 (max).
        ValueError: malformed ``rois``, or an empty batch with RoIs.
    """
    import torch

    _check_pool_mode(pool_mode)
    _check_rois(rois, input.shape[0], aligned)
    if input.numel() == 0 or output.numel() == 0:
        output.zero_()
        return
    dtype = _feature_dtype(input)
    pooled = torch.ops.torchvision.roi_align(
        input.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to its input.

    As in mmcv, sums on CUDA are atomic, so the last bits vary from run to run. With
    ``torch.use_deterministic_algorithms(True)``, the CUDA kernel raises an error in torchvision before 0.29
    (pass ``warn_only=True`` to continue); from 0.29 on it does not, like mmcv.

    Args:
        grad_output: ``(N, C, aligned_height, aligned_width)``.
        rois: ``(N, 5)``, as given to the forward.
        argmax_y: unused, needed by ``pool_mode="max"`` only.
        argmax_x: as ``argmax_y``.
        grad_input: ``(B, C, H, W)``; the gradient is added to it in place (mmcv passes zeros).
        aligned_height: bins along y.
        aligned_width: bins along x.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: points per bin along each axis.
        pool_mode: 1 for average.
        aligned: whether to shift by half a pixel of the map.

    Raises:
        NotImplementedError: ``pool_mode`` is 0 (max).
        ValueError: malformed ``rois``, or an empty batch with RoIs.
    """
    import torch

    _check_pool_mode(pool_mode)
    _check_rois(rois, grad_input.shape[0], aligned)
    if grad_input.numel() == 0 or grad_output.numel() == 0:
        return
    dtype = _feature_dtype(grad_output)
    grad = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.add_(grad)


def get_compiler_version() -> str:
    """What mmcv's ``collect_env`` prints as the compiler of its ops."""
    return "n/a (no compiled ops, torchvision kernels)"


def get_compiling_cuda_version() -> str:
    """What mmcv's ``collect_env`` prints as the CUDA version of its ops."""
    return "n/a (no compiled ops, torchvision kernels)"


_OPS: dict[str, Callable[..., Any]] = {
    op.__name__: op
    for op in (
        nms,
        softnms,
        roi_align_forward,
        roi_align_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
}


def install() -> None:
    """Make ``mmcv._ext`` importable if mmcv has no compiled ops.

    Appends an import finder to ``sys.meta_path``; a second call has no effect. Imports nothing.
    """
    if not any(isinstance(finder, _ExtFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExtFinder())


def ops_kind() -> str:
    """Return which ops mmcv uses after :func:`install`, without importing mmcv or torch.

    Returns:
        ``"compiled"`` for mmcv's own ops, ``"torchvision"`` for the ops of this module.

    Raises:
        ModuleNotFoundError: mmcv is not installed.
    """
    loaded = sys.modules.get(EXT_NAME)
    if loaded is not None:
        ours = isinstance(getattr(loaded, "__loader__", None), _ExtLoader)
        return "torchvision" if ours else "compiled"
    package = importlib.util.find_spec("mmcv")
    if package is None:
        raise ModuleNotFoundError("mmcv is not installed", name="mmcv")
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is None or isinstance(finder, _ExtFinder):
            continue
        if find_spec(EXT_NAME, package.submodule_search_locations) is not None:
            return "compiled"
    return "torchvision"


class _ExtLoader(importlib.abc.Loader):
    """Loads the module ``mmcv._ext`` with the ops of this file."""

    def exec_module(self, module: ModuleType) -> None:
        import torch
        import torchvision

        # A torchvision built for another torch can be imported, but has no kernels.
        if not hasattr(torch.ops.torchvision, "_roi_align_backward"):
            raise ImportError(
                f"torchvision {torchvision.__version__} has no compiled kernels for torch "
                f"{torch.__version__}: install the torchvision version for this torch, or {_INSTALL_HINT}",
                name=EXT_NAME,
            )
        module.__doc__ = "mmcv's ops on torchvision's kernels, made by mixmae_bench.compat.ops."
        module.__dict__.update(_OPS, __getattr__=_missing_op)


class _ExtFinder(importlib.abc.MetaPathFinder):
    """Finds ``mmcv._ext`` and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != EXT_NAME:
            return None
        return importlib.machinery.ModuleSpec(fullname, _ExtLoader(), origin=__name__)


def _missing_op(name: str) -> Callable[..., NoReturn]:
    """``__getattr__`` of the module: mmcv looks up all its ops on import, but few are called."""
    if name.startswith("__"):
        raise AttributeError(f"module {EXT_NAME!r} has no attribute {name!r}")

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"mmcv op {name!r} has no torchvision replacement: {_INSTALL_HINT}")

    missing.__name__ = missing.__qualname__ = name
    return missing


def _box_dtype(boxes: Tensor, scores: Tensor) -> torch.dtype:
    """Return the dtype to compare boxes in: the wider of the two, at least float32."""
    import torch

    return torch.promote_types(torch.promote_types(boxes.dtype, scores.dtype), torch.float32)


def _feature_dtype(features: Tensor) -> torch.dtype:
    """Return the dtype to pool in: the CPU kernel has no bfloat16, and float16 coordinates are coarse."""
    import torch

    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _iou(box: Tensor, others: Tensor, offset: int) -> Tensor:
    """Return the IoU of a box ``(4,)`` with boxes ``(M, 4)``, shape ``(M,)``; 0 if the union is empty."""
    import torch

    area = (box[2:] - box[:2] + offset).prod()
    areas = (others[:, 2:] - others[:, :2] + offset).prod(dim=1)
    low = torch.maximum(box[:2], others[:, :2])
    high = torch.minimum(box[2:], others[:, 2:])
    inter = (high - low + offset).clamp(min=0).prod(dim=1)
    union = area + areas - inter
    return torch.where(union == 0, torch.zeros_like(union), inter / union)


def _check_offset(offset: int) -> None:
    if offset not in (0, 1):
        raise ValueError(f"offset must be 0 or 1, got {offset}")


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode == _POOL_MAX:
        raise NotImplementedError(
            "roi_align with pool_mode='max' has no torchvision kernel: set pool_mode='avg', or "
            f"{_INSTALL_HINT}"
        )


def _check_rois(rois: Tensor, batch: int, aligned: bool) -> None:
    """Raise for RoIs that would crash the kernel. Values are checked on the CPU only: see the forward."""
    import torch

    if rois.shape[0] == 0:
        return
    if batch == 0:
        raise ValueError(f"roi_align got {rois.shape[0]} RoIs for an empty batch")
    if rois.dtype == torch.bfloat16:
        # mmdet casts RoIs to the dtype of the features; bfloat16 has 8 significant bits.
        warnings.warn(
            "roi_align got RoIs in bfloat16, which rounds coordinates from 1024 px on to multiples of 8 px: "
            "keep the features that reach the RoI head in float32",
            stacklevel=3,
        )
    if rois.device.type != "cpu":
        return
    if not bool(rois.isfinite().all()):
        raise ValueError("roi_align got RoIs with non-finite values")
    if not bool(((rois[:, 0] >= 0) & (rois[:, 0] < batch)).all()):
        raise ValueError(f"roi_align got RoIs with a batch index outside the batch of {batch}")
    if aligned and bool((rois[:, 3:] < rois[:, 1:3]).any()):
        raise ValueError("roi_align got RoIs with x2 < x1 or y2 < y1, which aligned=True does not support")
