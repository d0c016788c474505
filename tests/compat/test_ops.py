"""The torchvision stand-in for ``mmcv._ext`` against slow float64 loops written here."""

from __future__ import annotations

import importlib
import importlib.util
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mixmae_bench.compat import ops

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
HEIGHT, WIDTH = 9, 12


@pytest.fixture(scope="module")
def mmcv_ops() -> ModuleType:
    """``mmcv.ops`` on the stand-in."""
    ops.install()
    if ops.ops_kind() == "compiled":
        pytest.skip("mmcv has compiled ops here, so the stand-in is not in use")
    return importlib.import_module("mmcv.ops")


# --- references -----------------------------------------------------------------------------------


def bilinear_taps(y: float, x: float, height: int, width: int) -> list[tuple[int, int, float]]:
    """(row, column, weight) of the pixels a sample point reads; none further than a pixel outside."""
    if y < -1 or y > height or x < -1 or x > width:
        return []
    y = min(max(y, 0.0), height - 1.0)
    x = min(max(x, 0.0), width - 1.0)
    taps = []
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if row < height and column < width:
                taps.append((row, column, weight))
    return taps


def roi_align_weights(
    rois: np.ndarray,
    size: tuple[int, int],
    scale: float,
    sampling: int,
    aligned: bool,
    shape: tuple[int, int],
) -> np.ndarray:
    """RoIAlign is linear in the map: the weight of every pixel in every bin, ``(N, PH, PW, H, W)``."""
    weights = np.zeros((len(rois), *size, *shape))
    shift = 0.5 if aligned else 0.0
    for n, (_, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale - shift, y1 * scale - shift
        roi_width = (x2 * scale - shift) - left
        roi_height = (y2 * scale - shift) - top
        if not aligned:
            roi_width, roi_height = max(roi_width, 1.0), max(roi_height, 1.0)
        bin_height, bin_width = roi_height / size[0], roi_width / size[1]
        grid_y = sampling or math.ceil(bin_height)
        grid_x = sampling or math.ceil(bin_width)
        for ph in range(size[0]):
            for pw in range(size[1]):
                for iy in range(grid_y):
                    for ix in range(grid_x):
                        y = top + (ph + (iy + 0.5) / grid_y) * bin_height
                        x = left + (pw + (ix + 0.5) / grid_x) * bin_width
                        for row, column, weight in bilinear_taps(y, x, *shape):
                            weights[n, ph, pw, row, column] += weight / (grid_y * grid_x)
    return weights


def reference_roi_align(features: np.ndarray, rois: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``(N, C, PH, PW)``."""
    out = np.zeros((len(rois), features.shape[1], *weights.shape[1:3]))
    for n, roi in enumerate(rois):
        for c in range(features.shape[1]):
            out[n, c] = (weights[n] * features[int(roi[0]), c]).sum(axis=(-2, -1))
    return out


def reference_roi_align_grad(
    grad: np.ndarray, rois: np.ndarray, weights: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Gradient with respect to the map, ``(B, C, H, W)``."""
    out = np.zeros(shape)
    for n, roi in enumerate(rois):
        for c in range(shape[1]):
            out[int(roi[0]), c] += (weights[n] * grad[n, c][:, :, None, None]).sum(axis=(0, 1))
    return out


def iou(a: list[float], b: list[float], offset: int) -> float:
    """IoU of two boxes; 0 where both are empty."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    inter = width * height
    union = sum((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)) - inter
    return inter / union if union else 0.0


def reference_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int = 0) -> list[int]:
    """Indices kept, by falling score, ties in input order."""
    rows = boxes.double().tolist()
    values = scores.double().tolist()
    kept: list[int] = []
    for i in sorted(range(len(rows)), key=lambda k: -values[k]):
        if all(iou(rows[i], rows[k], offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def reference_soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    threshold: float,
    sigma: float,
    min_score: float,
    method: str,
    offset: int = 0,
) -> tuple[list[int], list[float]]:
    """Indices kept and their new scores. Chosen and dropped entries change places as in mmcv."""
    values = scores.double().tolist()
    pool = [[box, values[i], i] for i, box in enumerate(boxes.double().tolist())]
    chosen = []
    while pool:
        best = max(range(len(pool)), key=lambda k: pool[k][1])
        pool[0], pool[best] = pool[best], pool[0]
        top = pool.pop(0)
        chosen.append(top)
        k = 0
        while k < len(pool):
            overlap = iou(top[0], pool[k][0], offset)
            if method == "gaussian":
                pool[k][1] *= math.exp(-overlap * overlap / sigma)
            elif overlap >= threshold:
                pool[k][1] *= 1 - overlap if method == "linear" else 0.0
            if pool[k][1] < min_score:
                pool[k] = pool[-1]
                pool.pop()
            else:
                k += 1
    return [c[2] for c in chosen], [c[1] for c in chosen]


# --- RoIAlign -------------------------------------------------------------------------------------


def make_features(batch: int = 3, channels: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, HEIGHT, WIDTH, generator=generator, dtype=torch.float64).to(dtype)


def make_rois(scale: float) -> torch.Tensor:
    """RoIs in image pixels whose places on the map are those listed, whatever the scale."""
    on_map = [
        [0, 1.3, 2.1, 7.9, 6.4],  # inside
        [2, 0.0, 0.0, WIDTH, HEIGHT],  # the whole map
        [1, -3.2, -2.7, 4.1, 3.3],  # over the top left corner
        [1, 8.2, 5.1, 15.7, 13.6],  # over the bottom right corner
        [0, -0.5, -0.4, 0.45, 0.35],  # within a pixel of the border
        [2, 11.6, 8.7, 12.3, 9.4],
        [0, -9.1, -8.3, -4.2, -3.7],  # outside, before and after
        [2, 14.3, 11.2, 19.1, 17.8],
        [1, 4.31, 3.17, 4.33, 3.19],  # far below a pixel
        [2, 4.3, 3.1, 4.3, 6.2],  # no width
        [0, 5.2, 5.2, 5.2, 5.2],  # a point
        [1, 0.7, 6.1, 11.3, 6.4],  # long and thin
    ]
    rois = torch.tensor(on_map, dtype=torch.float64)
    rois[:, 1:] /= scale
    return rois


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 0.25, 0.3])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3)])
def test_roi_align_matches_loop(
    mmcv_ops: ModuleType, aligned: bool, sampling: int, scale: float, size: tuple[int, int]
) -> None:
    features, rois = make_features().requires_grad_(), make_rois(scale)
    weights = roi_align_weights(rois.numpy(), size, scale, sampling, aligned, (HEIGHT, WIDTH))
    out = mmcv_ops.roi_align(features, rois, size, scale, sampling, "avg", aligned)
    expected = reference_roi_align(features.detach().numpy(), rois.numpy(), weights)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=0, atol=1e-12)

    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out.backward(grad)
    expected = reference_roi_align_grad(grad.numpy(), rois.numpy(), weights, tuple(features.shape))
    np.testing.assert_allclose(features.grad.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampling", [1, 2])
@pytest.mark.parametrize(
    ("x", "y", "row", "column"),
    [
        (-0.5, 3.5, 3, 0),
        (WIDTH + 0.5, 3.5, 3, WIDTH - 1),
        (4.5, -0.5, 0, 4),
        (4.5, HEIGHT + 0.5, HEIGHT - 1, 4),
    ],
)
def test_roi_align_reads_up_to_one_pixel_outside(
    mmcv_ops: ModuleType, x: float, y: float, row: int, column: int, sampling: int
) -> None:
    """A point exactly one pixel outside is clamped to the border; one beyond that counts as 0."""
    features = make_features()
    on_limit = torch.tensor([[0, x, y, x, y]], dtype=torch.float64)
    out = mmcv_ops.roi_align(features, on_limit, (1, 1), 1.0, sampling, "avg", True)
    torch.testing.assert_close(out[0, :, 0, 0], features[0, :, row, column], rtol=0, atol=1e-12)
    center = torch.tensor([0, WIDTH / 2, HEIGHT / 2, WIDTH / 2, HEIGHT / 2], dtype=torch.float64)
    beyond = on_limit + 0.01 * (on_limit - center).sign()
    assert not mmcv_ops.roi_align(features, beyond, (1, 1), 1.0, sampling, "avg", True).any()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 1, 3])
def test_roi_align_of_a_ramp_is_the_bin_centre(mmcv_ops: ModuleType, aligned: bool, sampling: int) -> None:
    """Known by hand: inside the map, the mean of a linear function over a bin is its value at the centre."""
    rows = torch.arange(HEIGHT, dtype=torch.float64)[:, None]
    columns = torch.arange(WIDTH, dtype=torch.float64)[None]
    features = (2 * rows + 3 * columns)[None, None]
    roi = torch.tensor([[0, 4.0, 4.0, 20.0, 12.0]], dtype=torch.float64)  # (2, 2)-(10, 6) on the map
    out = mmcv_ops.roi_align(features, roi, (2, 4), 0.5, sampling, "avg", aligned)
    shift = 0.5 if aligned else 0.0
    y = torch.tensor([3.0, 5.0], dtype=torch.float64) - shift
    x = torch.tensor([3.0, 5.0, 7.0, 9.0], dtype=torch.float64) - shift
    torch.testing.assert_close(out[0, 0], 2 * y[:, None] + 3 * x[None], rtol=0, atol=1e-12)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align_gradcheck(mmcv_ops: ModuleType, aligned: bool, sampling: int) -> None:
    features = make_features(batch=2, channels=1)[:, :, :5, :6].contiguous().requires_grad_()
    rois = torch.tensor([[0, 0.7, 1.1, 8.3, 9.6], [1, -1.5, 2.2, 5.1, 4.4]], dtype=torch.float64)

    def pool(x: torch.Tensor) -> torch.Tensor:
        return mmcv_ops.roi_align(x, rois, (2, 3), 0.6, sampling, "avg", aligned)

    assert torch.autograd.gradcheck(pool, (features,))


@pytest.mark.parametrize("device", DEVICES)
def test_roi_align_float32(mmcv_ops: ModuleType, device: str) -> None:
    features = make_features(dtype=torch.float32).to(device).requires_grad_()
    rois = make_rois(0.25).float()
    weights = roi_align_weights(rois.double().numpy(), (3, 4), 0.25, 2, True, (HEIGHT, WIDTH))
    out = mmcv_ops.roi_align(features, rois.to(device), (3, 4), 0.25, 2, "avg", True)
    assert out.dtype == torch.float32
    expected = reference_roi_align(features.detach().cpu().double().numpy(), rois.numpy(), weights)
    np.testing.assert_allclose(out.detach().cpu().numpy(), expected, rtol=0, atol=1e-5)
    out.sum().backward()
    ones = np.ones(tuple(out.shape))
    expected = reference_roi_align_grad(ones, rois.numpy(), weights, tuple(features.shape))
    np.testing.assert_allclose(features.grad.cpu().numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:roi_align got RoIs in bfloat16")
@pytest.mark.parametrize("rois_like", ["features", "float32"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("device", DEVICES)
def test_roi_align_half_is_float32_rounded_once(
    mmcv_ops: ModuleType, dtype: torch.dtype, rois_like: str, device: str
) -> None:
    features = make_features(dtype=dtype).to(device).requires_grad_()
    rois = make_rois(0.25).to(device, dtype if rois_like == "features" else torch.float32)
    full = features.detach().float().requires_grad_()
    out = mmcv_ops.roi_align(features, rois, (3, 4), 0.25, 2, "avg", True)
    expected = mmcv_ops.roi_align(full, rois.float(), (3, 4), 0.25, 2, "avg", True)
    assert out.dtype == dtype
    assert torch.equal(out, expected.to(dtype))
    grad = torch.linspace(-1, 1, out.numel(), device=device).reshape(out.shape).to(dtype)
    out.backward(grad)
    expected.backward(grad.float())
    assert features.grad.dtype == dtype
    tolerance = 1e-6 if device == "cpu" else 1e-2  # sums on CUDA come in any order
    torch.testing.assert_close(features.grad, full.grad.to(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roi_align_under_autocast(mmcv_ops: ModuleType, dtype: torch.dtype) -> None:
    """Features come out of a convolution in low precision, RoIs stay in float32."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(2, 4, 1)
    with torch.autocast("cpu", dtype=dtype):
        features = convolution(make_features(dtype=torch.float32))
        out = mmcv_ops.roi_align(features, make_rois(0.5).float(), (2, 2), 0.5, 0, "avg", True)
    assert features.dtype == out.dtype == dtype
    expected = mmcv_ops.roi_align(features.float(), make_rois(0.5).float(), (2, 2), 0.5, 0, "avg", True)
    assert torch.equal(out, expected.to(dtype))
    out.float().sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.abs().sum() > 0


def test_bfloat16_rois_warn(mmcv_ops: ModuleType) -> None:
    """1333 becomes 1336 in bfloat16; mmdet casts RoIs to the dtype of the features."""
    rois = make_rois(1.0).bfloat16()
    with pytest.warns(UserWarning, match="bfloat16, which rounds coordinates"):
        mmcv_ops.roi_align(make_features(dtype=torch.bfloat16), rois, (2, 2), 1.0, 2, "avg", True)


def test_roi_align_takes_any_strides(mmcv_ops: ModuleType) -> None:
    plain = make_features().requires_grad_()
    strided = make_features().to(memory_format=torch.channels_last).requires_grad_()
    rois = make_rois(0.5)
    padded = torch.cat([rois, rois], dim=1)[:, :5]
    assert not strided.is_contiguous()
    assert not padded.is_contiguous()
    expected = mmcv_ops.roi_align(plain, rois, (3, 4), 0.5, 2, "avg", True)
    out = mmcv_ops.roi_align(strided, padded, (3, 4), 0.5, 2, "avg", True)
    assert torch.equal(out, expected)
    # A transpose in the loss makes the gradient non-contiguous.
    weight = torch.linspace(0, 1, out.numel(), dtype=torch.float64).reshape(out.transpose(2, 3).shape)
    (expected.transpose(2, 3) * weight).sum().backward()
    (out.transpose(2, 3) * weight).sum().backward()
    assert torch.equal(strided.grad, plain.grad)


def test_raw_ops_write_in_place_and_add_the_gradient(mmcv_ops: ModuleType) -> None:
    """Called as the extension, with tensors that are neither empty nor contiguous."""
    features, rois = make_features(), make_rois(0.5)
    settings = {
        "aligned_height": 3,
        "aligned_width": 4,
        "spatial_scale": 0.5,
        "sampling_ratio": 2,
        "pool_mode": 1,
        "aligned": True,
    }
    expected = mmcv_ops.roi_align(features, rois, (3, 4), 0.5, 2, "avg", True)
    unused = features.new_zeros(0)
    output = torch.full((len(rois), 2, 4, 3), math.nan, dtype=torch.float64).transpose(2, 3)
    extension = importlib.import_module("mmcv._ext")
    assert extension.roi_align_forward(features, rois, output, unused, unused, **settings) is None
    assert torch.equal(output, expected)

    leaf = features.clone().requires_grad_()
    mmcv_ops.roi_align(leaf, rois, (3, 4), 0.5, 2, "avg", True).sum().backward()
    grad_input = torch.ones_like(features)
    extension.roi_align_backward(torch.ones_like(expected), rois, unused, unused, grad_input, **settings)
    torch.testing.assert_close(grad_input, leaf.grad + 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("device", DEVICES)
def test_roi_align_of_no_rois(mmcv_ops: ModuleType, batch: int, device: str) -> None:
    features = torch.randn(batch, 2, 4, 5, device=device, requires_grad=True)
    out = mmcv_ops.roi_align(features, features.new_zeros(0, 5), (3, 2), 1.0, 0, "avg", True)
    assert out.shape == (0, 2, 3, 2)
    out.sum().backward()
    assert features.grad.shape == features.shape
    assert not features.grad.any()


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ([0, 3, 1, 2.9, 4], "x2 < x1"),
        ([0, 1, 3, 4, -30], "y2 < y1"),
        ([2, 1, 1, 4, 4], "batch index"),
        ([-1, 1, 1, 4, 4], "batch index"),
        ([0, math.nan, 1, 4, 4], "non-finite"),
        ([0, 1, 1, math.inf, 4], "non-finite"),
    ],
)
@pytest.mark.parametrize("sampling", [0, 2])
def test_malformed_rois_raise(mmcv_ops: ModuleType, roi: list[float], message: str, sampling: int) -> None:
    with pytest.raises(ValueError, match=message):
        mmcv_ops.roi_align(make_features(batch=2), torch.tensor([roi]), (2, 2), 1.0, sampling, "avg", True)


def test_rois_for_an_empty_batch_raise(mmcv_ops: ModuleType) -> None:
    with pytest.raises(ValueError, match="empty batch"):
        mmcv_ops.roi_align(torch.zeros(0, 1, 4, 4), torch.zeros(1, 5), (2, 2), 1.0, 2, "avg", True)


@pytest.mark.parametrize("sampling", [0, 2])
def test_unaligned_takes_reversed_boxes_as_one_pixel(mmcv_ops: ModuleType, sampling: int) -> None:
    features = make_features()
    boxes = torch.tensor([[0, 6.2, 5.1, 2.0, 1.0], [0, 6.2, 5.1, 7.2, 6.1]], dtype=torch.float64)
    out = mmcv_ops.roi_align(features, boxes, (2, 2), 1.0, sampling, "avg", False)
    torch.testing.assert_close(out[0], out[1], rtol=0, atol=1e-12)


def test_max_pooling_says_what_to_do(mmcv_ops: ModuleType) -> None:
    with pytest.raises(NotImplementedError, match=r"pool_mode='avg'.*MMCV_WITH_OPS=1"):
        mmcv_ops.roi_align(make_features(), make_rois(1.0), (2, 2), 1.0, 2, "max", True)


# --- NMS ------------------------------------------------------------------------------------------


def make_boxes(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes and scores, float32, with coordinates on a grid of halves so that both dtypes agree."""
    generator = torch.Generator().manual_seed(3)
    count = 60
    corner = torch.randint(0, 60, (count, 2), generator=generator) / 2
    extent = torch.randint(2, 40, (count, 2), generator=generator) / 2
    boxes = torch.cat([corner, corner + extent], dim=1)
    scores = torch.rand(count, generator=generator)
    if kind == "ties":
        scores = torch.randint(0, 4, (count,), generator=generator) / 4
    elif kind == "identical":
        boxes = boxes[torch.randint(0, 12, (count,), generator=generator)]
        scores = torch.randint(0, 9, (count,), generator=generator) / 9
    elif kind == "zero_area":
        boxes[::2, 2] = boxes[::2, 0]
        boxes[::5, 3] = boxes[::5, 1]
        boxes[:6] = torch.tensor([7.0, 7.0, 7.0, 7.0])
    elif kind == "one":
        boxes, scores = boxes[:1], scores[:1]
    elif kind == "empty":
        boxes, scores = boxes[:0], scores[:0]
    return boxes, scores


KINDS = ["random", "ties", "identical", "zero_area", "one", "empty"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.23, 0.71])
@pytest.mark.parametrize("kind", KINDS)
def test_nms_matches_loop(
    mmcv_ops: ModuleType, kind: str, threshold: float, offset: int, dtype: torch.dtype
) -> None:
    boxes, scores = (t.to(dtype) for t in make_boxes(kind))
    dets, kept = mmcv_ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == reference_nms(boxes, scores, threshold, offset)
    assert kept.dtype == torch.int64
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


@pytest.mark.parametrize("device", DEVICES)
def test_nms_stays_on_its_device_and_matches_loop(mmcv_ops: ModuleType, device: str) -> None:
    for kind in KINDS:
        boxes, scores = make_boxes(kind)
        for threshold in (0.0, 0.23, 0.71):
            for offset in (0, 1):
                _, kept = mmcv_ops.nms(boxes.to(device), scores.to(device), threshold, offset=offset)
                assert kept.device.type == device
                assert kept.tolist() == reference_nms(boxes, scores, threshold, offset)


def test_nms_offset_changes_the_outcome(mmcv_ops: ModuleType) -> None:
    """By hand: 4x4 boxes one apart share 12 of 20 pixels, and 5x5 of them, offset 1, 20 of 30."""
    boxes = torch.tensor([[0.0, 0, 4, 4], [1, 0, 5, 4]])
    scores = torch.tensor([0.5, 0.9])
    assert mmcv_ops.nms(boxes, scores, 0.63, offset=0)[1].tolist() == [1, 0]
    assert mmcv_ops.nms(boxes, scores, 0.63, offset=1)[1].tolist() == [1]


@pytest.mark.parametrize("width", [1.0, 3.0, 5.0, 6.0, 7.0, 9.0])
def test_nms_keeps_at_an_iou_equal_to_the_threshold(mmcv_ops: ModuleType, width: float) -> None:
    """mmcv compares in float32, where both are the same number; 0.3 as float64 is below float32(0.3)."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, width, 10]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, width / 10)[1].tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, width / 10 - 1e-6)[1].tolist() == [0]


def test_nms_example_of_mmcv(mmcv_ops: ModuleType) -> None:
    """The example in mmcv's docstring: three boxes stay. Arrays go in and out as arrays."""
    boxes = [
        [49.1, 32.4, 51.0, 35.9],
        [49.3, 32.9, 51.0, 35.3],
        [49.2, 31.8, 51.0, 35.4],
        [35.1, 11.5, 39.1, 15.7],
        [35.6, 11.8, 39.3, 14.2],
        [35.3, 11.5, 39.9, 14.5],
        [35.2, 11.7, 39.7, 15.7],
    ]
    scores = np.array([0.9, 0.9, 0.5, 0.5, 0.5, 0.4, 0.3], dtype=np.float32)
    dets, kept = mmcv_ops.nms(np.array(boxes, dtype=np.float32), scores, 0.6)
    assert isinstance(dets, np.ndarray)
    assert len(dets) == len(kept) == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_half_is_computed_in_float32(mmcv_ops: ModuleType, dtype: torch.dtype) -> None:
    boxes, scores = (t.to(dtype) for t in make_boxes("random"))
    _, kept = mmcv_ops.nms(boxes, scores, 0.4, offset=1)
    assert kept.tolist() == reference_nms(boxes, scores, 0.4, 1)
    # Under autocast scores come in low precision and boxes do not.
    kept = importlib.import_module("mmcv._ext").nms(boxes.float(), scores, iou_threshold=0.4, offset=1)
    assert kept.tolist() == reference_nms(boxes, scores, 0.4, 1)


@pytest.mark.parametrize("max_num", [-1, 1, 5, 1000])
@pytest.mark.parametrize("score_threshold", [0.0, 0.5, 2.0])
def test_nms_limits(mmcv_ops: ModuleType, max_num: int, score_threshold: float) -> None:
    boxes, scores = make_boxes("random")
    _, kept = mmcv_ops.nms(boxes, scores, 0.3, score_threshold=score_threshold, max_num=max_num)
    valid = (scores > score_threshold).nonzero().flatten()
    expected = valid[torch.tensor(reference_nms(boxes[valid], scores[valid], 0.3), dtype=torch.long)].tolist()
    assert kept.tolist() == (expected if max_num < 0 else expected[:max_num])


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_batched_nms(mmcv_ops: ModuleType, class_agnostic: bool, split: bool) -> None:
    boxes, scores = make_boxes("random")
    labels = torch.arange(len(boxes)) % 3
    config = {"type": "nms", "iou_threshold": 0.3, "split_thr": 10 if split else 10000}
    dets, kept = mmcv_ops.batched_nms(boxes, scores, labels, config, class_agnostic)
    expected: list[int] = []
    # Splitting runs class by class, whatever class_agnostic says about the offsets between classes.
    groups = [torch.arange(len(boxes))] if class_agnostic and not split else [labels == k for k in range(3)]
    for group in groups:
        members = torch.arange(len(boxes))[group]
        expected += members[reference_nms(boxes[members], scores[members], 0.3)].tolist()
    expected.sort(key=lambda k: -scores[k].item())
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[expected])


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("min_score", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    # Products of equal scores may tie in one dtype and not in the other, so ties are compared in float64.
    [(kind, torch.float64) for kind in KINDS] + [(kind, torch.float32) for kind in ("random", "empty")],
)
def test_soft_nms_matches_loop(
    mmcv_ops: ModuleType, method: str, offset: int, kind: str, min_score: float, dtype: torch.dtype
) -> None:
    boxes, scores = (t.to(dtype) for t in make_boxes(kind))
    before = scores.clone()
    dets, kept = mmcv_ops.soft_nms(
        boxes, scores, iou_threshold=0.3, sigma=0.6, min_score=min_score, method=method, offset=offset
    )
    expected, values = reference_soft_nms(boxes, scores, 0.3, 0.6, min_score, method, offset)
    assert kept.tolist() == expected
    assert torch.equal(dets[:, :4], boxes[expected])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(dets[:, 4].numpy(), values, rtol=tolerance, atol=0)
    assert torch.equal(scores, before)


def test_soft_nms_keeps_the_first_box_whatever_its_score(mmcv_ops: ModuleType) -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [20, 20, 24, 24]])
    dets, kept = mmcv_ops.soft_nms(boxes, torch.tensor([0.01, 0.02]), min_score=0.1)
    assert kept.tolist() == [1]
    torch.testing.assert_close(dets, torch.tensor([[20, 20, 24, 24, 0.02]]))


