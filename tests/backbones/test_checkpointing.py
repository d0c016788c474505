"""Activation checkpointing: the same outputs and gradients, of what is computed twice."""

import copy

import pytest
import torch
import torch.distributed as dist
from encoders import KINDS, make_encoder
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.registry import MODELS


def step(model: nn.Module, *args: object) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs and gradients, random numbers being those of seed 1."""
    torch.manual_seed(1)
    out = model(*args)
    out = list(out) if isinstance(out, tuple) else [out]
    sum(m.square().sum() for m in out).backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: nn.Module, checkpointed: nn.Module, *args: object) -> None:
    (out, grads), (other, other_grads) = step(model, *args), step(checkpointed, *args)
    assert all(torch.equal(a, b) for a, b in zip(out, other, strict=True))
    assert grads.keys() == other_grads.keys()
    for name, grad in grads.items():
        assert torch.equal(grad, other_grads[name]), name


def blocks_of(encoder: Encoder) -> list[nn.Module]:
    return [m for m in encoder.modules() if type(m).__name__.endswith("Block")]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_the_same_under_stochastic_depth(kind: str) -> None:
    """On an odd size; and every block runs twice, so nothing is left out of it."""
    encoder = make_encoder(kind, drop_path_rate=0.5).train()
    checkpointed = make_encoder(kind, drop_path_rate=0.5, with_cp=True).train()
    calls = []
    for block in blocks_of(checkpointed):
        block.register_forward_pre_hook(lambda module, args: calls.append(module))
    images = torch.randn(4, 3, 37, 53, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_same(encoder, checkpointed, images)
    blocks = blocks_of(checkpointed)
    assert len(blocks) > 1
    assert sorted(map(id, calls)) == sorted([*map(id, blocks)] * 2)
    torch.manual_seed(2)
    assert not torch.equal(encoder(images)[-1], checkpointed(images)[-1])  # blocks are dropped at random


def test_without_gradients_every_block_runs_once() -> None:
    encoder = make_encoder("MixMAESwin", with_cp=True)
    calls = []
    for block in blocks_of(encoder):
        block.register_forward_pre_hook(lambda module, args: calls.append(module))
    with torch.no_grad():
        encoder(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    assert len(calls) == len(blocks_of(encoder))


@pytest.mark.parametrize(
    ("method", "kind", "kwargs"),
    [
        ("MixMAE", "MixMAESwin", dict(decoder=dict(dim=16, depth=1, num_heads=2))),
        ("MixMAE", "UMSwin", dict(decoder=dict(dim=16, depth=1, num_heads=2))),
        ("UMMAE", "UMSwin", dict(decoder=dict(dim=16, depth=1, num_heads=2), mask_patch_size=8)),
        ("UMMAE", "UMPVT", dict(decoder=dict(dim=16, depth=1, num_heads=2), mask_patch_size=8)),
        ("SimMIM", "Swin", dict(mask_patch_size=16)),
    ],
)
def test_pretraining_has_the_same_loss_and_gradients(method: str, kind: str, kwargs: dict) -> None:
    """With segment_ids and with the positions of packed tokens."""
    models = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = dict(type=f"mixmae_bench.{kind}", img_size=32, drop_path_rate=0.5, **KINDS[kind])
        cfg = dict(type=f"mixmae_bench.{method}", backbone=dict(backbone, with_cp=with_cp), **kwargs)
        models.append(MODELS.build(cfg).double())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = models[0].draw_mask(images)
    for model in models:
        model.forward = lambda model=model: model.loss(images, mask)
    assert_same(*models)


def test_it_works_under_distributed_data_parallel(tmp_path: object) -> None:
    """Step by step the gradients of the model alone, in a process group of one."""
    alone = make_encoder("MixMAESwin", drop_path_rate=0.5).train()
    wrapped = copy.deepcopy(make_encoder("MixMAESwin", drop_path_rate=0.5, with_cp=True)).train()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(wrapped)
        for _ in range(2):
            _, grads = step(alone, images)
            _, others = step(parallel, images)
            assert {f"module.{name}" for name in grads} == set(others)
            assert all(torch.equal(grad, others[f"module.{name}"]) for name, grad in grads.items())
    finally:
        dist.destroy_process_group()


def test_activations_of_blocks_are_not_kept() -> None:
    """What autograd saves in the forward pass, in values: a small part of what it saves without."""

    def saved(encoder: Encoder) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            encoder(torch.zeros(2, 3, 64, 64, dtype=torch.float64))
        return sum(sizes)

    assert saved(make_encoder("MixMAESwin", with_cp=True)) < 0.5 * saved(make_encoder("MixMAESwin"))
