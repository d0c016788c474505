"""The checks for each kind of case, and their tolerances.

Tolerances are those documented with the recordings, a few times the rounding errors of float32: 2e-5 for
maps and predictions, 1e-5 for logits, 1e-6 for losses and tables, 1e-4 of the largest entry for gradients.
Masks must be equal. On CUDA, in full float32, the order of summation differs, and tolerances are ten times
larger.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.windows import spread
from mixmae_bench.backbones.official.kinds import Kind
from mixmae_bench.backbones.official.names import our_name
from mixmae_bench.engine.blocks import compile_blocks
from mixmae_bench.errors import UserError
from mixmae_bench.methods.masks import (
    random_mask,
    regular_masks,
    secondary_mask,
    secondary_mask_vit,
    shuffled_mask,
)
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.methods.um_mae import REMOVED, REPLACED, UMMAE, UMMAEViT
from mixmae_bench.verify.case import Case, NotBuilt
from mixmae_bench.verify.models import Classifier, build, renamed

PASSED_OVER = re.compile(r"out/(compact|compact_pos_hw|cell_frequency\d*)").fullmatch
"""Recorded outputs that need no check: packed tokens, on which all later maps depend, and mask statistics."""

MAPS, LOGITS, LOSS, GRADIENTS, TABLES = 2e-5, 1e-5, 1e-6, 1e-4, 1e-6


@dataclass(frozen=True)
class Check:
    """Result of a comparison: the largest error in a tensor, and its tolerance."""

    tensor: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


def check_case(case: Case, device: str, compiled: bool = False) -> Iterator[Check]:
    """Run all checks of a case.

    Args:
        case: The case.
        device: Device that computes it.
        compiled: Whether transformer blocks are compiled (see `engine.blocks.compile_blocks`).

    Raises:
        NotBuilt: If this package does not support the case.
        UserError: If a tensor that is compared was not recorded.
    """
    if case.fault:
        raise NotBuilt(case.fault)
    if case.kind not in KINDS:
        raise NotBuilt(f"cases of kind '{case.kind}' are not supported")
    slack = 1.0 if device == "cpu" else 10.0
    for check in KINDS[case.kind](case, device, compiled):
        yield Check(check.tensor, check.error, check.tolerance * slack)


def not_compared(case: Case, compared: set[str]) -> list[str]:
    """Return the names of recorded outputs and gradients that should have been compared and were not."""
    recorded = (name for name in case.tensors if name.startswith(("out/", "grad/")))
    return [name for name in recorded if not PASSED_OVER(name) and name not in compared]


def compare(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Check:
    """Compare two tensors; if their shapes differ, the error is infinite."""
    if ours.shape != theirs.shape:
        return Check(f"{name} {tuple(ours.shape)} is not {tuple(theirs.shape)}", float("inf"), tolerance)
    errors = (ours.detach().cpu().double() - theirs.double()).abs()
    return Check(name, errors.max().item() if errors.numel() else 0.0, tolerance)


def _place(model: nn.Module, device: str, compiled: bool) -> None:
    model.to(device)
    if compiled:
        compile_blocks(model)


def _pretrain(case: Case, device: str, compiled: bool) -> Iterator[Check]:
    model, kind = build(case)
    if not isinstance(model, Method):
        raise UserError(f"{case.lookup('official', 'file')} is not the file of a pretraining method")
    yield from _load(model, case, kind)
    _place(model, device, compiled)
    images, mask = _images(case, model.backbone).to(device), None
    seen = _record_stages(model.backbone)
    if isinstance(model, MixMAE):
        mask = case.tensors["mask/s4"].flatten().long()
        side = round(len(mask) ** 0.5)
        mask = mask.view(side, side)
        yield compare("mask count", model.draw_mask(images).sum(), mask.sum(), 0)
        for stage in (1, 2, 3):
            theirs = case.tensors[f"mask/s{stage}"].flatten()
            side = round(len(theirs) ** 0.5)
            yield compare(f"mask/s{stage}", spread(mask, (side, side)).flatten(), theirs, 0)
        prediction = {"x_rec": model.predict(images, mask.to(device))}
    elif isinstance(model, UMMAE):
        mask, prediction = yield from _um_prediction(model, case, images)
    else:  # one mask per image, True for masked patches
        mask = case.tensors["mask/mask"].bool()
        side = round(mask[0].numel() ** 0.5)
        mask = mask.view(-1, side, side)
        yield compare("mask count", model.draw_mask(images).flatten(1).sum(1), mask.flatten(1).sum(1), 0)
        name = "x_rec" if "out/x_rec" in case.tensors else "pred"
        prediction = {name: model.predict(images, mask.to(device))}
    if isinstance(model, UMMAEViT) and "out/encoder" in case.tensors:
        seen["encoder"] = _row_major(seen["encoder"], case.tensors["mask/mask"])
    for name, ours in prediction.items():
        yield compare(f"out/{name}", ours, case.tensors[f"out/{name}"], MAPS)
    outputs = {name: t for name, t in seen.items() if f"out/{name}" in case.tensors}
    for name, ours in outputs.items():
        yield compare(f"out/{name}", ours, case.tensors[f"out/{name}"], MAPS)
    if "out/z" in case.tensors:
        z = seen["encoder"].transpose(1, 2).reshape(case.tensors["out/z"].shape)
        yield compare("out/z", z, case.tensors["out/z"], MAPS)
    loss = model.loss(images, mask.to(device))
    yield compare("out/loss", loss, case.tensors["out/loss"], LOSS)
    loss.backward()
    yield from _gradients(model, case, kind)
    if "alt/loss_corrected_positions" in case.tensors:
        model.official_positions = False
        corrected = model.loss(images, mask.to(device))
        yield compare("alt/loss", corrected, case.tensors["alt/loss_corrected_positions"], LOSS)


def _um_prediction(model: nn.Module, case: Case, images: Tensor) -> Iterator[Check]:
    """Check the secondary mask, and reorder the prediction as recorded: visible, then removed patches."""
    removed = case.tensors["mask/mask"].bool()
    if model.class_token and not model.secondary_mask_ratio:  # no random numbers
        replaced = torch.zeros_like(removed)
    elif model.class_token:
        drawn = secondary_mask_vit(case.tensors["mask/noise"], model.secondary_mask_ratio)
        yield compare("mask/vis_mask", drawn.int(), case.tensors["mask/vis_mask"].int(), 0)
        replaced = torch.zeros_like(removed)
        replaced[~removed] = drawn.flatten()
    else:
        replaced = secondary_mask(removed, case.tensors["mask/noise"], model.secondary_mask_ratio)
        yield compare("mask/secondary", replaced.int(), case.tensors["mask/secondary"].int(), 0)
    side = round(removed.shape[1] ** 0.5)
    mask = torch.where(removed, REMOVED, replaced * REPLACED).view(-1, side, side)
    patches = model.predict(images, mask.to(images.device))
    visible = torch.arange(side**2) if model.class_token else _packed_order(side)  # the ViT does not pack
    packed = torch.stack([visible[~gone[visible]] for gone in removed])
    hidden = torch.stack([gone.nonzero().flatten() for gone in removed])
    order = torch.cat([packed, hidden], dim=1).to(patches.device)
    return mask, {"pred": patches.gather(1, order[..., None].expand_as(patches))}


def _row_major(sequence: Tensor, removed: Tensor) -> Tensor:
    """Reorder a sequence (B, 1 + visible, C), class token first, from packed to row-major order."""
    blocks = _packed_order(round(removed.shape[1] ** 0.5))
    order = torch.stack([blocks[~gone[blocks]] for gone in removed]).argsort(1).to(sequence.device)
    rest = sequence[:, 1:]
    return torch.cat([sequence[:, :1], rest.gather(1, order[..., None].expand_as(rest))], dim=1)


def _packed_order(side: int) -> Tensor:
    """Return the patches of a grid (side, side), 2x2 block by block."""
    return torch.arange(side**2).view(side // 2, 2, side // 2, 2).transpose(1, 2).flatten()


def _finetune(case: Case, device: str, compiled: bool) -> Iterator[Check]:
    model, kind = build(case)
    if not isinstance(model, Classifier):
        raise UserError(f"{case.lookup('official', 'file')} is not the file of a classifier")
    yield from _load(model, case, kind)
    _place(model, device, compiled)
    seen = _record_stages(model.backbone)
    outputs = {**model(_images(case, model.backbone).to(device)), **seen}
    for name, theirs in case.group("out").items():
        if name in outputs:
            yield compare(f"out/{name}", outputs[name], theirs, LOGITS if name == "logits" else MAPS)
    loss = F.cross_entropy(outputs["logits"], case.tensors["in/labels"].long().to(device))
    yield compare("out/ce_loss", loss, case.tensors["out/ce_loss"], LOSS)
    loss.backward()
    yield from _gradients(model, case, kind)


def _interpolation(case: Case, device: str, compiled: bool) -> Iterator[Check]:
    """Replace tables in the recorded weights by those of pretraining, and check the encoder's resizing."""
    model, kind = build(case)
    state = renamed(case, kind)
    prefix = "encoder." if case.lookup("method") == "SimMIM" else ""
    before = {f"backbone.{k.removeprefix(prefix)}": v for k, v in case.group("ckpt_before").items()}
    after = {f"backbone.{k.removeprefix(prefix)}": v for k, v in case.group("ckpt_after").items()}
    tables = {k.removeprefix("backbone."): v for k, v in {**state, **before}.items()}
    model.backbone.resize_tables(tables)
    for name, theirs in after.items():
        if not kind.is_buffer(kind.prefix + name.removeprefix("backbone.")):
            yield compare(name, tables[name.removeprefix("backbone.")], theirs, TABLES)
    model.load_state_dict({k: tables.get(k.removeprefix("backbone."), v) for k, v in state.items()})
    _place(model, device, compiled)
    seen = _record_stages(model.backbone)
    with torch.no_grad():
        outputs = {**model(_images(case, model.backbone).to(device)), **seen}
    for name, theirs in case.group("out").items():
        if name in outputs:
            yield compare(f"out/{name}", outputs[name], theirs, LOGITS if name == "logits" else MAPS)


