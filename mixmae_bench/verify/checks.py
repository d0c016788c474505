"""What is compared in each kind of case, and how near it must be.

Tolerances are those of the recordings' own description, a few times the float32 rounding noise: 2e-5 on
maps and predictions, 1e-5 on logits, 1e-6 on losses, 1e-4 of the largest entry on gradients, 1e-6 on
tables; masks are equal. On CUDA, in full float32, sums run in another order: ten times that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.swin import spread
from mixmae_bench.convert.official import RECOMPUTED, our_name
from mixmae_bench.convert.tables import bias_index, shift_mask
from mixmae_bench.errors import UserError
from mixmae_bench.methods.masks import (
    random_cells,
    regular_cells,
    secondary_mask,
    secondary_mask_vit,
    shuffled_cells,
)
from mixmae_bench.methods.um_mae import REMOVED, REPLACED
from mixmae_bench.verify.case import Case
from mixmae_bench.verify.models import build

MAPS, LOGITS, LOSS, GRADIENTS, TABLES = 2e-5, 1e-5, 1e-6, 1e-4, 1e-6


@dataclass(frozen=True)
class Check:
    """One comparison: the largest error of a tensor, and the largest one allowed."""

    tensor: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


def check_case(case: Case, device: str) -> Iterator[Check]:
    """Compare everything that a case recorded.

    Raises:
        UserError: Where this package has no counterpart for the case.
    """
    if case.kind not in KINDS:
        raise UserError(f"case {case.name}: no check here for cases of kind '{case.kind}'")
    slack = 1.0 if device == "cpu" else 10.0
    for check in KINDS[case.kind](case, device):
        yield Check(check.tensor, check.error, check.tolerance * slack)


def compare(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Check:
    """Compare two tensors of one shape; another shape is an infinite error."""
    if ours.shape != theirs.shape:
        return Check(f"{name} {tuple(ours.shape)} is not {tuple(theirs.shape)}", float("inf"), tolerance)
    return Check(name, (ours.detach().cpu().double() - theirs.double()).abs().max().item(), tolerance)


def _pretrain(case: Case, device: str) -> Iterator[Check]:
    model, rules = build(case)
    yield from _load(model, case, rules)
    model.to(device)
    images, mask = case.tensors["in/x"].to(device), None
    seen = _record_stages(model.backbone)
    if case.info["method"] == "MixMAE":
        mask = case.tensors["mask/s4"].flatten().long()
        side = round(len(mask) ** 0.5)
        mask = mask.view(side, side)
        yield compare("mask count", model.draw_mask(images).sum(), mask.sum(), 0)
        for stage in (1, 2, 3):
            theirs = case.tensors[f"mask/s{stage}"].flatten()
            side = round(len(theirs) ** 0.5)
            yield compare(f"mask/s{stage}", spread(mask, (side, side)).flatten(), theirs, 0)
        prediction = {"x_rec": model.predict(images, mask.to(device))}
    elif case.info["method"] == "SimMIM":
        mask = case.tensors["mask/mask"].bool()
        yield compare("mask count", model.draw_mask(images).flatten(1).sum(1), mask.flatten(1).sum(1), 0)
        prediction = {"x_rec": model.predict(images, mask.to(device))}
    elif case.family.startswith("models_simmim"):
        mask = case.tensors["mask/mask"]
        side = round(mask.shape[1] ** 0.5)
        mask = mask.view(-1, side, side)
        yield compare("mask count", model.draw_mask(images).flatten(1).sum(1), mask.flatten(1).sum(1), 0)
        prediction = {"pred": model.predict(images, mask.to(device))}
    else:
        mask, prediction = yield from _um_prediction(model, case, images)
    if "out/encoder" in case.tensors and case.family == "models_mae":
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
    yield from _gradients(model, case, rules)
    if "alt/loss_corrected_positions" in case.tensors:
        model.official_positions = False
        corrected = model.loss(images, mask.to(device))
        yield compare("alt/loss", corrected, case.tensors["alt/loss_corrected_positions"], LOSS)


def _um_prediction(model: nn.Module, case: Case, images: Tensor) -> Iterator[Check]:
    """Check the secondary mask and put the prediction into the recorded order: visible, then removed."""
    removed = case.tensors["mask/mask"]
    if model.class_token:
        drawn = secondary_mask_vit(case.tensors["mask/noise"], model.secondary_ratio)
        yield compare("mask/vis_mask", drawn.int(), case.tensors["mask/vis_mask"].int(), 0)
        replaced = torch.zeros_like(removed)
        replaced[~removed] = drawn.flatten()
    else:
        replaced = secondary_mask(removed, case.tensors["mask/noise"], model.secondary_ratio)
        yield compare("mask/secondary", replaced.int(), case.tensors["mask/secondary"].int(), 0)
    side = round(removed.shape[1] ** 0.5)
    mask = torch.where(removed, REMOVED, replaced * REPLACED).view(-1, side, side)
    cells = model.predict(images, mask.to(images.device))
    visible = torch.arange(side**2) if model.class_token else _packed_order(side)  # the ViT does not pack
    packed = torch.stack([visible[~gone[visible]] for gone in removed])
    hidden = torch.stack([gone.nonzero().flatten() for gone in removed])
    order = torch.cat([packed, hidden], dim=1).to(cells.device)
    return mask, {"pred": cells.gather(1, order[..., None].expand_as(cells))}


def _row_major(sequence: Tensor, removed: Tensor) -> Tensor:
    """Put a sequence (B, 1 + visible, C) that begins with a class token from packed into row-major order."""
    blocks = _packed_order(round(removed.shape[1] ** 0.5))
    order = torch.stack([blocks[~gone[blocks]] for gone in removed]).argsort(1).to(sequence.device)
    rest = sequence[:, 1:]
    return torch.cat([sequence[:, :1], rest.gather(1, order[..., None].expand_as(rest))], dim=1)


def _packed_order(side: int) -> Tensor:
    """Return the cells of a grid (side, side), 2x2 block by block."""
    return torch.arange(side**2).view(side // 2, 2, side // 2, 2).transpose(1, 2).flatten()


def _finetune(case: Case, device: str) -> Iterator[Check]:
    model, rules = build(case)
    yield from _load(model, case, rules)
    model.to(device)
    seen = _record_stages(model.backbone)
    outputs = {**model(case.tensors["in/x"].to(device)), **seen}
    for name, theirs in case.group("out").items():
        if name != "ce_loss":
            yield compare(f"out/{name}", outputs[name], theirs, LOGITS if name == "logits" else MAPS)
    loss = F.cross_entropy(outputs["logits"], case.tensors["in/labels"].to(device))
    yield compare("out/ce_loss", loss, case.tensors["out/ce_loss"], LOSS)
    loss.backward()
    yield from _gradients(model, case, rules)


def _interpolation(case: Case, device: str) -> Iterator[Check]:
    """Put the pretraining tables into the recorded weights and let the encoder resize them."""
    model, rules = build(case)
    state = {our_name(k, rules): v for k, v in case.group("sd").items() if not k.endswith(RECOMPUTED)}
    prefix = "encoder." if case.info["method"] == "SimMIM" else ""
    before = {f"backbone.{k.removeprefix(prefix)}": v for k, v in case.group("ckpt_before").items()}
    after = {f"backbone.{k.removeprefix(prefix)}": v for k, v in case.group("ckpt_after").items()}
    tables = {k.removeprefix("backbone."): v for k, v in {**state, **before}.items()}
    model.backbone.resize_tables(tables)
    for name, theirs in after.items():
        if not name.endswith(RECOMPUTED):
            yield compare(name, tables[name.removeprefix("backbone.")], theirs, TABLES)
    model.load_state_dict({k: tables.get(k.removeprefix("backbone."), v) for k, v in state.items()})
    model.to(device)
    seen = _record_stages(model.backbone)
    with torch.no_grad():
        outputs = {**model(case.tensors["in/x"].to(device)), **seen}
    for name, theirs in case.group("out").items():
        yield compare(f"out/{name}", outputs[name], theirs, LOGITS if name == "logits" else MAPS)


def _mask_generator(case: Case, device: str) -> Iterator[Check]:
    """Draw the first masks of every recorded setting from numpy's legacy generator."""
    for i, info in enumerate(case.info["statistics"]):
        theirs = case.tensors[f"out/first{i}"].int()
        np.random.seed(info["seed"])
        if case.info["method"] == "SimMIM":
            about = info["setting"]
            side = about["input_size"] // about["mask_patch_size"]
            scale = about["mask_patch_size"] // about["model_patch_size"]
            masks = [random_cells(side, side, about["mask_ratio"]) for _ in theirs]
            masks = [np.kron(mask, np.ones((scale, scale), int)) for mask in masks]
        else:
            side = info["input_size"]
            masks = [
                regular_cells(side, side)
                if info["regular"]
                else shuffled_cells(side, side, info["mask_ratio"])
                for _ in theirs
            ]
            masks = [mask.ravel() for mask in masks]
        yield compare(f"out/first{i}", torch.from_numpy(np.stack(masks)).int(), theirs, 0)


