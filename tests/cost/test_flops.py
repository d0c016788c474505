"""FLOPs by the definition: closed forms, on every device, and no operator that is silently free."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision  # noqa: F401  (its operators are named in FREE)
from torch import Tensor, nn

from mixmae_bench.cost import count
from mixmae_bench.cost.flops import FREE
from mixmae_bench.cost.models import built_on
from mixmae_bench.errors import UserError

DEVICES = ["cpu", "meta"]


class SelfAttention(nn.MultiheadAttention):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens, tokens, tokens)[0]


class Unknown(nn.Module):
    def forward(self, points: Tensor) -> Tensor:
        return torch.cdist(points, points)


class Indirect(nn.Module):
    """Calls a method of its child instead of the child, and multiplies by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.ModuleDict({"fc": nn.Linear(4, 4)})
        self.weight = nn.Parameter(torch.ones(4, 2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.child["fc"](x) @ self.weight


def flops(function: Callable[..., object], *inputs: object) -> int:
    return count(nn.Identity(), *inputs, forward=function).flops


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(6, 5), (7, 4, 6), 7 * 4 * 6 * 5),
        (nn.Linear(6, 5, bias=False), (6,), 6 * 5),
        (nn.Linear(6, 5), (6,), 6 * 5),
        (nn.Conv2d(8, 12, 3, padding=1), (2, 8, 10, 14), 2 * 10 * 14 * 12 * 8 * 9),
        (nn.Conv2d(8, 12, 3, stride=2, groups=4), (2, 8, 11, 15), 2 * 5 * 7 * 12 * 2 * 9),
        (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 5, 5), 3 * 3 * 8 * 9),
        (nn.Conv1d(4, 6, 5), (3, 4, 20), 3 * 16 * 6 * 4 * 5),
        # Every pixel that comes in meets every tap.
        (nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4), (1, 8, 5, 7), 5 * 7 * 8 * 3 * 4),
        (SelfAttention(8, 2, batch_first=True), (3, 5, 8), 3 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)),
        (
            nn.TransformerEncoderLayer(8, 2, 32, batch_first=True),
            (3, 5, 8),
            3 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 32),
        ),
    ],
)
def test_a_layer_counts_by_its_closed_form(
    layer: nn.Module, shape: tuple[int, ...], expected: int, device: str, training: bool
) -> None:
    layer = copy.deepcopy(layer).train(training).to(device)
    assert count(layer, torch.zeros(shape, device=device)).flops == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("change", "kwargs"),
    [
        ({}, {}),
        ({}, dict(attn_mask="float")),
        ({}, dict(attn_mask="bool")),
        ({}, dict(is_causal=True)),
        ({}, dict(dropout_p=0.5)),
        (dict(value_dim=24), {}),
        (dict(dim=20), {}),
        (dict(kv_heads=2), dict(enable_gqa=True)),
        (dict(dtype=torch.bfloat16), {}),
    ],
)
def test_attention_counts_as_its_two_products_whatever_kernel_runs(
    change: dict, kwargs: dict, device: str
) -> None:
    size = dict(dim=16, value_dim=None, kv_heads=4, dtype=torch.float32) | change
    value_dim = size["value_dim"] or size["dim"]
    query = torch.zeros(2, 4, 10, size["dim"], device=device, dtype=size["dtype"])
    key = query.new_zeros(2, size["kv_heads"], 7, size["dim"])
    value = query.new_zeros(2, size["kv_heads"], 7, value_dim)
    masks = {"float": query.new_zeros(10, 7), "bool": torch.ones(10, 7, dtype=torch.bool, device=device)}
    kwargs = {k: masks.get(v, v) for k, v in kwargs.items()}
    expected = 2 * 4 * 10 * 7 * (size["dim"] + value_dim)
    attend = F.scaled_dot_product_attention
    assert flops(lambda q, k, v: attend(q, k, v, **kwargs), query, key, value) == expected
    with torch.inference_mode():
        assert flops(lambda q, k, v: attend(q, k, v, **kwargs), query, key, value) == expected


def test_attention_is_counted_before_a_kernel_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kernels pad, split and rearrange their inputs: CUDA's flash attention makes heads of 20 channels 24.
    monkeypatch.setattr("mixmae_bench.cost.flops.flop_registry", {})
    query = torch.zeros(1, 2, 3, 20)
    assert flops(F.scaled_dot_product_attention, query, query, query) == 2 * 2 * 3 * 3 * 20


