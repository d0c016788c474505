"""Fully sharded training: weights, gradients and optimiser state are sharded over all processes."""

from typing import Any

import torch
from mmengine._strategy import DDPStrategy
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mixmae_bench.engine.blocks import blocks_of
from mixmae_bench.engine.boxes import keep_boxes_float32
from mixmae_bench.errors import UserError
from mixmae_bench.registry import STRATEGIES


@STRATEGIES.register_module()
class FullyShardedStrategy(DDPStrategy):
    """Shards a model block by block with torch's `fully_shard`, for mmengine's FlexibleRunner.

    Parameters keep their names and shapes, so layer decay, weight decay and gradient clipping by norm work as
    in a single process. (mmengine's FSDPStrategy flattens parameters, clips each shard by its own norm, and
    needs a GPU.) Checkpoints contain the whole model, so a run can resume with or without sharding. Code that
    calls parts of the model other than `forward`, such as ReconstructionHook, does not work with shards.

    Raises:
        UserError: If there is no launcher.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if not self.distributed:
            raise UserError("FullyShardedStrategy shards a model over processes; start with a launcher")

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        model = self.convert_model(model.to(get_device()))
        keep_boxes_float32(model)
        mesh = init_device_mesh(get_device(), (get_world_size(),))
        for block in blocks_of(model):
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    def save_checkpoint(self, filename: str, **kwargs: object) -> None:
        """Gather the whole state from all processes, and write it on rank 0."""
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        self._model_state = get_model_state_dict(self.model, options=whole)
        self._optim_state = _gathered(self.optim_wrapper.state_dict())
        super().save_checkpoint(filename, **kwargs)
        del self._model_state, self._optim_state

    def model_state_dict(self) -> dict:
        return self._model_state

    def optim_state_dict(self) -> dict:
        return self._optim_state

    def load_checkpoint(self, filename: str, **kwargs: Any) -> dict:
        """Load a checkpoint of the whole model into CPU memory, as it may not fit on a GPU."""
        return super().load_checkpoint(filename, **{**kwargs, "map_location": "cpu"})

    def load_model_state_dict(self, state_dict: dict, *, strict: bool = False, **_: object) -> None:
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self.model, state_dict, options=options)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        params = [p for group in self.optim_wrapper.param_groups for p in group["params"]]
        for number, values in state_dict["state"].items():
            param = params[number]
            for name, value in values.items():
                if isinstance(value, torch.Tensor) and value.ndim and value.shape == param.shape:
                    value = value.to(param.device)
                    values[name] = distribute_tensor(value, param.device_mesh, param.placements)
        self.optim_wrapper.load_state_dict(state_dict)


def _gathered(node: Any) -> Any:
    """Return nested dicts and lists with sharded tensors replaced by whole tensors on the CPU.

    Only rank 0 keeps them, as together they take several times the memory of the model.
    """
    if isinstance(node, DTensor):
        whole = node.full_tensor()
        return whole.cpu() if is_main_process() else torch.empty(0)
    if isinstance(node, dict):
        return {key: _gathered(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_gathered(value) for value in node]
    return node
