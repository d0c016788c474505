"""In which number format Bf16OptimWrapper trains: native bfloat16, or float32."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mixmae_bench.engine import precision
from mixmae_bench.engine.precision import MAX_ISA, Bf16OptimWrapper, computes_bfloat16, why_not_bfloat16

XEON = dict(architecture="x86_64", avx512_f=True, avx512_bf16=True, amx_bf16=True)
ZEN4 = dict(XEON, amx_bf16=False)
ZEN3 = dict(architecture="x86_64", avx2=True, avx512_bf16=False, amx_bf16=False)
GRAVITON3 = dict(architecture="aarch64", neon=True, bf16=True)
GRAVITON2 = dict(architecture="aarch64", neon=True, bf16=False)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch):
    """Return a function that pretends that this machine is another one, without any limit at first."""
    for name in MAX_ISA:
        monkeypatch.delenv(name, raising=False)

    def machine(features: dict, kernels: str = "AVX512", **variables: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kernels)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return machine


@pytest.mark.parametrize(
    ("features", "kernels", "native"),
    [
        (XEON, "AVX512", True),
        (ZEN4, "AVX512", True),
        (ZEN3, "AVX2", False),
        (GRAVITON3, "DEFAULT", True),
        (GRAVITON3, "SVE256", True),
        (GRAVITON2, "DEFAULT", False),
    ],
)
def test_a_cpu_computes_in_what_it_has(pretend, features: dict, kernels: str, native: bool) -> None:
    pretend(features, kernels)
    assert computes_bfloat16("cpu") == native


@pytest.mark.parametrize("name", MAX_ISA)
@pytest.mark.parametrize(
    ("value", "native"),
    [
        ("SSE41", False),
        ("AVX", False),
        ("AVX2", False),
        ("avx2", False),
        ("AVX2_VNNI", False),
        ("AVX2_VNNI_2", False),
        ("AVX512_CORE", False),
        ("AVX512_CORE_VNNI", False),
        ("AVX512_CORE_BF16", True),
        ("avx512_core_bf16", True),
        ("AVX512_CORE_FP16", True),
        ("AVX10_1_512", True),
        ("AVX512_CORE_AMX", True),
        ("AVX10_1_512_AMX", True),
        ("AVX512_CORE_AMX_FP16", True),
        ("AVX10_1_512_AMX_FP16", True),
        ("DEFAULT", True),
        ("ALL", True),
        ("", True),
        ("AVX3", True),  # oneDNN passes over what it does not know
    ],
)
def test_a_limit_of_onednn_below_bfloat16_means_float32(pretend, name: str, value: str, native: bool) -> None:
    pretend(XEON, **{name: value})
    assert computes_bfloat16("cpu") == native
    if not native:
        assert why_not_bfloat16("cpu") == f"{name} is {value}"


@pytest.mark.parametrize(("new", "old", "native"), [("AVX2", "ALL", False), ("ALL", "AVX2", True)])
def test_of_both_names_the_new_one_counts(pretend, new: str, old: str, native: bool) -> None:
    pretend(XEON, ONEDNN_MAX_CPU_ISA=new, DNNL_MAX_CPU_ISA=old)
    assert computes_bfloat16("cpu") == native


@pytest.mark.parametrize("kernels", ["DEFAULT", "AVX2"])
def test_a_limit_of_pytorch_s_own_kernels_means_float32(pretend, kernels: str) -> None:
    pretend(XEON, kernels)
    assert not computes_bfloat16("cpu")
    assert why_not_bfloat16("cpu") == f"ATEN_CPU_CAPABILITY is {kernels}"


@pytest.mark.parametrize("features", [XEON, GRAVITON3])
def test_without_onednn_it_is_float32(pretend, monkeypatch: pytest.MonkeyPatch, features: dict) -> None:
    pretend(features)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        assert not computes_bfloat16("cpu")
    assert computes_bfloat16("cpu")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_bfloat16("cpu")


def test_limits_of_x86_do_not_touch_other_cpus(pretend) -> None:
    pretend(GRAVITON3, "DEFAULT", ONEDNN_MAX_CPU_ISA="AVX2")
    assert computes_bfloat16("cpu")


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_itself(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert computes_bfloat16("cuda") == native


def test_on_other_devices_it_is_float32() -> None:
    assert not computes_bfloat16("mps")


@pytest.mark.parametrize("native", [True, False])
def test_the_forward_pass_alone_is_in_that_format(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(precision, "get_device", lambda: "cpu")
    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: native)
    model = nn.Linear(4, 4)
    wrapper = Bf16OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1))
    assert isinstance(wrapper, OptimWrapper)
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == (torch.bfloat16 if native else torch.float32)
    wrapper.update_params(out.float().sum())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
