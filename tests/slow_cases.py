"""Cases of other sizes than the recorded ones, of random weights under the official names.

What the official models would give is computed by `slow_official`, and written as the recorded cases are.
"""

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from slow_official import compute, sincos
from torch import Tensor

SWIN = dict(embed_dim=8, num_heads=[1, 2, 4, 8])
UM_SWIN = dict(SWIN, patch_size=2, stride=8, posmlp_dim=5)
UM_PVT = dict(patch_size=2, stride=8, embed_dims=[8, 12, 20, 28], num_heads=[1, 3, 2, 4])
DECODER = dict(decoder_embed_dim=16, decoder_num_heads=2)
CASES: dict[str, dict] = {
    "mixmae_pre_1": dict(
        official="models_mixmim.py",
        batch=3,
        mask_ratio=0.75,
        constructor=dict(
            **SWIN,
            img_size=64,
            depths=[1, 2, 1, 3],
            window_size=[4, 8, 7, 2],
            mlp_ratio=2.5,
            decoder_dim=16,
            decoder_depth=3,
            decoder_num_heads=2,
            norm_pix_loss=True,
            norm_layer="LayerNorm(eps=1e-06)",
            qkv_bias=False,
            patch_norm=False,
            use_checkpoint=True,
            ape=True,
            qk_scale=0.3,
            num_classes=7,
        ),
    ),
    "mixmae_pre_2": dict(
        official="models_mixmim.py",
        batch=2,
        mask_ratio=0.25,
        constructor=dict(
            embed_dim=12,
            num_heads=[1, 3, 2, 4],
            img_size=96,
            depths=[2, 1, 1, 1],
            window_size=[6, 4, 3, 3],
            mlp_ratio=3,
            decoder_dim=20,
            decoder_depth=1,
            decoder_num_heads=5,
            norm_pix_loss=False,
        ),
    ),
    "mixmae_ft_1": dict(
        official="models_mixmim_ft.py",
        batch=3,
        constructor=dict(
            **SWIN,
            img_size=64,
            depths=[1, 1, 3, 1],
            window_size=[2, 4, 4, 1],
            mlp_ratio=2,
            in_chans=1,
            num_classes=7,
            norm_layer="functools.partial(<class 'torch.nn.modules.normalization.LayerNorm'>, eps=1e-06)",
        ),
    ),
    "simmim_pre_1": dict(
        official="models/simmim.py",
        batch=3,
        mask_generator=dict(mask_patch_size=16, mask_ratio=0.5),
        constructor=dict(
            **SWIN,
            img_size=64,
            depths=[2, 3, 1, 1],
            window_size=4,
            mlp_ratio=3.0,
            qk_scale=0.2,
            patch_norm=False,
            ape=True,
            norm_layer="partial(nn.LayerNorm, eps=1e-6)",
            num_classes=0,
            encoder_stride=32,
        ),
    ),
    "simmim_pre_2": dict(
        official="models/simmim.py",
        batch=2,
        mask_generator=dict(mask_patch_size=32, mask_ratio=0.75),
        constructor=dict(
            **SWIN,
            img_size=96,
            depths=[2, 2, 1, 1],
            window_size=3,
            mlp_ratio=2.5,
            qkv_bias=False,
            num_classes=0,
        ),
    ),
    "simmim_ft_1": dict(
        official="models/swin_transformer.py",
        batch=3,
        constructor=dict(
            **SWIN,
            img_size=32,
            patch_size=2,
            depths=[1, 2, 3, 1],
            window_size=8,
            mlp_ratio=2,
            in_chans=4,
            num_classes=0,
            qk_scale=0.4,
            use_checkpoint=True,
            norm_layer="LayerNorm",
        ),
    ),
    "umswin_pre_1": dict(
        official="models_mae_swin.py",
        batch=3,
        constructor=dict(
            **UM_SWIN,
            **DECODER,
            img_size=64,
            depths=[2, 1, 3, 1],
            window_size=4,
            mlp_ratio=2,
            decoder_depth=3,
            vis_mask_ratio=0.5,
            norm_pix_loss=True,
            norm_layer="nn.LayerNorm",
        ),
    ),
    "umswin_pre_2": dict(
        official="models_mae_swin.py",
        batch=2,
        constructor=dict(
            **UM_SWIN,
            **DECODER,
            img_size=64,
            depths=[1, 3, 1, 2],
            window_size=16,
            mlp_ratio=2.5,
            decoder_depth=1,
            vis_mask_ratio=0.0,
            norm_pix_loss=False,
            norm_layer="LayerNorm(eps=1e-4)",
        ),
    ),
    "umswin_ft_1": dict(
        official="models_swin.py",
        batch=3,
        constructor=dict(
            **SWIN,
            img_size=32,
            patch_size=2,
            posmlp_dim=5,
            depths=[2, 1, 1, 1],
            window_size=4,
            mlp_ratio=3,
            num_classes=5,
            with_cp=True,
            global_pool=True,
        ),
    ),
    "umpvt_pre_1": dict(
        official="models_mae_pvt.py",
        batch=3,
        constructor=dict(
            **UM_PVT,
            **DECODER,
            img_size=64,
            depths=[1, 3, 1, 1],
            mlp_ratios=[2, 3, 2.5, 1],
            sr_ratios=[8, 2, 2, 1],
            decoder_depth=2,
            decoder_mlp_ratio=2.5,
            vis_mask_ratio=0.25,
            norm_pix_loss=False,
        ),
    ),
    "umpvt_pre_2": dict(
        official="models_mae_pvt.py",
        batch=2,
        constructor=dict(
            **UM_PVT,
            **DECODER,
            img_size=64,
            depths=[2, 1, 1, 2],
            mlp_ratios=[1, 2, 3, 4],
            sr_ratios=[4, 2, 1, 1],
            decoder_depth=1,
            vis_mask_ratio=0.0,
            norm_pix_loss=True,
            norm_layer="LayerNorm(eps=1e-4)",
        ),
    ),
    "umpvt_ft_1": dict(
        official="models_pvt.py",
        batch=3,
        constructor=dict(
            patch_size=2,
            embed_dims=[8, 12, 20, 28],
            num_heads=[1, 3, 2, 4],
            img_size=32,
            depths=[1, 1, 2, 1],
            mlp_ratios=[3, 2, 1, 2.5],
            sr_ratios=[8, 4, 2, 1],
            in_chans=2,
            num_classes=3,
            drop_path_rate=0.2,
            norm_layer="LayerNorm(eps=1e-4)",
        ),
    ),
    "umvit_pre_1": dict(
        official="models_mae.py",
        batch=3,
        constructor=dict(
            **DECODER,
            img_size=64,
            patch_size=8,
            embed_dim=24,
            depth=3,
            num_heads=3,
            mlp_ratio=2.5,
            decoder_depth=2,
            vis_mask_ratio=0.5,
            norm_pix_loss=True,
            mask_ratio=0.75,
            asymmetric_decoder=True,
        ),
    ),
    "umvit_pre_2": dict(
        official="models_mae.py",
        batch=2,
        constructor=dict(
            **DECODER,
            img_size=32,
            patch_size=4,
            embed_dim=16,
            depth=1,
            num_heads=1,
            mlp_ratio=3,
            decoder_depth=1,
            vis_mask_ratio=0.0,
            norm_pix_loss=False,
            norm_layer="LayerNorm(eps=1e-4)",
        ),
    ),
    "umsimmim_swin_1": dict(
        official="models_simmim_swin.py",
        batch=3,
        mask_generator=dict(mask_ratio=0.5),
        constructor=dict(
            **UM_SWIN, img_size=32, depths=[2, 1, 1, 1], window_size=4, mlp_ratio=3, norm_pix_loss=True
        ),
    ),
    "umsimmim_pvt_1": dict(
        official="models_simmim_pvt.py",
        batch=2,
        mask_generator=dict(mask_ratio=0.25),
        constructor=dict(
            **UM_PVT,
            img_size=32,
            depths=[1, 1, 1, 2],
            mlp_ratios=[2, 1, 3, 2],
            sr_ratios=[4, 4, 2, 1],
            norm_pix_loss=True,
            norm_layer="LayerNorm(eps=1e-06)",
        ),
    ),
}
"""Official file, batch, and what the manifest says. Arguments without an entry have the official defaults."""

