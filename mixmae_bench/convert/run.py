"""The command `mixmae-bench convert`."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mixmae_bench import __version__
from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.loading import read_weights
from mixmae_bench.backbones.official.kinds import Kind
from mixmae_bench.backbones.official.layouts import refold, unfold
from mixmae_bench.backbones.official.names import OUT_NORMS, official_name, our_name
from mixmae_bench.backbones.official.shapes import under
from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.convert.fits import BROKEN, check, defaults, model_config, snippet
from mixmae_bench.convert.recognise import OFFICIAL, OURS, Match, left_out, recognise, shorten
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.system.files import atomic_path

KIND, IMG_SIZE = "kind", "img_size"
"""Keys in a converted checkpoint's meta. Its parameters may not determine the kind and the image size."""


@dataclass
class Report:
    """Report of a conversion.

    Attributes:
        found: Kind and layout of the file.
        notes: Which of several sets of weights was taken, and what was stripped from names (see `unwrap`).
        mapped: Number of renamed tensors.
        permuted: Tensors with reordered inputs.
        resized: Resized position and bias tables.
        dropped: Parts of dense tasks or of pretraining that our model lacks, or that official code lacks.
        recomputed: Official buffers that were left out, as they follow from sizes.
        added: Official buffers that were added for the official code.
        fits: Config of the model that the result fits.
        defaults: Settings of this config that cannot be inferred from the file.
    """

    found: str
    mapped: int
    permuted: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    fits: str = ""
    defaults: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the lines of the report."""
        lines = [f"found: {self.found}", *(f"weights: {note}" for note in self.notes)]
        lines.append(f"mapped: {self.mapped} tensors")
        for what, names in (
            ("permuted", self.permuted),
            ("resized", self.resized),
            ("dropped", self.dropped),
            ("left out, as they follow from sizes", self.recomputed),
            ("added, as that code requires them", self.added),
        ):
            if names:
                lines.append(f"{what}: {shorten(names)}")
        lines.append(f"fits: {self.fits}")
        if self.defaults:
            lines.append(f"not in the file, published values assumed: {', '.join(self.defaults)}")
        return lines


@dataclass(frozen=True)
class Identified:
    """A checkpoint of a registered kind.

    Attributes:
        kind: Its kind.
        state: Its parameters with our names and order.
        own_names: Whether they have these names in the file already.
        config: Config of the model that they fit.
        img_size: Side of the images in pixels, or None if it is unknown.
        report: Report of the changes so far.
    """

    kind: Kind
    state: dict[str, Tensor]
    own_names: bool
    config: dict
    img_size: int | None
    report: Report


def identify(file: Path, fit: Path | None = None, img_size: int | None = None) -> Identified:
    """Read a checkpoint of any registered kind, in any layout of its backbone.

    Args:
        file: The checkpoint.
        fit: Config of a model; tables are resized to its backbone. None for no resizing.
        img_size: Side of the images in pixels; None to infer it from the file.

    Raises:
        UserError: If the file is unknown or damaged, or a tensor does not fit.
    """
    fit_config = None if fit is None else load_config(fit)  # its custom_imports may register kinds
    weights = read_weights(file)
    state = dict(weights.state)
    dropped = left_out(list(state))
    for name in dropped:
        del state[name]
    matches = recognise(list(state), str(_read_meta(file).get(KIND)))
    if isinstance(matches, str):
        raise UserError(f"checkpoint {file} is of no known kind; {matches}")
    _check_stored(state, file)
    match = matches[0]
    try:
        match = next((match for match in matches if _holds(match, state)), match)
        kind, ours = match.kind, _ours(state, match)
        report = Report(_found(match), len(ours), notes=weights.notes, dropped=dropped + match.pretraining)
        report.permuted = _unfolded(match)
        report.recomputed = list(match.buffers)
        buffers = {name.removeprefix(kind.prefix): state[theirs] for theirs, name in match.buffers.items()}
        encoder = under("backbone.", ours)
        img_size = img_size or kind.backbone.img_size(encoder, buffers) or _noted_size(file)
        _check_buffers(buffers, kind.backbone.make_buffers(encoder, img_size), match)
        if fit_config is not None:
            backbone = _backbone_of(fit_config)
            if type(backbone) is not kind.backbone.model:
                raise ValueError(f"it is for {kind.backbone.name}, not for {type(backbone).__name__}")
            img_size = backbone.grid[0] * backbone.out_strides[0]
            report.resized = _resize(ours, backbone)
        config = model_config(kind, ours, img_size)
        check(config, ours, kind.backbone.added)
    except BROKEN as error:
        where = f"does not fit {fit}" if fit else f"looks like {_found(match)}, but does not fit"
        raise UserError(f"checkpoint {file} {where}: {' '.join(str(error).split())}") from error
    report.fits, report.defaults = snippet(config), defaults(kind, config)
    return Identified(kind, ours, match.layout is OURS, config, img_size, report)


def convert(file: Path, out: Path, to: str | None, fit: Path | None, img_size: int | None) -> Report:
    """Convert a checkpoint to this package's names, to the official ones, or to those of another package.

    Args:
        file: See `identify`.
        out: File to write, .safetensors or .pth.
        to: 'official' for official names and buffers, 'timm' or 'mmpretrain' for the encoder (and the head of
            a classifier) with that package's names, None for ours.
        fit: See `identify`.
        img_size: See `identify`; official shift masks depend on it.

    Raises:
        UserError: See `identify`; or if `out` cannot be written.
    """
    if out.suffix not in (".safetensors", ".pth"):
        raise UserError(f"{out} must end in .safetensors or .pth")
    if out.exists():
        raise UserError(f"{out} exists; give another file, or remove it first")
    if not out.parent.is_dir():
        raise UserError(f"folder {out.parent} does not exist; create it first")
    if img_size is not None and img_size < 1:
        raise UserError(f"--img-size is {img_size}; give pixels per side")
    found = identify(file, fit, img_size)
    kind = found.kind
    if to == OFFICIAL.name:
        if not kind.published:
            raise UserError(
                f"{file} is for {kind.fits} on {kind.backbone.name}, which {kind.source} does not have"
            )
        _write(_for_official(found.state, kind, found.img_size, found.report), out, "model", {})
    elif to:
        _write(for_package(found, to), out, "state_dict", {})
    else:
        write_own(found, out)
    return found.report


def write_own(found: Identified, out: Path) -> None:
    """Write a checkpoint with our names, atomically.

    Raises:
        UserError: If `out` cannot be written.
    """
    meta = {"converted_from": found.report.found, "mixmae_bench": __version__, KIND: found.kind.name}
    size = {IMG_SIZE: str(found.img_size)} if found.img_size else {}
    _write(found.state, out, "state_dict", meta | size)


def _found(match: Match) -> str:
    within = f" under '{match.prefix}'" if match.layout.name == "official" and match.prefix else ""
    within = "" if match.prefix == match.kind.prefix else within
    return f"{match.kind.name} ({match.kind.source}), {match.layout.name} names{within}"


def _holds(match: Match, state: dict[str, Tensor]) -> bool:
    """Return whether the tensors are of a kind; a layout of one backbone only is sufficient."""
    own_layout = match.layout in match.kind.backbone.layouts
    return own_layout or match.kind.matches(under("backbone.", _ours(state, match)))


def _unfolded(match: Match) -> list[str]:
    """Return the names of patch merging tensors in mmcv's order."""
    return [name for name, theirs in match.names.items() if match.layout.unfolds and ".downsample." in theirs]