@pytest.mark.parametrize(
    ("product", "shapes", "expected"),
    [
        (torch.matmul, [(2, 3, 4, 5), (5, 6)], 2 * 3 * 4 * 5 * 6),
        (torch.matmul, [(4, 5), (5,)], 4 * 5),
        (torch.matmul, [(5,), (5,)], 5),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 5 * 6),
    ],
)
def test_a_matrix_product_counts_however_it_is_written(
    product: Callable, shapes: list, expected: int
) -> None:
    assert flops(product, *(torch.zeros(shape) for shape in shapes)) == expected


def test_what_is_free_counts_nothing() -> None:
    def free(x: Tensor) -> Tensor:
        x = F.interpolate(F.avg_pool2d(F.pad(x, (1, 1)), 2), scale_factor=2, mode="bilinear")
        x = F.gelu(F.layer_norm(F.batch_norm(x, None, None, training=True), x.shape[-1:])).softmax(-1)
        x = torch.cat([x, x.roll(1, 0)]).flip(0)[:, [1, 0]].sort().values.cumsum(0)
        x[0] = torch.rand_like(x[0]).mean()
        return F.dropout(x.topk(2).values + torch.arange(2), 0.5).var()

    assert flops(free, torch.rand(2, 2, 8, 8)) == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.linalg.inv, "aten.linalg_inv_ex"),
        (torch.fft.fft2, "aten._fft"),
        (lambda x: torch.addr(x, x[0], x[1]), "aten.addr"),
        (lambda x: torch._foreach_mul([x], [x]), "aten._foreach_mul"),
    ],
)
def test_an_unknown_operator_is_an_error_that_names_it(function: Callable, name: str, device: str) -> None:
    with pytest.raises(UserError, match=name):
        flops(function, torch.eye(4, device=device))


def test_the_error_names_the_module_and_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"distance": Unknown()})["distance"])
    with pytest.raises(UserError, match=r"aten\._cdist_forward\.default in 1:"):
        count(model, torch.zeros(3, 2))
    assert torch.backends.mha.get_fastpath_enabled()
    assert count(model[0], torch.zeros(3, 2)).flops == 12


def test_every_free_operator_exists() -> None:
    for name in FREE:
        namespace, op = name.split(".")
        ops = getattr(torch.ops, namespace)
        assert hasattr(ops, op) or hasattr(ops, f"{op}_"), name


def test_flops_belong_to_the_innermost_module_and_all_around_it() -> None:
    cost = count(Indirect(), torch.zeros(3, 4))
    assert (cost.params, cost.trainable) == (28, 20)
    assert cost.by_module == {"": 72, "child": 48, "child.fc": 48}
    by_method = count(model := Indirect(), torch.zeros(3, 4), forward=lambda x: model.child["fc"](x))
    assert by_method.by_module == {"": 48, "child": 48, "child.fc": 48}


def test_a_shared_parameter_counts_once() -> None:
    layer = nn.Linear(4, 4)
    cost = count(nn.Sequential(layer, layer), torch.zeros(1, 4))
    assert (cost.params, cost.flops) == (20, 32)


def test_two_images_cost_twice_one() -> None:
    with built_on("meta"):
        model = timm.create_model("swin_tiny_patch4_window7_224").eval().to("meta")
    one, two = (count(model, torch.empty(n, 3, 224, 224, device="meta")) for n in (1, 2))
    assert two.flops == 2 * one.flops
    assert count(model, torch.empty(2, 3, 224, 224, device="meta"), images=2) == one


@pytest.mark.parametrize("device", DEVICES)
def test_cpu_and_meta_agree(device: str) -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2).to(device)
    tokens, width = 17, 192
    blocks = 2 * (12 * tokens * width**2 + 2 * tokens**2 * width)
    expected = 16 * 768 * width + blocks + width * 1000
    assert count(model.eval(), torch.zeros(1, 3, 64, 64, device=device)).flops == expected


def test_vit_base_has_its_published_cost() -> None:
    with built_on("meta"):
        model = timm.create_model("vit_base_patch16_224").eval().to("meta")
    tokens, width = 197, 768
    blocks = 12 * (12 * tokens * width**2 + 2 * tokens**2 * width)
    cost = count(model, torch.empty(1, 3, 224, 224, device="meta"))
    assert cost.flops == 196 * 768 * width + blocks + width * 1000
    assert round(cost.flops / 1e9, 2) == 17.56
    assert cost.params == 86_567_656


def test_resnet50_has_its_published_cost() -> None:
    with built_on("meta"):
        model = timm.create_model("resnet50").eval().to("meta")
    cost = count(model, torch.empty(1, 3, 224, 224, device="meta"))
    assert round(cost.flops / 1e9, 2) == 4.09
    assert cost.params == 25_557_032