def _mask_generator(case: Case, device: str, compiled: bool) -> Iterator[Check]:
    """Check the first masks of every recorded setting, drawn from numpy's legacy generator."""
    for i, info in enumerate(case.lookup("statistics")):
        theirs = case.tensors[f"out/first{i}"].int()
        np.random.seed(info["seed"])
        if case.lookup("method") == "SimMIM":
            about = info["setting"]
            side = about["input_size"] // about["mask_patch_size"]
            scale = about["mask_patch_size"] // about["model_patch_size"]
            _check_patches((side * scale) ** 2, theirs, i)
            masks = [random_mask(side, side, about["mask_ratio"]) for _ in theirs]
            masks = [np.kron(mask, np.ones((scale, scale), int)) for mask in masks]
        else:
            side = info["input_size"]
            _check_patches(side**2, theirs, i)
            masks = [
                regular_masks(1, side, side)[0]
                if info["regular"]
                else shuffled_mask(side, side, info["mask_ratio"])
                for _ in theirs
            ]
            masks = [mask.ravel() for mask in masks]
        yield compare(f"out/first{i}", torch.from_numpy(np.stack(masks)).int(), theirs, 0)


def _check_patches(count: int, theirs: Tensor, number: int) -> None:
    """Check that masks of a setting have the size of the recorded ones, before drawing them."""
    if not theirs.ndim or count * len(theirs) != theirs.numel():
        raise UserError(f"statistics {number} describes masks of {count} patches, unlike the recorded ones")