def _ours(state: dict[str, Tensor], match: Match) -> dict[str, Tensor]:
    """Return the parameters with our names and order."""
    unfolded = _unfolded(match)
    return {
        our_name(theirs, match.kind.rules): refold(state[name]) if name in unfolded else state[name]
        for name, theirs in match.names.items()
    }


def _for_official(
    ours: dict[str, Tensor], kind: Kind, img_size: int | None, report: Report
) -> dict[str, Tensor]:
    """Return the state dict for a strict load by the official code: with its buffers, without out norms."""
    if kind.backbone.sized and img_size is None:
        raise UserError("official shift masks depend on the image size; give it with --img-size N")
    try:
        buffers = kind.backbone.make_buffers(under("backbone.", ours), img_size)
    except ValueError as error:
        raise UserError(f"the official model does not support images of {img_size} px: {error}") from error
    official = {official_name(name, kind.rules): tensor for name, tensor in ours.items()}
    norms = [name for name in official if name.startswith(OUT_NORMS)]
    report.added = [kind.prefix + name for name in buffers]
    report.dropped += norms
    return {
        **{name: tensor for name, tensor in official.items() if name not in norms},
        **{kind.prefix + name: tensor for name, tensor in buffers.items()},
    }


def for_package(found: Identified, package: str) -> dict[str, Tensor]:
    """Return the state dict of an encoder, and of a classifier's head, for a strict load by another package.

    Raises:
        UserError: If the package has no model of this backbone.
    """
    backbone, report = found.kind.backbone, found.report
    target = next((target for target in backbone.targets if target.package == package), None)
    if target is None:
        official = [OFFICIAL.name] if found.kind.published else []
        known = ", ".join([*official, *(own.package for own in backbone.targets)])
        raise UserError(f"{package} has no model of {backbone.name}; give one of --to {known}")
    encoder = under("backbone.", found.state)
    last = sum(".downsample." in name and name.endswith("norm.weight") for name in encoder)
    state = {}
    for name, tensor in encoder.items():
        new = target.rename(name, last)
        if new is None and not name.startswith(OUT_NORMS):
            raise UserError(f"{package}'s model of {backbone.name} has no '{name}'; it cannot be converted")
        if new is None:
            report.dropped.append(name)
        else:
            state[target.prefix + new] = (
                unfold(tensor) if target.unfolds and ".downsample." in name else tensor
            )
    for name, tensor in found.state.items():
        if name.startswith("head.fc."):
            state[target.head + name.removeprefix("head.fc.")] = tensor
        elif not name.startswith("backbone."):
            report.dropped.append(name)
    if target.indices:
        buffers = backbone.make_buffers(encoder, None)
        indices = {target.rename(name, last): tensor for name, tensor in buffers.items()}
        report.added = [target.prefix + name for name in indices]
        state |= {target.prefix + name: tensor for name, tensor in indices.items()}
    return state


