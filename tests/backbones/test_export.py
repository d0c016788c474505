"""Fresh encoders as graphs of other programs: torch.export, torch.jit.trace and ONNX, with any batch size.

"Fresh": no forward pass has run before, so that nothing is kept from one.
"""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from encoders import KINDS, SWIN, make_encoder
from torch import Tensor, nn

import mixmae_bench.timm_models  # noqa: F401 (registers the models)
from mixmae_bench.backbones import windows

SIZE = (40, 56)  # no multiple of the windows, and not what tables are made for
ARCH = dict(SWIN, window_size=(4, 4, 2))
TIMM = {"pooled": {}, "maps": dict(features_only=True, out_indices=(0, 1, 2))}


def make(kind: str) -> nn.Module:
    """A fresh encoder, or a model of timm."""
    windows._ungrouped.cache_clear()
    if kind in KINDS:
        return make_encoder(kind).float()
    torch.manual_seed(0)
    return timm.create_model(
        "mixmae_swin_base_w14_224", arch=ARCH, img_size=32, num_classes=5, **TIMM[kind]
    ).eval()


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(batch))


def check(graph: Callable, model: nn.Module, batches: tuple[int, ...]) -> None:
    """The graph gives what the model gives."""
    with torch.no_grad():
        for batch in batches:
            ours, theirs = graph(images(batch)), model(images(batch))
            if isinstance(theirs, Tensor):
                ours, theirs = [ours], [theirs]
            torch.testing.assert_close(list(ours), list(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, *TIMM])
def test_a_fresh_model_exports_with_a_dynamic_batch(kind: str) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(make(kind), (images(2),), dynamic_shapes=({0: batch},))
    check(program.module(), make(kind), (1, 2, 5))


@pytest.mark.parametrize("kind", ["Swin", "pooled"])
def test_a_fresh_model_exports_with_a_fixed_batch(kind: str) -> None:
    check(torch.export.export(make(kind), (images(2),)).module(), make(kind), (2,))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # it says that the image size is fixed
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", [*KINDS, *TIMM])
def test_a_fresh_model_is_traced_saved_and_takes_other_batches(kind: str) -> None:
    traced = torch.jit.trace(make(kind), images(2))  # also traces a second time, and compares
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    check(torch.jit.load(file), make(kind), (1, 2, 5))


@pytest.mark.parametrize("kind", [*KINDS, *TIMM])
def test_a_fresh_model_runs_in_onnx_runtime_with_other_batches(kind: str, tmp_path: Path) -> None:
    """Needs onnx, onnxscript and onnxruntime, which no other part of this project does."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.onnx.export(
        make(kind),
        (images(2),),
        tmp_path / "model.onnx",
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    session = runtime.InferenceSession(tmp_path / "model.onnx")

    def run(given: Tensor) -> Tensor | list[Tensor]:
        out = [torch.from_numpy(array) for array in session.run(None, {"images": given.numpy()})]
        return out[0] if kind == "pooled" else out

    check(run, make(kind), (1, 2, 5))


def test_what_an_export_leaves_behind_serves_training() -> None:
    torch.export.export(make("MixMAESwin"), (images(2),))
    model = make_encoder("MixMAESwin").float().train()
    model(images(2))[-1].sum().backward()
    assert model.patch_embed.proj.weight.grad.isfinite().all()
