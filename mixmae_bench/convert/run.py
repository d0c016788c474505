"""The command `mixmae-bench convert`."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mixmae_bench import __version__
from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.config import load_config
from mixmae_bench.convert.layouts import Match, recognise, shorten
from mixmae_bench.convert.official import our_name
from mixmae_bench.convert.tables import bias_index, refold, shift_mask, window_of
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.load import read_state_dict

IMG_SIZE = "img_size"
"""Entry of a converted checkpoint's meta: pixels per side, which shift masks tell and no parameter does."""


@dataclass
class Report:
    """What a conversion did."""

    found: str
    mapped: int
    permuted: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    fits: str = ""

    def lines(self) -> list[str]:
        """Return the report, a line per thing that happened."""
        lines = [f"found: {self.found}", f"mapped: {self.mapped} tensors"]
        for what in ("permuted", "resized", "dropped", "added"):
            if names := getattr(self, what):
                lines.append(f"{what}: {shorten(names)}")
        return lines + [f"fits: {self.fits}"]


def convert(file: Path, out: Path, to_official: bool, fit: Path | None, img_size: int | None) -> Report:
    """Write a checkpoint under this package's names, or under the official ones.

    Args:
        file: Checkpoint of a kind in `KINDS`, in a layout of `LAYOUTS`.
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
    state = read_state_dict(file)
    match = recognise(list(state))
    if isinstance(match, str):
        raise UserError(f"checkpoint {file} is of no known kind; {match}")
    meta = _read_meta(file)
    report = Report(f"{match.kind.name} ({match.kind.source}), {match.layout.name} names", len(match.names))
    report.dropped = [name for name in state if name not in match.names]

    official = {}
    for name, theirs in match.names.items():
        tensor = state[name]
        if match.layout.unfolds and ".downsample." in theirs:
            tensor = refold(tensor)
            report.permuted.append(name)
        official[theirs] = tensor
    if fit is not None:
        report.resized = _resize(official, match, fit, file)
    img_size = img_size or _img_size(state, official) or int(meta.get(IMG_SIZE, 0)) or None
    report.fits = describe(official, match, img_size)

    if to_official:
        buffers = _official_buffers(official, match, img_size)
        report.added = list(buffers)
        _write({**official, **buffers}, out, "model", {})
    else:
        ours = {our_name(name, match.kind.rules): tensor for name, tensor in official.items()}
        about = {"converted_from": report.found, "mixmae_bench": __version__}
        _write(ours, out, "state_dict", about | ({IMG_SIZE: str(img_size)} if img_size else {}))
    return report


def describe(official: dict[str, Tensor], match: Match, img_size: int | None) -> str:
    """Say which model of this package a checkpoint fits, from the shapes of its tensors."""
    embed = next(t for name, t in official.items() if name.endswith("patch_embed.proj.weight"))
    parts = [f"embed_dim {len(embed)}"]
    windows = _per_stage(official, lambda table: (window_of(table), table.shape[1]))
    if windows:
        sizes, heads = zip(*windows.values(), strict=True)
        parts += [f"windows {' '.join(map(str, sizes))}", f"heads {' '.join(map(str, heads))}"]
    blocks = {
        name.split("blocks.")[0] + name.split("blocks.")[1].split(".")[0]
        for name in official
        if "blocks." in name
    }
    parts.append(f"{sum(not b.startswith('decoder') for b in blocks)} blocks")
    if img_size:
        parts.append(f"{img_size} px")
    return f"{match.kind.fits} on {match.kind.backbone} ({', '.join(parts)})"


def _per_stage(official: dict[str, Tensor], read: Callable[[Tensor], object]) -> dict[str, object]:
    """Read the first bias table of every stage."""
    stages: dict[str, object] = {}
    for name, tensor in official.items():
        if name.endswith("relative_position_bias_table"):
            stages.setdefault(name.split(".blocks.")[0], read(tensor))
    return stages


def _img_size(state: dict[str, Tensor], official: dict[str, Tensor]) -> int | None:
    """Return the pixels per side that a checkpoint is made for, from its tables or shift masks."""
    patch = next(t for name, t in official.items() if name.endswith("patch_embed.proj.weight")).shape[-1]
    for name, tensor in official.items():
        if name.endswith(("absolute_pos_embed", "encoder.pos_embed")) or name == "pos_embed":
            return round((tensor.shape[1] - ("cls_token" in official)) ** 0.5) * patch
    for name, mask in state.items():
        if name.endswith("attn_mask"):
            stage = int(name.split("layers.")[1].split(".")[0])
            windows, tokens, _ = mask.shape
            return round((windows * tokens) ** 0.5) * patch * 2**stage
    return None


def _official_buffers(official: dict[str, Tensor], match: Match, img_size: int | None) -> dict[str, Tensor]:
    """Return what a strict load by the official code wants beside the parameters."""
    buffers = {}
    patch = next(t for name, t in official.items() if name.endswith("patch_embed.proj.weight")).shape[-1]
    for name, table in official.items():
        if not name.endswith("relative_position_bias_table"):
            continue
        block = name.removesuffix(".attn.relative_position_bias_table")
        buffers[f"{block}.attn.relative_position_index"] = bias_index(table)
        if match.kind.backbone != "Swin" or int(block.split(".")[-1]) % 2 == 0:
            continue
        if img_size is None:
            raise UserError("official shift masks depend on the size of the images; say it with --img-size N")
        side = img_size // patch // 2 ** int(block.split("layers.")[1].split(".")[0])
        if side > window_of(table):
            buffers[f"{block}.attn_mask"] = shift_mask((side, side), window_of(table))
    return buffers


def _resize(official: dict[str, Tensor], match: Match, config: Path, file: Path) -> list[str]:
    """Resize tables, in place, to the backbone of a config, as the official codes do; return their names."""
    cfg = load_config(config)
    if "backbone" not in (cfg.get("model") or {}):
        raise UserError(f"--fit: config {config} has no model with a backbone")
    cfg.model.backbone.pop("init_cfg", None)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmengine")):
        backbone = MODELS.build(cfg.model.backbone)
    if not isinstance(backbone, Encoder):
        raise UserError(f"--fit: the backbone of {config} is none of this package")
    tables = {our_name(name, match.kind.rules): name for name in official}
    tables = {
        ours.removeprefix("backbone."): name for ours, name in tables.items() if ours.startswith("backbone.")
    }
    state = {ours: official[name] for ours, name in tables.items()}
    try:
        resized = backbone.resize_tables(state)
    except ValueError as error:
        raise UserError(f"checkpoint {file} does not fit {config}: {error}") from error
    own = backbone.state_dict()
    for ours, tensor in state.items():
        if ours not in own or own[ours].shape != tensor.shape:
            there = tuple(own[ours].shape) if ours in own else "missing"
            raise UserError(
                f"checkpoint {file} does not fit {config}: '{ours}' is {tuple(tensor.shape)}, there {there}"
            )
        official[tables[ours]] = tensor
    return resized


def _read_meta(file: Path) -> dict[str, str]:
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as content:
            return content.metadata() or {}
    content = read_checkpoint(file)
    meta = content.get("meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def _write(state: dict[str, Tensor], out: Path, key: str, meta: dict[str, str]) -> None:
    """Write tensors so that `out` is whole or not there."""
    state = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        if out.suffix == ".safetensors":
            save_file(state, temporary, {"format": "pt", **meta})
        else:
            torch.save({key: state, **({"meta": meta} if meta else {})}, temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.replace(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
