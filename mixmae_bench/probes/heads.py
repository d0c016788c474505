"""Probes with a trained linear classifier: on pooled features, or on tokens through attentive pooling."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mixmae_bench.probes.rows import Rows

BATCH = 256
"""Images per step; the batches of an epoch differ by at most one image."""


@dataclass(frozen=True)
class Training:
    """How a head is trained: with a cosine schedule from the learning rate to 0, without weight decay.

    Attributes:
        epochs: Epochs.
        seed: Seed of the initial weights and of the order of the images.
        device: Device.
    """

    epochs: int
    seed: int
    device: str


def build_head(pool: Callable[[int], nn.Module], dim: int, classes: int) -> nn.Sequential:
    """Return a pooling, then batch norm without affine parameters and a linear classifier, as MAE's probe.

    The classifier (arXiv 2111.06377, appendix A) starts with weights of a truncated normal distribution of
    standard deviation 0.01.

    Args:
        pool: Function of the number of channels that returns the pooling.
        dim: Channels.
        classes: Number of classes.
    """
    linear = nn.Linear(dim, classes)
    nn.init.trunc_normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(pool(dim), nn.BatchNorm1d(dim, eps=1e-6, affine=False), linear)


def sgd(head: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimiser of linear probes: SGD with momentum 0.9."""
    return torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9)


def adamw(head: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimiser of attentive probes: AdamW."""
    return torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.0)


def train_head(
    pool: Callable[[int], nn.Module],
    optimizer_of: Callable[[nn.Module, float], torch.optim.Optimizer],
    rows: Rows,
    labels: NDArray[np.int64],
    classes: int,
    lr: float,
    training: Training,
) -> nn.Sequential:
    """Train a head on frozen features, and return it in evaluation mode.

    Args:
        pool: See `build_head`.
        optimizer_of: `sgd` or `adamw`.
        rows: Features (N, ..., C).
        labels: Labels (N,).
        classes: Number of classes.
        lr: Learning rate.
        training: The other settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        head = build_head(pool, rows.dim, classes).to(training.device)
    order = np.random.default_rng(training.seed)
    optimizer = optimizer_of(head, lr)
    batches = -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs * batches)
    for _ in range(training.epochs):
        for chosen in np.array_split(order.permutation(len(rows)), batches):
            wanted = torch.from_numpy(labels[chosen]).to(training.device)
            loss = cross_entropy(head(_batch(rows, chosen, training)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def predict(head: nn.Module, rows: Rows, training: Training) -> NDArray[np.int64]:
    """Return the predicted labels (N,) of a trained head."""
    parts = np.array_split(np.arange(len(rows)), -(-len(rows) // BATCH))
    return np.concatenate([head(_batch(rows, own, training)).argmax(1).cpu().numpy() for own in parts])


def _batch(rows: Rows, chosen: NDArray[np.int64], training: Training) -> Tensor:
    return torch.from_numpy(rows.at(chosen)).to(training.device)