@pytest.mark.parametrize("width", [3.0, 5.0, 6.0, 7.0])
@pytest.mark.parametrize("method", ["naive", "linear"])
def test_soft_nms_acts_at_an_iou_equal_to_the_threshold(
    mmcv_ops: ModuleType, width: float, method: str
) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, width, 10]])
    dets, _ = mmcv_ops.soft_nms(
        boxes, torch.tensor([0.9, 0.8]), iou_threshold=width / 10, method=method, min_score=0.0
    )
    expected = 0.8 * (1 - width / 10) if method == "linear" else 0.0
    assert dets[1, 4].item() == pytest.approx(expected, rel=1e-5)


def test_soft_nms_example_of_mmcv(mmcv_ops: ModuleType) -> None:
    """The example in mmcv's docstring, whose boxes have no area: five of six stay."""
    boxes = [[4, 3, 5, 3], [4, 3, 5, 4], [3, 1, 3, 1], [3, 1, 3, 1], [3, 1, 3, 1], [3, 1, 3, 1]]
    scores = np.array([0.9, 0.9, 0.5, 0.5, 0.4, 0.0], dtype=np.float32)
    dets, kept = mmcv_ops.soft_nms(np.array(boxes, dtype=np.float32), scores, 0.6, sigma=0.5)
    assert len(dets) == len(kept) == 5


