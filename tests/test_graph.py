"""CUDA graphs of the loss of a method."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.cost.models import load_call
from mixmae_bench.cost.speed import settings_of
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.graph import GraphedLoss, graph_loss
from mixmae_bench.engine.prepare import build, prepare
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method

SMOKE = Path(__file__).with_name("smoke")
PRETRAIN = Path(__file__).parents[1] / "configs" / "pretrain"
CONFIGS = [f"{method}_mixmae-swin-small_1xb32-12e_digits.py" for method in ("mixmae", "simmim", "um-mae")]


def step(model: Method, images: Tensor, mask: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the loss and all gradients, as one vector."""
    model.zero_grad()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        loss = model.loss(images, mask)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("config", CONFIGS)
def test_the_loss_and_its_gradients_follow_images_masks_and_weights(
    config: str, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    model = load_call(str(PRETRAIN / config), None, "cuda").model.train()
    side = model.backbone.grid[0] * model.backbone.out_strides[0]
    graphed = GraphedLoss(model)
    for _ in range(3):
        images = torch.randn(8, 3, side, side, device="cuda")
        mask = model.draw_mask(images)
        eager = step(model, images, mask, dtype)
        model.loss = graphed
        ours = step(model, images, mask, dtype)
        del model.loss
        for own, right in zip(ours, eager, strict=True):
            assert (own - right).norm() < tolerance * right.norm()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)


@pytest.mark.gpu
def test_a_smaller_batch_and_evaluation_do_not_use_the_graph() -> None:
    model = load_call(str(PRETRAIN / CONFIGS[0]), None, "cuda").model.train()
    side = model.backbone.grid[0] * model.backbone.out_strides[0]
    graph_loss(model)
    images = torch.randn(8, 3, side, side, device="cuda")
    mask = model.draw_mask(images)
    first = model.loss(images, mask)
    assert first.requires_grad
    model.loss(images[:4], mask).backward()
    model.eval()
    torch.testing.assert_close(model.loss(images, mask), first)


def test_a_config_asks_for_it_and_a_cpu_computes_the_loss_without_it(tmp_path: Path) -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    cfg.cuda_graph = True
    model = build(prepare(cfg, tmp_path, 1), "none", train=True).model.cpu()
    assert isinstance(model.loss, GraphedLoss)
    images = torch.randn(4, 3, *(side * model.backbone.out_strides[0] for side in model.backbone.grid))
    mask = model.draw_mask(images)
    with torch.no_grad():
        torch.testing.assert_close(model.loss(images, mask), type(model).loss(model, images, mask))


def test_gradients_of_several_batches_cannot_be_summed(tmp_path: Path) -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    cfg.merge_from_dict({"cuda_graph": True, "optim_wrapper.accumulative_counts": 2})
    cfg.train_dataloader.batch_size //= 2
    with pytest.raises(UserError, match="cuda_graph does not work with accumulative_counts=2"):
        build(prepare(cfg, tmp_path, 1), "none", train=True)


def test_other_models_and_cpus_are_refused() -> None:
    with pytest.raises(UserError, match="Linear is not a pretraining method"):
        graph_loss(nn.Linear(1, 1))
    greenmim = load_call(str(PRETRAIN / "greenmim_mixmae-swin-small_1xb32-12e_digits.py"), None, "cpu").model
    with pytest.raises(UserError, match="the shapes of GreenMIM depend on the mask") as error:
        graph_loss(greenmim)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"\+graph is for training on a GPU"):
        settings_of(["mixmae.py+graph"], 2, None, False, False, "cpu")
