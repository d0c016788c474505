"""Build the model of a case from the arguments of the official constructor.

The kind of checkpoint with the official file in `files` maps the arguments. Unknown arguments are an error.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import Kind, registered
from mixmae_bench.backbones.official.names import our_name
from mixmae_bench.convert.fits import mismatches
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.neck import PoolNorm
from mixmae_bench.verify.case import Case, NotBuilt


class Classifier(nn.Module):
    """Encoder, average pooling, for UM-MAE a norm (U8), and a linear head if `num_classes` is not 0."""

    def __init__(
        self, backbone: dict, num_classes: int, norm_after_pool: bool, norm_eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        channels = self.backbone.out_channels[-1]
        self.neck = PoolNorm(channels, norm_eps) if norm_after_pool else None
        self.head = nn.ModuleDict({"fc": nn.Linear(channels, num_classes) if num_classes else nn.Identity()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(images)
        tokens = maps[-1].flatten(2).transpose(1, 2)
        out = {"final_norm": tokens, "pooled": tokens.mean(dim=1)}
        if self.neck is not None:
            (out["fc_norm"],) = self.neck(maps)
        out["logits"] = self.head["fc"](out.get("fc_norm", out["pooled"]))
        return out


def build(case: Case) -> tuple[nn.Module, Kind]:
    """Build the model of a case; return it and the kind of the recorded weights.

    Raises:
        NotBuilt: If the official file or an argument is not supported, or the recorded weights do not fit the
            model.
    """
    try:
        return _build(case)
    except UserError as error:
        raise NotBuilt(str(error)) from error
    except Exception as error:  # manifests are untrusted, and constructors check few arguments
        raise NotBuilt(f"{type(error).__name__}: {error}") from error


def _build(case: Case) -> tuple[nn.Module, Kind]:
    kind = next((kind for kind in registered() if case.family in kind.files), None)
    if kind is None:
        raise UserError(f"{case.lookup('official', 'file')} is not supported")
    arguments = Arguments(case.lookup, len(case.group("sd")))
    make = _maker(kind, arguments)
    arguments.check_all_read()
    with torch.device("meta"):  # needs no memory for any size
        own = make().state_dict()
    problems = mismatches(own, renamed(case, kind))
    if problems:
        raise UserError(f"its file {problems}")
    return make().eval(), kind


def _maker(kind: Kind, a: Arguments) -> Callable[[], nn.Module]:
    """Return a function that builds the model of a kind for the arguments of its official constructor."""
    config, type_ = kind.constructor(a), f"mixmae_bench.{kind.backbone.name}"
    if kind.fits != "ImageClassifier":
        backbone = dict(type=type_, **config.pop("backbone"))
        return partial(MODELS.build, dict(type=f"mixmae_bench.{kind.fits}", backbone=backbone, **config))
    backbone = dict(type=type_, in_chans=a.count("in_chans", 3), **config)
    classes = a.count("num_classes", 1000, least=0)
    if any(ours == "neck.norm." for _, ours in kind.rules):
        return partial(Classifier, backbone, classes, True, a.norm_eps())
    return partial(Classifier, backbone, classes, False)


def renamed(case: Case, kind: Kind) -> dict[str, Tensor]:
    """Return the recorded parameters under our names, without buffers, which this package computes."""
    return {
        our_name(name, kind.rules): tensor
        for name, tensor in case.group("sd").items()
        if not kind.is_buffer(name)
    }
