"""Fresh encoders as graphs of other programs: torch.export, torch.jit.trace and ONNX, with any batch size.

"Fresh": no forward pass has run before, so that nothing is kept from one.
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import mixmae_bench.timm_models  # noqa: F401 (registers the models)
from mixmae_bench.backbones.layers import windows
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.backbones.plain_vit import PlainViT
from mixmae_bench.backbones.swin import Swin
from mixmae_bench.backbones.um_pvt import UMPVT
from mixmae_bench.backbones.um_swin import UMSwin

SIZE = (40, 24)  # no multiple of the windows, and not what tables are made for
SWIN = dict(embed_dim=8, depths=(2, 1), num_heads=(2, 2))
PVT = dict(embed_dims=(8, 16), depths=(1, 1), num_heads=(1, 2), mlp_ratios=(2, 2), sr_ratios=(4, 2))
OPTIONS = dict(img_size=32, out_indices=(0, 1))
TIMM = partial(
    timm.create_model, "mixmae_swin_base_w14_224", arch=dict(SWIN, window_size=(4, 4)), img_size=32
)
KINDS = {
    "MixMAESwin": partial(MixMAESwin, dict(SWIN, window_size=(4, 4)), **OPTIONS),
    "Swin": partial(Swin, SWIN, 4, ape=True, **OPTIONS),
    "UMSwin": partial(UMSwin, SWIN, 4, **OPTIONS),
    "UMPVT": partial(UMPVT, PVT, learn_positions=True, **OPTIONS),
    "PlainViT": partial(PlainViT, dict(embed_dim=16, depth=2, num_heads=2), 32, 8),
    "timm, pooled": partial(TIMM, num_classes=5),
    "timm, maps": partial(TIMM, features_only=True, out_indices=(0, 1)),
}


def make(kind: str) -> nn.Module:
    """A fresh encoder, or a model of timm, with position and bias tables that matter."""
    windows._ungrouped.cache_clear()
    torch.manual_seed(0)
    model = KINDS[kind]().eval()
    for name, parameter in model.named_parameters():
        if "table" in name or "posmlp" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_model_exports_with_a_dynamic_batch(kind: str) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(make(kind), (images(2),), dynamic_shapes=({0: batch},))
    check(program.module(), make(kind), (1, 2, 5))


@pytest.mark.parametrize("kind", ["Swin", "timm, pooled"])
def test_a_fresh_model_exports_with_a_fixed_batch(kind: str) -> None:
    check(torch.export.export(make(kind), (images(2),)).module(), make(kind), (2,))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # it says that the image size is fixed
@pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated, and asked for all the same
@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_model_is_traced_saved_and_takes_other_batches(kind: str) -> None:
    traced = torch.jit.trace(make(kind), images(2))  # also traces a second time, and compares
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    check(torch.jit.load(file), make(kind), (1, 2, 5))


@pytest.mark.parametrize("kind", KINDS)
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
        return out[0] if kind == "timm, pooled" else out

    check(run, make(kind), (1, 2, 5))


def test_what_an_export_leaves_behind_serves_training() -> None:
    torch.export.export(make("MixMAESwin"), (images(2),))
    model = KINDS["MixMAESwin"]().train()
    model(images(2))[-1].sum().backward()
    assert model.patch_embed.proj.weight.grad.isfinite().all()