KINDS: dict[str, Callable[[Case, str], Iterator[Check]]] = {
    "pretrain": _pretrain,
    "finetune": _finetune,
    "checkpoint-interpolation": _interpolation,
    "mask-generator": _mask_generator,
}


def _load(model: nn.Module, case: Case, rules: tuple) -> Iterator[Check]:
    """Fill the model; compare, and keep, the tables that this package computes itself."""
    yield from _recomputed(model, case, rules)
    own = model.state_dict()
    state = {our_name(k, rules): v for k, v in case.group("sd").items() if not k.endswith(RECOMPUTED)}
    for name in case.info.get("frozen_tables_kept", []):
        name = our_name(name, rules)
        yield compare(name, own[name], state[name], TABLES)
        state[name] = own[name]
    model.load_state_dict(state)


def _recomputed(model: nn.Module, case: Case, rules: tuple) -> Iterator[Check]:
    """Compare the indices and shift masks that this package computes with the official buffers."""
    for name, theirs in case.group("sd").items():
        if not name.endswith(RECOMPUTED):
            continue
        attn = model.get_submodule(our_name(name, rules).rpartition(".")[0].removesuffix(".attn") + ".attn")
        size = attn.window_size
        if name.endswith("relative_position_index"):
            ours = bias_index(attn.relative_position_bias_table)
        else:
            stage = int(name.split("layers.")[1].split(".")[0])
            ours = shift_mask(tuple(case.info["stage_resolution"][stage]), size)
        yield compare(name, ours, theirs, 0)


