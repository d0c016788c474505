"""The command `mixmae-bench convert`."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mixmae_bench import __version__
from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.loading import read_weights
from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.convert.fits import BROKEN, check, model_config, snippet, untold
from mixmae_bench.convert.layouts import Match, left_out, recognise, shorten
from mixmae_bench.convert.official import KINDS, OUT_NORMS, Kind, our_name
from mixmae_bench.convert.tables import has_windows_of_swin, image_side, is_sincos, official_buffers, refold
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.system.files import atomic_path

KIND, IMG_SIZE = "kind", "img_size"
"""Entries of a converted checkpoint's meta: kind, and pixels per side, as parameters may not tell them."""

SWIN = next(kind for kind in KINDS if kind.name == "Swin fine-tuning")


@dataclass
class Report:
    """What a conversion did.

    Attributes:
        found: What the file is.
        notes: Which of several sets of weights was taken, and what was stripped from names (see `unwrap`).
        mapped: Number of tensors that were renamed.
        permuted: Those whose inputs were reordered.
        resized: Position and bias tables of another size.
        dropped: Parts of dense tasks, which are of no backbone, or official code lacks.
        recomputed: Official buffers that follow from sizes, left out.
        added: The same, written for the official code.
        fits: Config of the model that the result is for.
        untold: Settings in it that the file does not tell.
    """

    found: str
    mapped: int
    permuted: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    fits: str = ""
    untold: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report, a line per thing that happened."""
        lines = [f"found: {self.found}", *(f"weights: {note}" for note in self.notes)]
        lines.append(f"mapped: {self.mapped} tensors")
        for what, names in (
            ("permuted", self.permuted),
            ("resized", self.resized),
            ("dropped", self.dropped),
            ("left out, as they follow from sizes", self.recomputed),
            ("added, as the official code wants them", self.added),
        ):
            if names:
                lines.append(f"{what}: {shorten(names)}")
        lines.append(f"fits: {self.fits}")
        if self.untold:
            lines.append(f"not told by the file, so as published: {', '.join(self.untold)}")
        return lines


def convert(file: Path, out: Path, to_official: bool, fit: Path | None, img_size: int | None) -> Report:
    """Write a checkpoint under this package's names, or under the official ones.

    Args:
        file: Checkpoint of one of `KINDS`, in one of `LAYOUTS`.
        out: File to write, .safetensors or .pth.
        to_official: Whether to write the official names and buffers.
        fit: Config of a model to whose backbone tables are resized, or None to leave them.
        img_size: Pixels per side, for official shift masks; None where the file tells.

    Raises:
        UserError: Where the file is unknown or damaged, something does not fit, or `out` cannot be written.
    """
    if out.suffix not in (".safetensors", ".pth"):
        raise UserError(f"{out} must end in .safetensors or .pth")
    if out.exists():
        raise UserError(f"{out} exists; name another file, or remove it first")
    if not out.parent.is_dir():
        raise UserError(f"folder {out.parent} does not exist; make it first")
    if img_size is not None and img_size < 1:
        raise UserError(f"--img-size is {img_size}; give pixels per side")
    weights = read_weights(file)
    state = dict(weights.state)
    dropped = left_out(list(state))
    for name in dropped:
        del state[name]
    known = str(_read_meta(file).get(KIND))
    match = recognise(list(state), known)
    if isinstance(match, str):
        raise UserError(f"checkpoint {file} is of no known kind; {match}")
    report = Report(_found(match), len(match.names), notes=weights.notes)
    report.dropped = dropped
    report.recomputed = list(match.buffers)
    _check_stored(state, file)
    try:
        official = _official(state, match, report)
        if _is_swin(match, official, known):
            match = replace(match, kind=SWIN)
            report.found = _found(match)
        # SimMIM on MixMAE's encoder has the keys of SimMIM on a Swin that learns its positions.
        sincos = match.kind.backbone == "Swin" and is_sincos(official)
        kind = replace(match.kind, backbone="MixMAESwin") if sincos else match.kind
        img_size = img_size or image_side(official, state) or _noted_size(file)
        _check_buffers(official, state, match, img_size)
        if fit is not None:
            backbone = _backbone_of(fit)
            if type(backbone).__name__ != kind.backbone:
                raise ValueError(f"it is of a {kind.backbone}, not of a {type(backbone).__name__}")
            img_size = backbone.grid[0] * backbone.out_strides[0]
            report.resized = _resize(official, match, backbone)
        ours = {our_name(name, match.kind.rules): tensor for name, tensor in official.items()}
        config = model_config(kind, ours, img_size)
        check(config, ours)
    except BROKEN as error:
        where = f"does not fit {fit}" if fit else f"looks like {report.found}, but does not fit"
        raise UserError(f"checkpoint {file} {where}: {' '.join(str(error).split())}") from error
    report.fits, report.untold = snippet(config), untold(config)

    if to_official:
        if kind != match.kind:
            raise UserError(f"{file} holds {kind.fits} on {kind.backbone}, which {kind.source} does not have")
        official = _for_official(official, kind, img_size, report)
        _write(official, out, "model", {})
    else:
        meta = {"converted_from": report.found, "mixmae_bench": __version__, KIND: kind.name}
        _write(ours, out, "state_dict", {**meta, IMG_SIZE: str(img_size)} if img_size else meta)
    return report


def _found(match: Match) -> str:
    within = f" under '{match.prefix}'" if match.layout.name == "official" and match.prefix else ""
    within = "" if match.prefix == match.kind.prefix else within
    return f"{match.kind.name} ({match.kind.source}), {match.layout.name} names{within}"


def _is_swin(match: Match, official: dict[str, Tensor], known: str) -> bool:
    """Tell a Swin that learns its positions from MixMAE's encoder, where no shift mask does.

    MixMAE's positions are fixed sines. A detector's checkpoint has no shift masks.
    """
    if match.kind.name != "MixMAE fine-tuning" or match.kind.name == known or match.layout.kinds:
        return False
    return not is_sincos(official) and has_windows_of_swin(official)


def _for_official(
    official: dict[str, Tensor], kind: Kind, img_size: int | None, report: Report
) -> dict[str, Tensor]:
    """Add what a strict load by the official code wants, and drop what it does not know."""
    shifted = kind.backbone == "Swin"
    if shifted and img_size is None:
        raise UserError("official shift masks depend on the size of the images; say it with --img-size N")
    try:
        buffers = official_buffers(official, shifted, img_size)
    except ValueError as error:
        raise UserError(f"the official code takes no images of {img_size} px here: {error}") from error
    norms = [name for name in official if name.startswith(OUT_NORMS)]
    report.added = list(buffers)
    report.dropped += norms
    return {**{name: tensor for name, tensor in official.items() if name not in norms}, **buffers}


def _official(state: dict[str, Tensor], match: Match, report: Report) -> dict[str, Tensor]:
    """Bring parameters to their official names and order."""
    official = {}
    for name, theirs in match.names.items():
        tensor = state[name]
        if match.layout.unfolds and ".downsample." in theirs:
            tensor = refold(tensor)
            report.permuted.append(name)
        official[theirs] = tensor
    return official


def _check_buffers(
    official: dict[str, Tensor], state: dict[str, Tensor], match: Match, img_size: int | None
) -> None:
    """Compare the buffers of a file with what its sizes say, as they are not kept.

    Raises:
        ValueError: Where one differs, so that the file is not what its names say.
    """
    expected = official_buffers(official, match.kind.backbone == "Swin" and img_size is not None, img_size)
    for name, tensor in state.items():
        ours = expected.get(match.buffers.get(name, ""))
        if ours is not None and not torch.equal(ours.float(), tensor.float()):
            raise ValueError(f"'{name}' is not what its sizes say")


def _check_stored(state: dict[str, Tensor], file: Path) -> None:
    """Refuse tensors that are not dense, or larger than what the file stores of them."""
    for name, tensor in state.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(f"checkpoint {file} does not store '{name}' as a plain tensor; save it as one")


def _backbone_of(config: Path) -> Encoder:
    cfg = load_config(config)
    backbone = (cfg.get("model") or {}).get("backbone")
    if not backbone:
        raise UserError(f"--fit: config {config} has no model with a backbone")
    backbone.pop("init_cfg", None)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        backbone = MODELS.build(backbone)
    if not isinstance(backbone, Encoder):
        raise UserError(f"--fit: the backbone of {config} is none of this package")
    return backbone


def _resize(official: dict[str, Tensor], match: Match, backbone: Encoder) -> list[str]:
    """Resize tables, in place, as the official codes do; return our names of those resized.

    Raises:
        ValueError: Where a tensor does not fit the backbone then.
    """
    names = {our_name(name, match.kind.rules): name for name in official}
    names = {ours.removeprefix("backbone."): n for ours, n in names.items() if ours.startswith("backbone.")}
    state = {ours: official[name] for ours, name in names.items()}
    resized = backbone.resize_tables(state)
    own = backbone.state_dict()
    for ours, tensor in state.items():
        if ours not in own:
            raise ValueError(f"its backbone has no '{ours}'")
        if own[ours].shape != tensor.shape:
            raise ValueError(f"'{ours}' has shape {tuple(tensor.shape)}, there {tuple(own[ours].shape)}")
        official[names[ours]] = tensor
    # Norms differ between pretraining, classifiers and dense tasks.
    missing = [name for name in own if name not in state and not name.startswith(("norm.", OUT_NORMS))]
    if missing:
        raise ValueError(f"it has no {shorten(missing)}")
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
    """Write tensors so that `out` is whole or not there."""
    state = {name: t.detach().clone(memory_format=torch.contiguous_format) for name, t in state.items()}
    try:
        with atomic_path(out) as temporary:
            if out.suffix == ".safetensors":
                save_file(state, temporary, {"format": "pt", **meta})
            else:
                torch.save({key: state, **({"meta": meta} if meta else {})}, temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # on a full disk, of torch.save and save_file
        raise UserError(f"{out} cannot be written: {error}") from error