def test_bad_settings_raise() -> None:
    boxes, scores = make_boxes("random")
    with pytest.raises(ValueError, match="offset must be 0 or 1, got 2"):
        ops.nms(boxes, scores, 0.5, 2)
    with pytest.raises(ValueError, match=r"soft-NMS method must be .* got 3"):
        ops.softnms(boxes, scores, boxes.new_zeros(len(boxes), 5), 0.5, 0.5, 0.1, 3, 0)


# --- the module and its finder --------------------------------------------------------------------


def test_module_is_found_and_known(mmcv_ops: ModuleType) -> None:
    spec = importlib.util.find_spec("mmcv._ext")
    extension = sys.modules["mmcv._ext"]
    assert spec is extension.__spec__
    assert extension.__loader__ is spec.loader
    assert extension.__name__ == spec.name == "mmcv._ext"
    assert importlib.import_module("mmcv.utils.ext_loader").check_ops_exist()
    assert ops.ops_kind() == "torchvision"
    # collect_env of mmcv calls both.
    assert "no compiled ops" in mmcv_ops.get_compiler_version()
    assert "no compiled ops" in mmcv_ops.get_compiling_cuda_version()


def test_unknown_op_raises_when_called(mmcv_ops: ModuleType) -> None:
    extension = importlib.import_module("mmcv._ext")
    op = extension.deform_conv_forward
    assert callable(op)
    message = r"'deform_conv_forward'.*mim install mmcv.*MMCV_WITH_OPS=1"
    with pytest.raises(RuntimeError, match=message) as caught:
        op(1, offset=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="'nms_rotated'"):
        mmcv_ops.nms_rotated(torch.zeros(1, 5), torch.zeros(1), 0.5)


