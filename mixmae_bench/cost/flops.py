"""Parameters and FLOPs of any model, by the same definition.

- One multiply-add is one FLOP, as in the papers on these methods (torch's counter counts two).
- Counted: convolutions, matrix products (including linear layers) and the two products of attention, from
  the shapes of the operators that a call runs. Masked, causal and padded entries are counted, biases are not.
- `scaled_dot_product_attention` is counted as its two products for every kernel and device. This package's
  window attention is counted as in the official code, including masked logits (`whole_windows`).
- Free: views, copies and indexing, pointwise operators, sums and other reductions, norms, softmax, pooling,
  interpolation, sorting, random numbers, losses, and the selection and cropping of boxes.
- Any other operator raises an error that names it.

Only shapes matter, so a model on the meta device is counted without memory or arithmetic.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mixmae_bench.backbones.layers.forms import whole_windows
from mixmae_bench.errors import UserError

FREE = {
    "aten": """
        _to_copy copy lift _unsafe_view unsafe_split cat stack repeat roll flip rot90 tril triu
        diag_embed constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
        replication_pad2d im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle
        index _unsafe_index index_select index_put _index_put_impl index_fill index_add index_copy
        gather scatter scatter_add scatter_reduce select_scatter slice_scatter masked_select
        masked_scatter masked_fill nonzero take embedding repeat_interleave fill zero isin
        _local_scalar_dense
        zeros_like ones_like empty_like full_like new_empty new_zeros new_ones new_full
        new_empty_strided linspace rand_like randn_like randint_like bernoulli uniform normal
        exponential random native_dropout
        rsub floor_divide hardswish glu _prelu_kernel log_sigmoid_forward
        sum nansum mean prod amax amin aminmax max min any all argmax argmin var var_mean std
        std_mean logsumexp cumsum cumprod cummax cummin linalg_vector_norm norm count_nonzero
        sort topk kthvalue median searchsorted bucketize bincount _unique2 unique_dim
        unique_consecutive
        native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit
        _native_batch_norm_legit_no_training _batch_norm_no_update cudnn_batch_norm _softmax
        _log_softmax _safe_softmax
        avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d max_pool2d_with_indices
        max_pool3d_with_indices adaptive_max_pool2d upsample_nearest1d upsample_nearest2d
        _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d affine_grid_generator
        mse_loss smooth_l1_loss huber_loss nll_loss_forward nll_loss2d_forward binary_cross_entropy
        binary_cross_entropy_with_logits
    """,
    "torchvision": "nms roi_align",
}
FREE = {f"{namespace}.{name}" for namespace, names in FREE.items() for name in names.split()}
"""Free operators that `is_free` does not recognise by their schema or tags."""


@dataclass(frozen=True)
class Cost:
    """Parameters and FLOPs of a model.

    Attributes:
        params: Number of parameters; shared parameters count once.
        trainable: Number of trainable parameters.
        flops: FLOPs of a forward pass, per image.
        by_module: FLOPs of every module, including its children, by name; the model itself is "". Modules
            without FLOPs are left out.
    """

    params: int
    trainable: int
    flops: int
    by_module: dict[str, int]


def count(
    model: nn.Module, *inputs: object, forward: Callable[..., object] | None = None, images: int = 1
) -> Cost:
    """Count the parameters of a model and the FLOPs of one call.

    Args:
        model: The model, on the device of the inputs.
        inputs: Arguments of the call.
        forward: Function to call instead of the model, for instance one of its methods.
        images: Batch size; FLOPs are divided by it.

    Raises:
        UserError: If the call runs an operator that is neither counted nor free.
    """
    counter = _Counter(model)
    # In inference mode, composite operators are not decomposed before the counter sees them, so attention is
    # counted before a kernel is selected that may pad it.
    with torch.inference_mode(), whole_windows(), _no_fused_encoder_layers(), counter.watching(), counter:
        (forward or model)(*inputs)
    flops: Counter[str] = Counter()
    for name, own in counter.flops.items():
        while name:
            flops[name] += own
            name = name.rpartition(".")[0]
        flops[""] += own
    by_module = {name: n // images for name, n in flops.items()}
    return Cost(size(model.parameters()), size(trained(model)), by_module.get("", 0), by_module)


def size(tensors: Iterator[Tensor]) -> int:
    """Return the total number of elements."""
    return sum(t.numel() for t in tensors)


def trained(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the trainable parameters."""
    return (p for p in model.parameters() if p.requires_grad)


class _Counter(TorchDispatchMode):
    """Counts the FLOPs of every operator and assigns them to the innermost running module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.running = [""]
        self.flops: Counter[str] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Track the running module of the model."""
        enter = register_module_forward_pre_hook(
            lambda module, _: self.running.append(self.names.get(module, self.running[-1]))
        )
        leave = register_module_forward_hook(lambda *_: self.running.pop() and None, always_call=True)
        try:
            yield
        finally:
            enter.remove()
            leave.remove()

    def __torch_dispatch__(
        self, op: OpOverload, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        formula = FORMULAS.get(op.overloadpacket) or flop_registry.get(op.overloadpacket)
        if formula is None:
            with self:
                out = op.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
            if not is_free(op):
                raise UserError(
                    f"cannot count {op} in {self.running[-1] or 'the model itself'}: its FLOPs are unknown; "
                    "register a formula with torch.utils.flop_counter.register_flop_formula"
                )
            return op(*args, **kwargs)
        out = op(*args, **kwargs)
        self.flops[self.running[-1]] += formula(*args, **kwargs, out_val=out) // 2
        return out


def is_free(op: OpOverload) -> bool:
    """Return whether an operator is free by definition."""
    return (
        torch.Tag.pointwise in op.tags
        or torch.Tag.inplace_view in op.tags
        or op.is_view
        or not any("Tensor" in str(argument.type) for argument in op._schema.arguments)
        or str(op.overloadpacket).rstrip("_") in FREE
    )


def attention(query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> int:
    """Return twice the multiply-adds of attention: logits (..., L, S), and their product with the values.

    Fewer heads of keys and values than of queries (GQA) do not change the count.
    """
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def matrix_vector(matrix: Tensor, *args: object, **kwargs: object) -> int:
    """Return twice the multiply-adds of the product of a matrix (or vector) and a vector."""
    return 2 * matrix.numel()


FORMULAS = {
    torch.ops.aten.scaled_dot_product_attention: attention,
    torch.ops.aten.mv: matrix_vector,
    torch.ops.aten.dot: matrix_vector,
}
"""Formulas that torch's registry lacks, in its convention: 2 per multiply-add."""


@contextmanager
def _no_fused_encoder_layers() -> Iterator[None]:
    """Disable the fused kernels of `nn.MultiheadAttention` and `nn.TransformerEncoderLayer`."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
