"""The benchmark of window attention: all implementations compute the same layer."""

import attention
import pytest
import torch
from attention import Case, make_inputs, products, sdpa
from torch import Tensor


def by_definition(inputs: attention.Inputs) -> Tensor:
    """Return the attention of every token of the map over all others, one by one, as `fused` defines it."""
    heads = inputs.table.shape[1]
    query, key, value = inputs.qkv.unflatten(-1, (3, heads, -1)).unbind(2)
    out = torch.zeros_like(value)
    for image in range(len(out)):
        coords = inputs.coords[image if len(inputs.coords) > 1 else 0].long()
        for window, slots in enumerate(inputs.index.long()):
            for query_slot, token in enumerate(slots):
                same = inputs.segment_ids[window] == inputs.segment_ids[window, query_slot]
                dy, dx = (coords[window, query_slot] - coords[window, same] + inputs.side // 2).T
                keys = slots[same]
                logits = (query[image, token] * key[image, keys]).sum(-1) / attention.HEAD_DIM**0.5
                weights = (logits + inputs.table[dy * inputs.side + dx]).softmax(0)
                out[image, token] = (weights[..., None] * value[image, keys]).sum(0)
    return out.flatten(2)


@pytest.mark.parametrize(
    "case",
    [
        Case("mixed", 14, 7, 2, mixed=True),
        Case("shifted", 6, 3, 2, shift=1),
        Case("packed", 4, 2, 1, packed=True),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("implementation", [sdpa, products])
def test_operators_of_pytorch_compute_the_layer_of_the_kernel(case: Case, implementation: object) -> None:
    inputs = make_inputs(case, 2, torch.float32, "cpu")
    order = inputs.index.flatten().long()
    by_window = attention.Inputs(**{**vars(inputs), "qkv": inputs.qkv[:, order]})
    torch.testing.assert_close(implementation(by_window), by_definition(inputs)[:, order])


def test_a_machine_without_a_gpu_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert attention.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