def _record_stages(backbone: Encoder) -> dict[str, Tensor]:
    """Return a dict that the next forward fills with stage{i} (before any norm) and encoder, as (B, L, C)."""
    seen: dict[str, Tensor] = {}
    stage_maps = backbone.stage_maps

    def recorded(*args: object) -> Iterator[Tensor]:
        for i, stage in enumerate(stage_maps(*args)):
            seen[f"stage{i}"] = stage.flatten(1, 2)
            yield stage

    backbone.stage_maps = recorded
    backbone.norm.register_forward_hook(lambda *call: seen.__setitem__("encoder", call[-1].flatten(1, -2)))
    return seen


def _gradients(model: nn.Module, case: Case, rules: tuple) -> Iterator[Check]:
    """Compare the recorded gradients, and the norm of every other one."""
    parameters = dict(model.named_parameters())
    for name, theirs in case.group("grad").items():
        ours = parameters[our_name(name, rules)].grad
        yield compare(f"grad/{name}", ours, theirs, GRADIENTS * theirs.abs().max().item())
    largest = max(case.info["grad_norms"].values())
    error = max(
        abs(parameters[our_name(name, rules)].grad.norm().item() - norm)
        for name, norm in case.info["grad_norms"].items()
    )
    yield Check("all gradient norms", error, GRADIENTS * largest)
