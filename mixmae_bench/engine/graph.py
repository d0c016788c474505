"""CUDA graphs of the loss of a pretraining method and its gradients.

A graph replays all kernels of a forward or backward pass with one call, so the CPU never delays the GPU. It
pays off where a step has many short kernels, as UM-MAE's packed maps do. All steps must have the same shapes.
"""

import torch
from torch import Tensor, nn

from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method


def graph_loss(model: nn.Module) -> None:
    """Let a method compute its training loss with CUDA graphs, which the first step records.

    Raises:
        UserError: If the model is not a pretraining method, or the shapes of the method depend on the mask.
    """
    if not isinstance(model, Method):
        raise UserError(
            f"{type(model).__name__} is not a pretraining method, so its steps cannot be CUDA graphs; leave "
            "cuda_graph or +graph out"
        )
    if not model.fixed_shapes:
        raise UserError(
            f"the shapes of {type(model).__name__} depend on the mask, so its steps cannot be CUDA graphs; "
            "leave cuda_graph or +graph out"
        )
    model.loss = GraphedLoss(model)


class GraphedLoss:
    """The loss of a method on a GPU as CUDA graphs.

    Batches of another shape than the first one's, evaluation and CPUs use the method itself.
    """

    def __init__(self, method: Method) -> None:
        self._function = _Loss(method)
        self._graphed: nn.Module | None = None
        self._shapes: tuple[torch.Size, ...] | None = None

    def __call__(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the scalar loss of normalised images (B, 3, H, W) on a GPU; see `Method.loss`."""
        method, shapes = self._function.method, (images.shape, mask.shape)
        served = images.is_cuda and torch.is_grad_enabled() and method.training
        if not served or self._shapes not in (None, shapes):
            return self._function(images, mask)
        if self._graphed is None:
            self._shapes = shapes
            self._graphed = _record(self._function, images, mask)
        return self._graphed(images, mask).clone()  # the next step overwrites the output of the graph


class _Loss(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        return type(self.method).loss(self.method, images, mask)


def _record(function: _Loss, images: Tensor, mask: Tensor) -> nn.Module:
    device = images.device.type
    with torch.autocast(
        device,
        torch.get_autocast_dtype(device),
        torch.is_autocast_enabled(device),
        cache_enabled=False,  # rounded weights must be computed again in every replay
    ):
        samples = images.clone(), mask.clone()
        # Parameters that a loss does not use, as norms of other stages, have no gradient.
        return torch.cuda.make_graphed_callables(_Loss(function.method), samples, allow_unused_input=True)