def _images(case: Case, backbone: Encoder) -> Tensor:
    """Return the images; they must have the size that the encoder is made for, as in the official code."""
    images = case.tensors["in/x"]
    wanted = (backbone.in_chans, *(side * backbone.out_strides[0] for side in backbone.grid))
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise UserError(f"'in/x' has shape {tuple(images.shape)}, not (B, {', '.join(map(str, wanted))})")
    return images


KINDS: dict[str, Callable[[Case, str], Iterator[Check]]] = {
    "pretrain": _pretrain,
    "finetune": _finetune,
    "checkpoint-interpolation": _interpolation,
    "mask-generator": _mask_generator,
}


def _load(model: nn.Module, case: Case, kind: Kind) -> Iterator[Check]:
    """Load the recorded weights; compare, and do not load, tables that this package computes itself."""
    yield from _recomputed(model, case, kind)
    own = model.state_dict()
    state = renamed(case, kind)
    for name in case.info.get("frozen_tables_kept", []):
        name = our_name(name, kind.rules)
        yield compare(name, own[name], state[name], TABLES)
        state[name] = own[name]
    model.load_state_dict(state)


def _recomputed(model: nn.Module, case: Case, kind: Kind) -> Iterator[Check]:
    """Compare the indices and shift masks that this package computes with the official buffers."""
    backbone = model.backbone
    ours = kind.backbone.make_buffers(backbone.state_dict(), backbone.grid[0] * backbone.out_strides[0])
    for name, theirs in case.group("sd").items():
        if kind.is_buffer(name):
            yield compare(name, ours[name.removeprefix(kind.prefix)], theirs, 0)


def _record_stages(backbone: Encoder) -> dict[str, Tensor]:
    """Return a dict to which later forward passes add stage{i} (without norms) and encoder, as (B, L, C)."""
    seen: dict[str, Tensor] = {}
    stage_maps = backbone.stage_maps

    def recorded(*args: object) -> Iterator[Tensor]:
        for i, stage in enumerate(stage_maps(*args)):
            seen[f"stage{i}"] = stage.flatten(1, 2)
            yield stage

    backbone.stage_maps = recorded
    backbone.norm.register_forward_hook(lambda *call: seen.__setitem__("encoder", call[-1].flatten(1, -2)))
    return seen


def _gradients(model: nn.Module, case: Case, kind: Kind) -> Iterator[Check]:
    """Compare the recorded gradients and gradient norms."""
    own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name, theirs in case.group("grad").items():
        if our_name(name, kind.rules) in own:
            largest = theirs.abs().max().item() if theirs.numel() else 0.0
            yield compare(f"grad/{name}", own[our_name(name, kind.rules)], theirs, GRADIENTS * largest)
    norms = {our_name(name, kind.rules): norm for name, norm in case.lookup("grad_norms").items()}
    strange = next((name for name in norms if name not in own), None)
    if strange is not None:
        raise UserError(f"'grad_norms' contains {strange} (our name), which has no gradient")
    theirs = torch.tensor(list(norms.values()), dtype=torch.float64)
    ours = torch.stack([own[name].norm() for name in norms])
    yield compare("all gradient norms", ours, theirs, GRADIENTS * theirs.max().item())