def _check_buffers(theirs: dict[str, Tensor], ours: dict[str, Tensor], match: Match) -> None:
    """Check that the buffers of a file follow from its sizes, as they are left out.

    Raises:
        ValueError: If a buffer differs: the file is then not of the kind that its names suggest.
    """
    for name, official in match.buffers.items():
        bare = official.removeprefix(match.kind.prefix)
        if bare in ours and not torch.equal(ours[bare].float(), theirs[bare].float()):
            raise ValueError(f"'{name}' does not follow from its sizes")


def _check_stored(state: dict[str, Tensor], file: Path) -> None:
    """Check that tensors are dense and completely stored in the file."""
    for name, tensor in state.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(f"checkpoint {file} does not store '{name}' as a dense tensor; save it as one")


def _backbone_of(cfg: Config) -> Encoder:
    backbone = (cfg.get("model") or {}).get("backbone")
    if not backbone:
        raise UserError(f"--fit: config {cfg.filename} has no model with a backbone")
    backbone.pop("init_cfg", None)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        backbone = MODELS.build(backbone)
    if not isinstance(backbone, Encoder):
        raise UserError(f"--fit: the backbone of {cfg.filename} is not an encoder of mixmae_bench; use one")
    return backbone


def _resize(ours: dict[str, Tensor], backbone: Encoder) -> list[str]:
    """Resize tables in place, as in the official codes; return their names.

    Raises:
        ValueError: If a tensor still does not fit the backbone.
    """
    state = under("backbone.", ours)
    resized = backbone.resize_tables(state)
    own = backbone.state_dict()
    for name, tensor in state.items():
        if name not in own:
            raise ValueError(f"its backbone has no '{name}'")
        if own[name].shape != tensor.shape:
            raise ValueError(f"'{name}' has shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}")
        ours[f"backbone.{name}"] = tensor
    # Norms differ between pretraining, classifiers and dense tasks.
    missing = [name for name in own if name not in state and not name.startswith(("norm.", OUT_NORMS))]
    if missing:
        raise ValueError(f"it lacks {shorten(missing)}")
    return resized


def _noted_size(file: Path) -> int | None:
    noted = str(_read_meta(file).get(IMG_SIZE, ""))
    return int(noted) if noted.isdigit() and len(noted) < 6 else None


def _read_meta(file: Path) -> dict[str, str]:
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as content:
            return content.metadata() or {}
    content = read_checkpoint(file)
    meta = content.get("meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def _write(state: dict[str, Tensor], out: Path, key: str, meta: dict[str, str]) -> None:
    """Write tensors to `out` atomically."""
    state = {name: t.detach().clone(memory_format=torch.contiguous_format) for name, t in state.items()}
    try:
        with atomic_path(out) as temporary:
            if out.suffix == ".safetensors":
                save_file(state, temporary, {"format": "pt", **meta})
            else:
                torch.save({key: state, **({"meta": meta} if meta else {})}, temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # raised on a full disk
        raise UserError(f"{out} cannot be written: {error}") from error
