"""The kinds of checkpoints of official code, each registered by the file of its backbone or method.

A backbone's file registers the kinds that hold the backbone alone or in a classifier, a method's file the
kinds of its pretraining. A module outside the package does the same. `mixmae-bench convert` and
`mixmae-bench verify` know a kind once its module is imported.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.layouts import MM_HEAD, Layout, Rename
from mixmae_bench.backbones.official.names import OUT_NORMS, Rules
from mixmae_bench.backbones.official.shapes import State, image_side
from mixmae_bench.registry import MODELS

WRITTEN = ("arch", "window_size", "img_size")
"""Arguments that a config says even where they are the defaults."""


def no_buffers(encoder: State, img_size: int | None) -> dict[str, Tensor]:
    """Return the buffers of a backbone that has none."""
    return {}


@dataclass(frozen=True)
class BackboneCheckpoint:
    """The part of official checkpoints that is a backbone, and how its config follows from their shapes.

    Attributes:
        model: Our class, with arguments `patch_size` and `in_chans`.
        settings: Returns the arguments of `model` that shapes tell, from the parameters and the pixels per
            side of the images, or None where they are unknown. `config` adds patch size, channels of the
            images and out indices.
        defaults: Names of the arguments that no shape tells, so that a config has the published ones.
        layouts: Names of its parameters in other packages.
        buffers: Patterns of the names of official buffers. They follow from sizes and are never loaded.
        make_buffers: Returns these buffers, from the parameters and the pixels per side of the images.
        sized: Whether `make_buffers` needs the size of the images to return all of them.
        img_size: Returns the pixels per side of the images, from parameters and official buffers.
        refused: Patterns of names, and why a file with all of them is refused. They belong to a variant that
            the class does not build.
    """

    model: type[nn.Module]
    settings: Callable[[State, int | None], dict]
    defaults: tuple[str, ...]
    layouts: tuple[Layout, ...] = ()
    buffers: tuple[str, ...] = ()
    make_buffers: Callable[[State, int | None], dict[str, Tensor]] = no_buffers
    sized: bool = False
    img_size: Callable[[State, State], int | None] = image_side
    refused: tuple[tuple[str, ...], str] | None = None

    @property
    def name(self) -> str:
        return self.model.__name__

    def config(self, encoder: State, img_size: int | None) -> dict:
        """Return the config of the backbone that parameters fit, without most arguments that are defaults."""
        told = self.settings(encoder, img_size)
        _, told["in_chans"], _, told["patch_size"] = encoder["patch_embed.proj.weight"].shape
        norms = sorted({int(name.split(".")[1]) for name in encoder if name.startswith(OUT_NORMS)})
        if norms:
            told["out_indices"] = (*norms, -1)
        known = inspect.signature(self.model).parameters
        told = {name: v for name, v in told.items() if name in WRITTEN or v != known[name].default}
        return {"type": f"mixmae_bench.{self.name}", **told}


def always(encoder: State) -> bool:
    """Accept any tensors."""
    return True


def nothing_told(state: State, backbone: dict) -> dict:
    """Return no settings."""
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of official checkpoint.

    Attributes:
        name: What it is.
        source: The official repository.
        fits: Our model: the name of a method, or 'ImageClassifier' for a classifier around a backbone (the
            backbone alone where there is no head).
        backbone: The part that is the backbone.
        rules: Names, official and ours.
        keys: Patterns of the official names. Every one is there.
        maybe: Patterns of names that need not be there.
        mmpretrain: Names, in mmpretrain, of what is not the backbone.
        holds: Returns whether the backbone's parameters are of this kind, where names tell no difference.
        published: Whether the repository has this model, so that a checkpoint can be written for it.
        settings: Returns the arguments of a method that shapes tell, from all parameters by our names and the
            backbone's config.
        defaults: Settings of a method, beyond the backbone's, that no shape tells.
        files: Official files, without folder and ending, with the model of these checkpoints.
        constructor: Returns the arguments of our model (of a classifier: those of the backbone) for the
            arguments of the official constructor.
        groups: Options of the optimiser's constructor by which parameters are grouped as in the official
            script, layer decay apart.
    """

    name: str
    source: str
    fits: str
    backbone: BackboneCheckpoint
    rules: Rules
    keys: tuple[str, ...]
    maybe: tuple[str, ...] = ()
    mmpretrain: Rename = MM_HEAD
    holds: Callable[[State], bool] = always
    published: bool = True
    settings: Callable[[State, dict], dict] = nothing_told
    defaults: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    constructor: Callable[[Arguments], dict] | None = None
    groups: dict = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What is in front of the official names of the backbone."""
        return next(theirs for theirs, ours in self.rules if ours == "backbone.")

    def is_buffer(self, official: str) -> bool:
        """Return whether an official name is that of a buffer."""
        return bool(self.backbone.buffers) and self._buffers.fullmatch(official) is not None

    @cached_property
    def _buffers(self) -> re.Pattern:
        return re.compile(f"{re.escape(self.prefix)}({'|'.join(self.backbone.buffers)})")

    def unmatched(self, names: set[str]) -> tuple[list[str], list[str]]:
        """Return the names that no pattern fits, and the patterns that must and do not fit any name."""
        keys = [re.compile(pattern) for pattern in self.keys]
        known = keys + [re.compile(pattern) for pattern in self.maybe]
        strangers = [name for name in names if not any(pattern.fullmatch(name) for pattern in known)]
        missing = [p.pattern for p in keys if not any(p.fullmatch(name) for name in names)]
        return sorted(strangers), missing


_KINDS: list[Kind] = []


def register(*kinds: Kind) -> None:
    """Make kinds of checkpoints known."""
    _KINDS.extend(kinds)


def registered() -> list[Kind]:
    """Return all known kinds: those of the package, and those of modules that were imported.

    A kind that needs more names comes first. So a file with all names of MixMAE's encoder is not taken for a
    Swin, which needs some of them, whichever module was imported first.
    """
    MODELS.import_from_location()  # all backbones and methods of the package
    return sorted(_KINDS, key=lambda kind: -len(kind.keys))
