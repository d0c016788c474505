"""The model of ours that a checkpoint fits: its config, told from shapes, and a check of every name."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mixmae_bench.backbones import mixmae_swin, plain_vit, swin, um_pvt, um_swin
from mixmae_bench.convert.official import Kind
from mixmae_bench.convert.tables import TABLE, window_of
from mixmae_bench.registry import MODELS

BROKEN = (KeyError, IndexError, TypeError, ValueError, RuntimeError, ZeroDivisionError, StopIteration)
"""What reading sizes from tensors of any shape may raise."""

UNTOLD = {
    "mixmae_bench.MixMAESwin": ("norm_eps",),
    "mixmae_bench.Swin": ("norm_eps", "qk_scale"),
    "mixmae_bench.UMPVT": ("num_heads", "sr_ratios", "norm_eps"),
    "mixmae_bench.PlainViT": ("num_heads", "norm_eps"),
    "mixmae_bench.UMSwin": ("window_size", "norm_eps"),
}
"""Settings of backbones that no shape tells; a config then says the published ones."""


def model_config(kind: Kind, state: Mapping[str, Tensor], img_size: int | None) -> dict:
    """Tell the config of the model that a checkpoint fits: of a method, a classifier or, alone, a backbone.

    Args:
        kind: What the checkpoint is.
        state: Its parameters under our names.
        img_size: Pixels per side of its images; None takes the smallest that fits.

    Raises:
        ValueError: Where the shapes are those of no such model.
    """
    encoder = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    try:
        backbone = _BACKBONES[kind.backbone](encoder, img_size)
        return _method(kind, state, backbone)
    except BROKEN as error:
        raise ValueError(f"its shapes are those of no {kind.backbone}: {error}") from error


def check(config: dict, state: Mapping[str, Tensor]) -> None:
    """Compare every name and shape of `state` with those of the model that `config` builds.

    Raises:
        ValueError: Where one is missing, unknown or of another shape.
    """
    try:
        with torch.device("meta"):
            own = _build(config).state_dict()
    except BROKEN as error:
        raise ValueError(f"its shapes are those of no {config['type']}: {error}") from error
    problems = mismatches(own, state)
    if problems:
        raise ValueError(f"as {config['type'].split('.')[-1]} it {problems}")


def mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say which names and shapes of `state` are not those of `own`; nothing where all are."""
    problems = [f"lacks '{name}'" for name in own if name not in state]
    problems += [f"has '{name}', which there is no place for" for name in state if name not in own]
    problems += [
        f"has '{name}' of shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return ", ".join(problems[:3]) + more


def snippet(config: dict) -> str:
    """Write a config so that it can be pasted into one."""

    def write(value: object) -> str:
        if isinstance(value, dict):
            return f"dict({', '.join(f'{key}={write(item)}' for key, item in value.items())})"
        return repr(value)

    return write(config)


def untold(config: dict) -> list[str]:
    """Name the settings of a config that no shape tells, so that they are the published ones."""
    backbone = config.get("backbone", config)
    names = [f"{name} of the backbone" for name in UNTOLD.get(backbone["type"], ())]
    if "decoder" in config:
        names += ["num_heads of the decoder", "norm_eps of the decoder"]
    if config.get("neck", {}).get("type") == "mixmae_bench.PoolNorm":
        names.append("norm_eps of the neck")
    return names


def _build(config: dict) -> nn.Module:
    """Build a model; of a classifier, what has parameters (importing mmpretrain takes seconds)."""
    if config["type"] != "mmpretrain.ImageClassifier":
        return (
            MODELS.build(config)
            if "backbone" in config
            else nn.ModuleDict({"backbone": MODELS.build(config)})
        )
    head = config["head"]
    parts = {
        "backbone": MODELS.build(config["backbone"]),
        "head": nn.ModuleDict({"fc": nn.Linear(head["in_channels"], head["num_classes"])}),
    }
    if "in_channels" in config["neck"]:
        parts["neck"] = MODELS.build(config["neck"])
    return nn.ModuleDict(parts)


def _method(kind: Kind, state: Mapping[str, Tensor], backbone: dict) -> dict:
    """Put what is not the backbone around it."""
    config = {"type": f"mixmae_bench.{kind.fits}", "backbone": backbone}
    if kind.fits == "ImageClassifier":
        if "head.fc.weight" not in state:
            return backbone
        classes, channels = state["head.fc.weight"].shape
        neck = dict(type="GlobalAveragePooling")
        if "neck.norm.weight" in state:
            neck = dict(type="mixmae_bench.PoolNorm", in_channels=channels)
        head = dict(type="LinearClsHead", num_classes=classes, in_channels=channels)
        return {**config, "type": "mmpretrain.ImageClassifier", "neck": neck, "head": head}
    if kind.fits == "UMSimMIM":
        config["cell"] = math.isqrt(len(state["pred.weight"]) // 12)
    if "decoder.mask_token" in state:
        dim = state["decoder.mask_token"].shape[-1]
        depth = len({name.split(".")[2] for name in state if name.startswith("decoder.blocks.")})
        config["decoder"] = dict(dim=dim, depth=depth, num_heads=max(1, dim // 32))  # published: 32 per head
        if depth:
            ratio = _mlp_ratio([state["decoder.blocks.0.mlp.fc1.weight"]])
            config["decoder"] |= {"mlp_ratio": ratio} if ratio != 4 else {}
    if kind.fits in ("UMMAE", "UMMAEViT"):
        config["cell"] = math.isqrt(len(state["decoder.pred.weight"]) // 3)
        config["secondary_ratio"] = 0.25 if "vis_mask_token" in state else 0.0
        if "img_size" not in backbone:  # UM-MAE's Swin has no table of a size
            backbone["img_size"] = math.isqrt(state["decoder.pos_embed"].shape[1]) * config["cell"]
            backbone["window_size"] = 8  # published, on packed maps
    return config


def _mixmae_swin(encoder: dict[str, Tensor], img_size: int | None) -> dict:
    arch, windows = _windowed(encoder)
    arch = _named({**arch, "window_size": windows}, mixmae_swin.ARCHS)
    return _config("MixMAESwin", encoder, arch, img_size=img_size)


def _swin(encoder: dict[str, Tensor], img_size: int | None) -> dict:
    arch, windows = _windowed(encoder)
    # The last window is its stage's grid, or the grid is at least as large.
    img_size = img_size or windows[-1] * len(encoder["patch_embed.proj.weight"][0, 0]) * 2 ** (
        len(windows) - 1
    )
    ape = {"ape": True} if "absolute_pos_embed" in encoder else {}
    return _config(
        "Swin", encoder, _named(arch, swin.ARCHS), window_size=max(windows), img_size=img_size, **ape
    )


def _um_swin(encoder: dict[str, Tensor], img_size: int | None) -> dict:
    firsts, depths = _flat_stages(encoder)
    mlp = [encoder[f"blocks.{first}.attn.posmlp.2.weight"] for first in firsts]
    arch = dict(
        embed_dim=len(encoder["patch_embed.proj.weight"]),
        depths=depths,
        num_heads=tuple(len(weight) for weight in mlp),
        posmlp_dim=mlp[0].shape[1],
    )
    return _config("UMSwin", encoder, _named(arch, um_swin.ARCHS), final_norm="norm.weight" in encoder)


def _um_pvt(encoder: dict[str, Tensor], img_size: int | None) -> dict:
    firsts, depths = _flat_stages(encoder)
    up = [encoder[f"blocks.{first}.mlp.fc1.weight"] for first in firsts]
    dims = tuple(weight.shape[1] for weight in up)
    arch = dict(
        embed_dims=dims,
        depths=depths,
        num_heads=tuple(max(1, dim // 64) for dim in dims),
        mlp_ratios=tuple(_mlp_ratio([weight]) for weight in up),
        sr_ratios=tuple(2**i for i in reversed(range(len(dims)))),
    )
    arch = _named(arch, um_pvt.ARCHS)
    return _config("UMPVT", encoder, arch, img_size=img_size, final_norm="norm.weight" in encoder)


def _plain_vit(encoder: dict[str, Tensor], img_size: int | None) -> dict:
    dim = len(encoder["patch_embed.proj.weight"])
    depth = len({name.split(".")[1] for name in encoder if name.startswith("blocks.")})
    arch = _named(dict(embed_dim=dim, depth=depth, num_heads=max(1, dim // 64)), plain_vit.ARCHS)
    return _config("PlainViT", encoder, arch, img_size=img_size, patch_default=16)


_BACKBONES = {
    "MixMAESwin": _mixmae_swin,
    "Swin": _swin,
    "UMSwin": _um_swin,
    "UMPVT": _um_pvt,
    "PlainViT": _plain_vit,
}


def _config(
    name: str, encoder: dict[str, Tensor], arch: str | dict, patch_default: int = 4, **settings: object
) -> dict:
    """Write the config of a backbone, without what is its default anyway."""
    config = {"type": f"mixmae_bench.{name}", "arch": arch, **settings}
    if config.get("final_norm"):
        del config["final_norm"]
    _, channels, _, patch = encoder["patch_embed.proj.weight"].shape
    told = {"patch_size": (patch, patch_default), "in_chans": (channels, 3)}
    if name != "UMPVT":
        up = [tensor for key, tensor in encoder.items() if key.endswith("mlp.fc1.weight")]
        told["mlp_ratio"] = _mlp_ratio(up), 4
    if name in ("MixMAESwin", "Swin"):
        told["qkv_bias"] = any(key.endswith("attn.qkv.bias") for key in encoder), True
        told["patch_norm"] = any(key.startswith("patch_embed.norm.") for key in encoder), True
    config |= {key: value for key, (value, default) in told.items() if value != default}
    norms = sorted({int(key.split(".")[1]) for key in encoder if key.startswith("out_norms.")})
    if norms:
        config["out_indices"] = (*norms, -1)
    return config


def _mlp_ratio(up: list[Tensor]) -> int | float:
    """Tell the ratio that gives the hidden widths of MLPs, rounded down, by weights of their first layers.

    Where several do, it is the one with the fewest decimals.
    """
    sizes = [(weight.shape[1], len(weight)) for weight in up]
    low, high = max(out / width for width, out in sizes), min((out + 1) / width for width, out in sizes)
    for decimals in range(17):
        ratio = math.ceil(low * 10**decimals) / 10**decimals
        if ratio < high and all(int(width * ratio) == out for width, out in sizes):
            return int(ratio) if ratio == int(ratio) else ratio
    raise ValueError(f"widths of its MLPs are {sizes}, which no one ratio gives")


def _named(arch: dict, known: dict[str, dict]) -> str | dict:
    """Return the name of an architecture, or the architecture where it has none."""
    same = (name for name, other in known.items() if {k: other.get(k) for k in arch} == arch)
    return next(same, arch)


def _windowed(encoder: dict[str, Tensor]) -> tuple[dict, tuple[int, ...]]:
    """Tell the architecture of a Swin by its bias tables, and the window of every stage."""
    stages: dict[int, list[Tensor]] = {}
    for name, tensor in encoder.items():
        if name.endswith(TABLE):
            stages.setdefault(int(name.split(".")[1]), []).append(tensor)
    tables = [stages[i] for i in range(len(stages))]
    arch = dict(
        embed_dim=len(encoder["patch_embed.proj.weight"]),
        depths=tuple(len(blocks) for blocks in tables),
        num_heads=tuple(blocks[0].shape[1] for blocks in tables),
    )
    return arch, tuple(window_of(blocks[0]) for blocks in tables)


def _flat_stages(encoder: dict[str, Tensor]) -> tuple[list[int], tuple[int, ...]]:
    """Tell the first block and the number of blocks of every stage, where a downsample begins one."""
    blocks = sorted({int(name.split(".")[1]) for name in encoder if name.startswith("blocks.")})
    firsts = [0, *(i for i in blocks[1:] if f"blocks.{i}.downsample.proj.weight" in encoder)]
    return firsts, tuple(b - a for a, b in zip(firsts, [*firsts[1:], len(blocks)], strict=True))