METHODS = {"models_mixmim": "MixMAE", "models/": "SimMIM"}


class Weights:
    """Random weights under the official names, of the kinds and scales of the recorded ones."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors: dict[str, Tensor] = {}

    def add(self, name: str, *shape: int, std: float, mean: float = 0.0) -> None:
        self.tensors[name] = mean + std * torch.randn(shape, generator=self.generator)

    def token(self, name: str, dim: int) -> None:
        self.add(name, 1, 1, dim, std=0.1)

    def norm(self, name: str, dim: int) -> None:
        self.add(f"{name}.weight", dim, std=0.1, mean=1.0)
        self.add(f"{name}.bias", dim, std=0.05)

    def layer(self, name: str, fan_in: int, fan_out: int, *kernel: int, bias: bool = True) -> None:
        """A linear layer, or a convolution with a kernel of some size."""
        self.add(f"{name}.weight", fan_out, fan_in, *kernel, std=(fan_in * math.prod(kernel)) ** -0.5)
        if bias:
            self.add(f"{name}.bias", fan_out, std=0.05)

    def block(self, name: str, dim: int, mlp_ratio: float, qkv: bool | None = True) -> None:
        """What all blocks have; `qkv` says whether it has a bias, None that it is another block's."""
        self.norm(f"{name}.norm1", dim)
        self.norm(f"{name}.norm2", dim)
        if qkv is not None:
            self.layer(f"{name}.attn.qkv", dim, 3 * dim, bias=qkv)
        self.layer(f"{name}.attn.proj", dim, dim)
        self.layer(f"{name}.mlp.fc1", dim, int(dim * mlp_ratio))
        self.layer(f"{name}.mlp.fc2", int(dim * mlp_ratio), dim)

    def embedding(self, prefix: str, a: dict, dim: int, norm: bool) -> None:
        patch = a["patch_size"]
        self.layer(f"{prefix}patch_embed.proj", a.get("in_chans", 3), dim, patch, patch)
        if norm:
            self.norm(f"{prefix}patch_embed.norm", dim)

    def decoder(self, a: dict, fan_in: int, dim: int, mlp_ratio: float, values: int) -> None:
        self.token("mask_token", dim)
        self.layer("decoder_embed", fan_in, a.get("decoder_expand", 1) * dim)
        for i in range(a["decoder_depth"]):
            self.block(f"decoder_blocks.{i}", dim, mlp_ratio)
        self.norm("decoder_norm", dim)
        self.layer("decoder_pred", dim, values)

    def window_encoder(self, a: dict, prefix: str, windows: list[int]) -> int:
        dim, sides = a["embed_dim"], a["img_size"] // a["patch_size"]
        self.embedding(prefix, a, dim, a.get("patch_norm", True))
        for stage, depth in enumerate(a["depths"]):
            window = min(windows[stage], sides // 2**stage)
            for i in range(depth):
                name = f"{prefix}layers.{stage}.blocks.{i}"
                self.block(name, dim, a["mlp_ratio"], a.get("qkv_bias", True))
                table = (2 * window - 1) ** 2, a["num_heads"][stage]
                self.add(f"{name}.attn.relative_position_bias_table", *table, std=0.1)
            if stage < len(a["depths"]) - 1:
                self.norm(f"{prefix}layers.{stage}.downsample.norm", 4 * dim)
                self.layer(f"{prefix}layers.{stage}.downsample.reduction", 4 * dim, 2 * dim, bias=False)
                dim *= 2
        self.norm(f"{prefix}norm", dim)
        return dim

    def um_encoder(self, a: dict, final: str) -> int:
        swin = "embed_dim" in a
        dims = [a["embed_dim"] * 2**i for i in range(len(a["depths"]))] if swin else a["embed_dims"]
        self.embedding("", a, dims[0], swin)
        number = 0
        for stage, depth in enumerate(a["depths"]):
            dim = dims[stage]
            for i in range(depth):
                name = f"blocks.{number}"
                if stage and i == 0:
                    if swin:
                        self.norm(f"{name}.downsample.norm", dims[stage - 1])
                    self.layer(f"{name}.downsample.proj", dims[stage - 1], dim, 2, 2)
                self.block(name, dim, a["mlp_ratio"] if swin else a["mlp_ratios"][stage], swin or None)
                if swin:
                    self.layer(f"{name}.attn.posmlp.0", 2, a["posmlp_dim"], 1, 1)
                    self.layer(f"{name}.attn.posmlp.2", a["posmlp_dim"], a["num_heads"][stage], 1, 1)
                else:
                    self.layer(f"{name}.attn.q", dim, dim)
                    self.layer(f"{name}.attn.kv", dim, 2 * dim)
                    self.layer(f"{name}.attn.sr", dim, dim, 1, 1)
                    self.norm(f"{name}.attn.norm", dim)
                number += 1
        self.norm(final, dims[-1])
        return dims[-1]

    def head(self, a: dict, dim: int) -> None:
        if a["num_classes"]:
            self.layer("head", dim, a["num_classes"])


def weights_of(file: str, a: dict, seed: int) -> tuple[dict[str, Tensor], set[str]]:
    """Return weights, and the names of the tables that are not trained."""
    w = Weights(seed)
    tables: dict[str, Tensor] = {}
    side = a["img_size"] // a["patch_size"]
    if file.startswith("models_mixmim"):
        dim = w.window_encoder(a, "", a["window_size"])
        tables["absolute_pos_embed"] = sincos(a["embed_dim"], side)
        if file == "models_mixmim.py":
            w.decoder(a, dim, a["decoder_dim"], a["mlp_ratio"], 32 * 32 * 3)
            tables["decoder_pos_embed"] = sincos(a["decoder_dim"], a["img_size"] // 32)
        else:
            w.head(a, dim)
    elif file.startswith("models/"):
        prefix = "encoder." if file == "models/simmim.py" else ""
        dim = w.window_encoder(a, prefix, [a["window_size"]] * 4)
        if a.get("ape"):
            w.add(f"{prefix}absolute_pos_embed", 1, side**2, a["embed_dim"], std=0.1)
        if prefix:
            w.token("encoder.mask_token", a["embed_dim"])
            w.layer("decoder.0", dim, (a["patch_size"] * 8) ** 2 * 3, 1, 1)
        else:
            w.head(a, dim)
    elif file == "models_mae.py":
        dim = a["embed_dim"]
        w.embedding("", a, dim, False)
        w.token("cls_token", dim)
        for i in range(a["depth"]):
            w.block(f"blocks.{i}", dim, a["mlp_ratio"])
        w.norm("norm", dim)
        w.decoder(a, dim, a["decoder_embed_dim"], a["mlp_ratio"], a["patch_size"] ** 2 * 3)
        tables["pos_embed"] = sincos(dim, side, class_token=True)
        tables["decoder_pos_embed"] = sincos(a["decoder_embed_dim"], side, class_token=True)
    else:
        first = a["embed_dim"] if "embed_dim" in a else a["embed_dims"][0]
        pretrain = file.startswith(("models_mae", "models_simmim"))
        dim = w.um_encoder(a, "norm" if pretrain else "fc_norm")
        if "embed_dims" in a and pretrain:
            tables["pos_embed"] = sincos(first, side)
        elif "embed_dims" in a:
            w.add("pos_embed", 1, side**2, first, std=0.1)
        if file.startswith("models_mae"):
            ratio = a.get("mlp_ratio", a.get("decoder_mlp_ratio", 4))
            w.decoder({**a, "decoder_expand": 4}, dim, a["decoder_embed_dim"], ratio, a["stride"] ** 2 * 3)
            tables["decoder_pos_embed"] = sincos(a["decoder_embed_dim"], a["img_size"] // a["stride"])
        elif pretrain:
            w.token("mask_token", first)
            w.layer("decoder_pred", dim, 4 * a["stride"] ** 2 * 3)
        else:
            w.head(a, dim)
    if a.get("vis_mask_ratio"):
        w.token("vis_mask_token", a["embed_dim"] if "embed_dim" in a else a["embed_dims"][0])
    return {**w.tensors, **{k: v.float() for k, v in tables.items()}}, set(tables)


def inputs_of(case: dict, a: dict, seed: int) -> dict[str, Tensor]:
    """Draw images, and labels or masks; where cells are normalised, some are flat or nearly so."""
    file, batch = case["official"], case["batch"]
    g = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, a.get("in_chans", 3), a["img_size"], a["img_size"], generator=g)
    if a.get("norm_pix_loss"):
        images[0, :, :4, :] = 0.25
        images[1] *= 2e-3
    tensors = {"in/x": images}
    if "num_classes" in a and not file.endswith(("simmim.py", "mixmim.py")):
        tensors["in/labels"] = torch.tensor([2, 0, 1][:batch])
    elif file == "models_mixmim.py":
        side = a["img_size"] // 32
        mask = torch.zeros(side**2)
        mask[torch.randperm(side**2, generator=g)[: int(side**2 * case["mask_ratio"])]] = 1
        for stage in range(4):
            large = np.kron(mask.view(side, side).numpy(), np.ones((2 ** (3 - stage),) * 2, np.float32))
            tensors[f"mask/s{stage + 1}"] = torch.from_numpy(large.reshape(1, -1, 1))
    elif file == "models/simmim.py":
        cell, ratio = case["mask_generator"]["mask_patch_size"], case["mask_generator"]["mask_ratio"]
        tensors["mask/mask"] = (
            _random_masks(batch, a["img_size"] // cell, ratio, math.ceil, g)
            .long()
            .repeat_interleave(cell // a["patch_size"], 1)
            .repeat_interleave(cell // a["patch_size"], 2)
        )
    elif file.startswith("models_simmim"):
        side = a["img_size"] // a["stride"]
        tensors["mask/mask"] = _random_masks(
            batch, side, case["mask_generator"]["mask_ratio"], int, g
        ).flatten(1)
    else:
        side = a["img_size"] // a.get("stride", a["patch_size"])
        removed = torch.ones(batch, side // 2, 2, side // 2, 2, dtype=torch.bool)
        corner = torch.randint(4, (batch, side // 2, side // 2), generator=g)
        for b, i, j in np.ndindex(*corner.shape):
            removed[b, i, corner[b, i, j] // 2, j, corner[b, i, j] % 2] = False
        tensors["mask/mask"] = removed.reshape(batch, -1)
        if file != "models_mae.py":
            tensors["mask/noise"] = torch.rand(batch, side**2, generator=g)
        elif a["vis_mask_ratio"]:
            tensors["mask/noise"] = torch.rand(batch, side**2 // 4, generator=g)
    return tensors


def _random_masks(batch: int, side: int, ratio: float, rounding: type, g: torch.Generator) -> Tensor:
    masks = torch.zeros(batch, side**2, dtype=torch.bool)
    for mask in masks:
        mask[torch.randperm(side**2, generator=g)[: rounding(side**2 * ratio)]] = True
    return masks.view(batch, side, side)


def eps_of(a: dict) -> float:
    given = re.search(r"eps=([\d.e-]+)", a.get("norm_layer", ""))
    return float(given[1]) if given else 1e-5


def write_cases(folder: Path, names: list[str]) -> None:
    """Write a manifest and files of tensors."""
    entries = []
    for name in names:
        case, seed = CASES[name], list(CASES).index(name)
        file = case["official"]
        a = {"patch_size": 4, **case["constructor"]}
        weights, frozen = weights_of(file, a, seed)
        tensors = {**{f"sd/{k}": v for k, v in weights.items()}, **inputs_of(case, a, seed)}
        outputs, grads = compute(file, a, eps_of(a), frozen, tensors)
        norms = {k: grad.norm().item() for k, grad in grads.items()}
        tensors |= outputs | {
            f"grad/{k}": grad for k, grad in grads.items() if norms[k] > 1e-6 * max(norms.values())
        }
        arrays = {k: v.float().numpy() if v.is_floating_point() else v.numpy() for k, v in tensors.items()}
        np.savez(folder / f"{name}.npz", **arrays)
        kind = "finetune" if "in/labels" in tensors else "pretrain"
        entries.append(
            {
                "name": name,
                "file": f"{name}.npz",
                "sha256": hashlib.sha256((folder / f"{name}.npz").read_bytes()).hexdigest(),
                "kind": kind,
                "method": next((m for k, m in METHODS.items() if file.startswith(k)), "UM-MAE"),
                "official": {"file": file},
                "frozen_tables_kept": sorted(frozen),
                "grad_norms": norms,
                **{k: v for k, v in case.items() if k not in ("official", "batch")},
            }
        )
    (folder / "manifest.json").write_text(json.dumps({"cases": entries}), encoding="utf-8")
