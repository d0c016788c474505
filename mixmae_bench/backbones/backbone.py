"""What every backbone of this package has: audited loading, layer depths, sizes of its maps."""

from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from mixmae_bench.backbones.loading import load_backbone


def check_init_cfg(init_cfg: dict | None) -> None:
    """Check that an `init_cfg` names a checkpoint.

    Raises:
        ValueError: If it is neither None nor `dict(type='Pretrained', checkpoint=...)`.
    """
    if init_cfg and init_cfg.get("type") != "Pretrained":
        raise ValueError(
            f"init_cfg of a backbone must be dict(type='Pretrained', checkpoint=FILE), not {init_cfg}"
        )


class Backbone(BaseModule, metaclass=ABCMeta):
    """A backbone that loads its checkpoints with an audit and states the depths of its parameters.

    Attributes:
        out_channels: Channels of every stage.
        out_strides: Pixels per token of every stage.
        in_chans: Channels of the images.
        audit: Result of `load_backbone`, set when `init_weights` loads a checkpoint.
    """

    out_channels: list[int]
    out_strides: list[int]
    in_chans: int = 3
    audit: dict

    @abstractmethod
    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        """Resize the position and bias tables of another input size in `state`; return their names."""

    @abstractmethod
    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Return the depth of a parameter (0: embedding) and the number of depths, including the head."""

    def init_weights(self) -> None:
        """Load the checkpoint of `init_cfg=dict(type='Pretrained', checkpoint=...)`, if it is set.

        Unlike mmengine's loader, this raises an error if the checkpoint does not fit (see `load_backbone`).
        """
        if self.init_cfg and not self._is_init:
            self.audit = load_backbone(self, self.init_cfg["checkpoint"])
        self._is_init = True
