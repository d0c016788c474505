"""The registry of the kinds of official checkpoints.

The file of a backbone registers the kinds that contain the backbone alone or in a classifier, and the file of
a method registers the kinds of its pretraining checkpoints. Modules outside the package can register kinds
too: `mixmae-bench convert` and `mixmae-bench verify` support a kind once its module is imported.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.layouts import MM_HEAD, Layout, Rename, Target
from mixmae_bench.backbones.official.names import OUT_NORMS, Rules
from mixmae_bench.backbones.official.shapes import State, image_side
from mixmae_bench.registry import MODELS

WRITTEN = ("arch", "window_size", "img_size")
"""Arguments that are written into a config even if they have their default values."""


def no_buffers(encoder: State, img_size: int | None) -> dict[str, Tensor]:
    """Return an empty dict, for backbones without buffers."""
    return {}


@dataclass(frozen=True)
class BackboneCheckpoint:
    """Description of a backbone in official checkpoints, and the inference of its config from their shapes.

    The image size is the side of the images in pixels, or None if it is unknown.

    Attributes:
        model: Our class; it has the arguments `patch_size` and `in_chans`.
        settings: Infers arguments of `model` from the parameters and the image size. `config` adds patch
            size, channels of the images and out indices.
        defaults: Names of the arguments that cannot be inferred; a config uses their published values.
        layouts: Parameter names in other packages.
        targets: Packages that its checkpoints can be converted to, besides the official code.
        buffers: Patterns of the names of official buffers. They follow from sizes and are never loaded.
        make_buffers: Returns these buffers, from the parameters and the image size.
        sized: Whether `make_buffers` needs the image size to return all buffers.
        img_size: Returns the image size, inferred from parameters and official buffers.
        refused: Patterns of the names of an unsupported variant, and a reason. A checkpoint is refused if all
            patterns match.
        added: Beginnings of names of our parameters that pretraining does not have.
    """

    model: type[nn.Module]
    settings: Callable[[State, int | None], dict]
    defaults: tuple[str, ...]
    layouts: tuple[Layout, ...] = ()
    targets: tuple[Target, ...] = ()
    buffers: tuple[str, ...] = ()
    make_buffers: Callable[[State, int | None], dict[str, Tensor]] = no_buffers
    sized: bool = False
    img_size: Callable[[State, State], int | None] = image_side
    refused: tuple[tuple[str, ...], str] | None = None
    added: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.model.__name__

    def config(self, encoder: State, img_size: int | None) -> dict:
        """Infer the config of the backbone from its parameters; most default values are omitted."""
        inferred = self.settings(encoder, img_size)
        _, inferred["in_chans"], _, inferred["patch_size"] = encoder["patch_embed.proj.weight"].shape
        norms = sorted({int(name.split(".")[1]) for name in encoder if name.startswith(OUT_NORMS)})
        if norms:
            inferred["out_indices"] = (*norms, -1)
        known = inspect.signature(self.model).parameters
        inferred = {name: v for name, v in inferred.items() if name in WRITTEN or v != known[name].default}
        return {"type": f"mixmae_bench.{self.name}", **inferred}


def always(encoder: State) -> bool:
    """Return True."""
    return True


def no_settings(state: State, backbone: dict) -> dict:
    """Return an empty dict."""
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of official checkpoint.

    Attributes:
        name: Name of the kind.
        source: The official repository.
        fits: Our model: the name of a method, or 'ImageClassifier' for a classifier with the backbone (or the
            backbone alone if the checkpoint has no head).
        backbone: Description of the backbone.
        rules: Official names and ours.
        keys: Patterns of required official names.
        optional: Patterns of optional official names.
        mmpretrain: Names outside the backbone in mmpretrain.
        matches: Returns whether the backbone's parameters are of this kind, if names alone are ambiguous.
        published: Whether the repository has this model, so that checkpoints can be converted to it.
        settings: Returns the arguments of a method that can be inferred from all parameters, under our names,
            and the backbone's config.
        defaults: Arguments of a method, apart from the backbone's, that cannot be inferred.
        files: Names of the official files that define the model, without folder and suffix.
        constructor: Maps the arguments of the official constructor to those of our model (for a classifier:
            of the backbone).
        groups: Options of the optimiser wrapper constructor that reproduce the parameter groups of the
            official script, apart from layer decay.
        pretraining: Patterns of required names in a file that belong to the pretraining of another package
            and that our model does not have. They prove the method, so the kind is recognised by them in the
            backbone's layouts only, and in files that `convert` wrote.
    """

    name: str
    source: str
    fits: str
    backbone: BackboneCheckpoint
    rules: Rules
    keys: tuple[str, ...]
    optional: tuple[str, ...] = ()
    mmpretrain: Rename = MM_HEAD
    matches: Callable[[State], bool] = always
    published: bool = True
    settings: Callable[[State, dict], dict] = no_settings
    defaults: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    constructor: Callable[[Arguments], dict] | None = None
    groups: dict = field(default_factory=dict)
    pretraining: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Prefix of the backbone's official names."""
        return next(theirs for theirs, ours in self.rules if ours == "backbone.")

    def is_buffer(self, official: str) -> bool:
        """Return whether an official name belongs to a buffer."""
        return bool(self.backbone.buffers) and self._buffers.fullmatch(official) is not None

    @cached_property
    def _buffers(self) -> re.Pattern:
        return re.compile(f"{re.escape(self.prefix)}({'|'.join(self.backbone.buffers)})")

    def unmatched(self, names: set[str]) -> tuple[list[str], list[str]]:
        """Return the names that match no pattern, and the required patterns that match no name."""
        known = [re.compile(pattern) for pattern in (*self.keys, *self.optional)]
        unknown = [name for name in names if not any(pattern.fullmatch(name) for pattern in known)]
        return sorted(unknown), _without_name(self.keys, names)

    def of_pretraining(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the names in a file that match a pattern in `pretraining`, and the patterns without name."""
        patterns = [re.compile(pattern) for pattern in self.pretraining]
        found = [name for name in names if any(pattern.fullmatch(name) for pattern in patterns)]
        return found, _without_name(self.pretraining, found)


def _without_name(patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    return [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in names)]


_KINDS: list[Kind] = []


def register(*kinds: Kind) -> None:
    """Register kinds of checkpoints."""
    _KINDS.extend(kinds)


def registered() -> list[Kind]:
    """Return all registered kinds: those of the package, and those of other imported modules.

    Kinds with more required patterns come first. The required names of a Swin are a subset of those of
    MixMAE's encoder, so this order recognises MixMAE checkpoints regardless of the import order.
    """
    MODELS.import_from_location()  # all backbones and methods of the package
    return sorted(_KINDS, key=lambda kind: -len(kind.keys))
