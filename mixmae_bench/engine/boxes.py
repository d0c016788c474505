"""Float32 boxes in detectors of mmdet that are trained in a 16-bit format."""

from torch import Tensor, nn


def keep_boxes_float32(model: nn.Module) -> None:
    """Convert the outputs of a detector's box heads to float32.

    mmdet computes anchors and boxes in the dtype of these outputs. Under autocast this would be bfloat16 or
    float16, and bfloat16 rounds coordinates above 256 px to 2 px and more. Losses then are float32 as well.
    Other models have no box heads and are not changed.
    """
    for module in model.modules():
        if hasattr(module, "bbox_coder") or hasattr(module, "prior_generator"):
            module.register_forward_hook(_to_float32)


def _to_float32(module: nn.Module, args: object, out: object) -> object:
    if isinstance(out, Tensor):
        return out.float() if out.is_floating_point() else out
    if isinstance(out, list | tuple):
        return type(out)(_to_float32(module, args, part) for part in out)
    return out
