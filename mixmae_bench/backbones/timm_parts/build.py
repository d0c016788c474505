"""Create a timm model that accepts as many input sizes as its family allows."""

from collections.abc import Iterator
from itertools import product
from logging import WARNING

import timm
from mmengine.logging import print_log
from torch import nn

from mixmae_bench.errors import did_you_mean

ANY_SIZE = ("dynamic_img_size", "strict_img_size")
"""Arguments of timm's models that allow any input size: ViT's (to be true) and Swin's (to be false)."""


def create(
    name: str, img_size: int | tuple[int, int] | None, drop_path_rate: float, kwargs: dict
) -> tuple[nn.Module, tuple[int, int] | None]:
    """Create a timm model without classifier, and return it with the only input size that it accepts.

    Args:
        name: Name of the model in timm, with or without a tag of weights (which are not loaded).
        img_size: Image size that position tables and windows are made for, or None for the model's own.
        drop_path_rate: Stochastic depth rate; a model without it is created without, with a line in the log.
        kwargs: Arguments of the model.

    Returns:
        The model, and its only input size (rows, columns), or None if it accepts any size.

    Raises:
        ValueError: If timm has no such model, or it does not accept the arguments.
    """
    base = name.partition(".")[0]
    if not timm.is_model(base):
        raise ValueError(f"timm has no model '{base}'.{did_you_mean(base, timm.list_models())}")
    failures = []
    for more in _attempts(img_size, drop_path_rate):
        try:
            model = timm.create_model(name, pretrained=False, num_classes=0, **{**more, **kwargs})
            break
        except TypeError as error:  # an argument that this family does not have
            failures.append(error)
        except RuntimeError as error:  # an unknown tag
            raise ValueError(f"timm's {name} cannot be built: {error}") from error
    else:
        raise ValueError(f"timm's {name} cannot be built: {failures[-1]}")
    if img_size and "img_size" not in more and hasattr(model, "set_input_size"):
        model.set_input_size(img_size=img_size)
    if drop_path_rate and "drop_path_rate" not in more:
        print_log(f"timm's {name} has no stochastic depth; drop_path_rate has no effect", "current", WARNING)
    fixed = model.pretrained_cfg.get("fixed_input_size") and not any(key in more for key in ANY_SIZE)
    size = img_size or model.pretrained_cfg["input_size"][-2:]
    return model, (_pair(size) if fixed else None)


def log_sizes(name: str, only: tuple[int, int] | None, multiple: int) -> None:
    """Log how images of other sizes reach the model."""
    text = f"padded to a multiple of {multiple}"
    if only:
        text = f"padded to {only[0]}x{only[1]}, the only size that it accepts (img_size sets another)"
    print_log(f"timm's {name}: images are {text}", logger="current")


def _attempts(img_size: int | tuple[int, int] | None, drop_path_rate: float) -> Iterator[dict]:
    """Yield arguments to try, those that allow the most first."""
    drops = [dict(drop_path_rate=drop_path_rate)] if drop_path_rate else []
    sizes = [dict(img_size=img_size)] if img_size else []
    any_sizes = (dict(dynamic_img_size=True), dict(strict_img_size=False), {})
    for parts in product([*drops, {}], [*sizes, {}], any_sizes):
        yield {key: value for part in parts for key, value in part.items()}


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def use_checkpointing(model: nn.Module, name: str) -> None:
    """Recompute activations in the backward pass, or log that the model cannot."""
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError):
        print_log(f"timm's {name} has no activation checkpointing; with_cp has no effect", "current", WARNING)
