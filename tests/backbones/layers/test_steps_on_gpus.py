"""Training steps in the form for GPUs, forced on CPUs: no waiting, few operators, few compilations."""

import pytest
import torch
from steps import STEPS, Operators, make, train
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from mixmae_bench.backbones.layers.forms import attention_form

WAITING = frozenset(
    f"aten.{name}"
    for name in (
        "_local_scalar_dense",
        "nonzero",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "masked_select",
        "equal",
        "is_nonzero",
        "embedding_dense_backward",  # sorts
    )
)
"""Operators for which the host waits for a GPU."""

LIMITS = {"MixMAE": 1900, "SimMIM": 1620, "UMMAE": 1250}
"""Operators of a training step, with about 15 per masked attention that are 2 in a fused kernel of a GPU."""


@pytest.mark.parametrize("method", STEPS)
def test_a_training_step_never_waits_for_the_device_and_has_few_operators(method: str) -> None:
    model, optimiser, images, mask = make(method)
    with attention_form("plain"):
        train(model, optimiser, images, mask)  # caches geometry
        with Operators(WAITING) as operators:
            train(model, optimiser, images, model.draw_mask(images) if method == "SimMIM" else mask)
    count = sum(operators.counts.values())
    print(f"{method}: {count} operators")
    assert 300 < count < LIMITS[method]


def test_the_watch_notices_the_segments_which_wait() -> None:
    args = make("MixMAE")
    with pytest.raises(AssertionError, match="waits"), attention_form("segments"), Operators(WAITING):
        train(*args)


@pytest.mark.parametrize("method", STEPS)
def test_another_mask_runs_the_same_operators(method: str) -> None:
    model, optimiser, images, mask = make(method)
    masks = [mask, model.draw_mask(images)]
    assert not torch.equal(*masks)
    counts = []
    with attention_form("plain"):
        train(model, optimiser, images, mask)
        for drawn in masks:
            with Operators() as operators:
                train(model, optimiser, images, drawn)
            counts.append(operators.counts)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("method", STEPS)
def test_a_block_compiles_once_for_all_masks_without_graph_breaks(method: str) -> None:
    """Each block has one graph per kind of window; the first stages have two blocks."""
    torch._dynamo.reset()
    model, _, images, mask = make(method)
    blocks = [m for m in model.backbone.modules() if type(m).__name__ == "Block"][:2]
    counters = [CompileCounter() for _ in blocks]
    for block, counter in zip(blocks, counters, strict=True):
        block.compile(backend=counter, fullgraph=True, dynamic=False)
    expected = losses(model, blocks, images, mask)
    for drawn in (mask, model.draw_mask(images), model.draw_mask(images)):
        with attention_form("plain"):
            model.loss(images, drawn).backward()
    assert [counter.frame_count for counter in counters] == [1, 1]
    with attention_form("plain"):
        torch.testing.assert_close(model.loss(images, mask), expected, rtol=1e-4, atol=1e-5)


def losses(model: nn.Module, blocks: list[nn.Module], images: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of blocks that are not compiled."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), attention_form("plain"):
        return model.loss(images, mask)