def test_dunder_names_are_absent(mmcv_ops: ModuleType) -> None:
    extension = importlib.import_module("mmcv._ext")
    for name in ("__path__", "__file__", "__wrapped__", "__all__"):
        with pytest.raises(AttributeError, match=name):
            getattr(extension, name)


def test_install_twice_adds_one_finder_at_the_end() -> None:
    before = sys.meta_path[:]
    sys.meta_path[:] = [f for f in before if not isinstance(f, ops._ExtFinder)]
    try:
        others = sys.meta_path[:]
        ops.install()
        ops.install()
        assert sys.meta_path[:-1] == others
        assert isinstance(sys.meta_path[-1], ops._ExtFinder)
    finally:
        sys.meta_path[:] = before


@pytest.mark.parametrize("name", ["mmcv", "mmcv._ext2", "mmcv._ext.nms", "_ext", "mmengine._ext"])
def test_finder_answers_for_no_other_name(name: str) -> None:
    assert ops._ExtFinder().find_spec(name, None) is None


def run_python(code: str, *paths: Path) -> str:
    """Standard output of a fresh interpreter with ``paths`` in front of the search path."""
    header = "import sys\n" + "".join(f"sys.path.insert(0, {str(p)!r})\n" for p in paths)
    done = subprocess.run(
        [sys.executable, "-c", header + textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LIGHT = """
heavy = {"torch", "torchvision", "numpy", "mmcv", "mmengine"} & set(sys.modules)
assert not heavy, heavy
"""


def test_install_and_ops_kind_import_nothing_heavy() -> None:
    code = f"from mixmae_bench.compat import ops\nops.install()\n{LIGHT}\nprint(ops.ops_kind()){LIGHT}"
    assert run_python(code) in ("compiled", "torchvision")


def test_compiled_ops_on_disk_are_left_untouched(tmp_path: Path) -> None:
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_ext.py").write_text("def nms():\n    return 'real'\n")
    code = f"""
    from mixmae_bench.compat import ops
    ops.install()
    print(ops.ops_kind())
    import mmcv._ext
    assert mmcv._ext.__file__ == {str(package / "_ext.py")!r}
    assert not hasattr(mmcv._ext, "softnms")
    print(mmcv._ext.nms(), ops.ops_kind(), "torch" in sys.modules)
    """
    assert run_python(code, tmp_path).split() == ["compiled", "real", "compiled", "False"]


def test_compiled_ops_already_imported_are_left_untouched(tmp_path: Path) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    code = """
    import types
    sys.modules["mmcv._ext"] = real = types.ModuleType("mmcv._ext")
    from mixmae_bench.compat import ops
    ops.install()
    import mmcv._ext
    assert sys.modules["mmcv._ext"] is real and not hasattr(real, "nms")
    print(ops.ops_kind())
    """
    assert run_python(code, tmp_path) == "compiled"


def test_ops_of_an_earlier_finder_are_left_untouched(tmp_path: Path) -> None:
    """An editable build of mmcv is found by a finder of its own."""
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    (tmp_path / "built.py").write_text("kind = 'real'\n")
    code = f"""
    import importlib.util
    class Finder:
        def find_spec(self, name, path, target=None):
            if name == "mmcv._ext":
                return importlib.util.spec_from_file_location(name, {str(tmp_path / "built.py")!r})
    sys.meta_path.append(Finder())
    from mixmae_bench.compat import ops
    ops.install()
    print(ops.ops_kind())
    import mmcv._ext
    print(mmcv._ext.kind)
    """
    assert run_python(code, tmp_path).split() == ["compiled", "real"]


def test_ops_kind_without_compiled_ops_and_without_mmcv(tmp_path: Path) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    code = """
    from mixmae_bench.compat import ops
    ops.install()
    print(ops.ops_kind())
    sys.path[:] = [p for p in sys.path if "site-packages" not in p][1:]
    sys.path_importer_cache.clear()
    try:
        ops.ops_kind()
    except ModuleNotFoundError as error:
        print(error.name)
    """
    assert run_python(code, tmp_path).split() == ["torchvision", "mmcv"]
