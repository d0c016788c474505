"""Synchronized batch norm on CPUs, where torch and its DDP do not support SyncBatchNorm."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes. The gradient is summed too, as all losses depend on the sum."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor, group: torch.distributed.ProcessGroup | None) -> Tensor:
        ctx.group = group
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor, group=group)
        return tensor

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient.contiguous(), ctx.group), None


class SyncBatchNorm(_BatchNorm):
    """torch's SyncBatchNorm for CPU tensors, with the same statistics and gradients.

    Attributes:
        process_group: Process group to synchronize over; None for all processes.
    """

    process_group: torch.distributed.ProcessGroup | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...) by mean and variance over the batches of all processes."""
        if not self.training and self.running_mean is not None:
            return batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        values = input.transpose(0, 1).flatten(1).float()  # (C, N)
        sums = torch.cat([values.new_tensor([values.shape[1]]), values.sum(1)])
        total, sums = _Sum.apply(sums, self.process_group).split([1, len(values)])
        mean = sums / total
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
