"""Batch norm over all processes without a GPU: torch's SyncBatchNorm refuses tensors on the CPU."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import batch_norm

_on_gpu = nn.SyncBatchNorm.forward


def use_on_cpu() -> None:
    """Let SyncBatchNorm take tensors on the CPU, with the statistics and gradients that it has on GPUs."""
    nn.SyncBatchNorm.forward = _forward


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; so is its gradient, as every process's loss depends on it."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor, group: torch.distributed.ProcessGroup | None) -> Tensor:
        ctx.group = group
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor, group=group)
        return tensor

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient.contiguous(), ctx.group), None


def _forward(self: nn.SyncBatchNorm, input: Tensor) -> Tensor:
    """Normalise (B, C, ...) by mean and variance over the batches of all processes."""
    if input.device.type != "cpu":
        return _on_gpu(self, input)
    self._check_input_dim(input)
    if not self.training and self.running_mean is not None:
        return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
    values = input.transpose(0, 1).flatten(1).float()  # (C, N)
    sums = torch.cat([values.new_tensor([values.shape[1]]), values.sum(1)])
    total, *sums = _Sum.apply(sums, self.process_group).split([1, len(values)])
    mean = sums[0] / total
    centred = values - mean[:, None]
    var = _Sum.apply(centred.square().sum(1), self.process_group) / total
    if self.training and self.running_mean is not None:
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(var * total / (total - 1), share)
    output = centred * (var[:, None] + self.eps).rsqrt()
    if self.affine:
        output = output * self.weight[:, None] + self.bias[:, None]
    return output.unflatten(1, (len(input), *input.shape[2:])).transpose(0, 1).to(input.dtype)
