"""The official models once more, slowly: float64, a loop per window and head, from their description alone.

No code of the package is used here. Weights have the official names; nothing but sizes is read from them.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor

LAYER_NORM = 1e-5
"""PyTorch's epsilon."""


class Net:
    """Weights by their official names, and the layers that use them."""

    def __init__(self, weights: dict[str, Tensor], eps: float, prefix: str = "") -> None:
        self.weights = weights
        self.eps = eps  # what `norm_layer` says
        self.prefix = prefix

    def under(self, prefix: str) -> "Net":
        return Net(self.weights, self.eps, self.prefix + prefix)

    def has(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def get(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.get(f"{name}.weight").T
        return y + self.get(f"{name}.bias") if self.has(f"{name}.bias") else y

    def norm(self, name: str, x: Tensor, eps: float | None = None) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = ((centred**2).mean(-1, keepdim=True) + (self.eps if eps is None else eps)) ** 0.5
        return centred / deviation * self.get(f"{name}.weight") + self.get(f"{name}.bias")

    def conv(self, name: str, x: Tensor) -> Tensor:
        """A convolution whose kernels do not overlap: (B, H, W, C) to (B, H/k, W/k, D)."""
        kernel = self.get(f"{name}.weight")
        side = kernel.shape[-1]
        places = product(range(side), repeat=2)
        y = sum(x[:, i::side, j::side] @ kernel[:, :, i, j].T for i, j in places)
        return y + self.get(f"{name}.bias")

    def mlp(self, x: Tensor) -> Tensor:
        hidden = self.linear("mlp.fc1", x)
        return self.linear("mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)))

    def transformer(self, x: Tensor, heads: int) -> Tensor:
        """A block in which all tokens (B, n, C) see each other."""
        qkv = self.linear("attn.qkv", self.norm("norm1", x)).chunk(3, -1)
        x = x + self.linear("attn.proj", attention(*qkv, heads))
        return x + self.mlp(self.norm("norm2", x))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Head by head; bias (B or 1, heads, n, m)."""
    dim = query.shape[-1] // heads
    out = []
    for head in range(heads):
        part = slice(head * dim, (head + 1) * dim)
        logits = query[..., part] @ key[..., part].transpose(-1, -2) * (scale or dim**-0.5)
        if bias is not None:
            logits = logits + bias[:, head]
        out.append(logits.softmax(-1) @ value[..., part])
    return torch.cat(out, -1)


def sincos(dim: int, side: int, class_token: bool = False) -> Tensor:
    """M6: the column first; sines before cosines."""
    rows = [[0.0] * dim] if class_token else []
    for row, column in product(range(side), repeat=2):
        waves = [10000 ** (-i / (dim / 4)) for i in range(dim // 4)]
        rows.append(
            [f(place * wave) for place in (column, row) for f in (math.sin, math.cos) for wave in waves]
        )
    return torch.tensor(rows, dtype=torch.float64)[None]


# Windows


def windows(side: int, window: int, shift: int) -> Iterator[tuple[list[tuple[int, int]], Tensor]]:
    """Places (row, column) of the tokens of every window of a rolled map, and its shift mask (n, n)."""

    def region(n: int) -> int:
        return 0 if n < side - window else 1 if n < side - shift else 2

    for top, left in product(range(0, side, window), repeat=2):
        rolled = list(product(range(top, top + window), range(left, left + window)))
        places = [((r + shift) % side, (c + shift) % side) for r, c in rolled]
        regions = torch.tensor([3 * region(r) + region(c) for r, c in rolled])
        yield places, -100.0 * (regions[:, None] != regions).double() * bool(shift)


def in_windows(
    qkv: Tensor,
    window: int,
    shift: int,
    heads: int,
    bias_of: Callable[[list], Tensor],
    scale: float | None = None,
) -> Tensor:
    """Attend in every window of a map (B, H, W, 3 * C); `bias_of` its places is (B or 1, heads, n, n)."""
    out = qkv.new_zeros(*qkv.shape[:3], qkv.shape[-1] // 3)
    for places, mask in windows(qkv.shape[1], window, shift):
        rows, columns = torch.tensor(places).T
        parts = qkv[:, rows, columns].chunk(3, -1)
        tokens = attention(*parts, heads, bias_of(places) + mask, scale)
        out = out.index_put((torch.arange(len(qkv))[:, None], rows, columns), tokens)
    return out


def clamp(window: int, side: int, block: int) -> tuple[int, int]:
    """S1: window and shift of a block."""
    return (side, 0) if side <= window else (window, window // 2 if block % 2 else 0)


def bias_of_table(net: Net, window: int) -> Tensor:
    """M4: (1, heads, n, n), of query minus key."""
    places = list(product(range(window), repeat=2))
    rows = [
        [(q[0] - k[0] + window - 1) * (2 * window - 1) + q[1] - k[1] + window - 1 for k in places]
        for q in places
    ]
    return net.get("attn.relative_position_bias_table")[torch.tensor(rows)].permute(2, 0, 1)[None]


def table_bias(places: list, bias: Tensor, mask: Tensor | None, side: int) -> Tensor:
    return bias if mask is None else bias + two_groups(places, mask, side)


def two_groups(places: list, mask: Tensor, side: int) -> Tensor:
    """What keeps the two images of a mixture apart (n, n), for a mask (h, w) of a map of some side."""
    cell = side // len(mask)
    group = torch.stack([mask[r // cell, c // cell] for r, c in places])
    return -1e30 * (group[:, None] != group).double()


def swin_stages(
    net: Net, x: Tensor, a: dict, shifted: bool, scale: float | None, mask: Tensor | None
) -> list[Tensor]:
    """Stages of SimMIM's Swin and of MixMAE's; mask (h, w) keeps two groups apart."""
    maps = []
    for stage, depth in enumerate(a["depths"]):
        side, heads = x.shape[1], a["num_heads"][stage]
        given = a["window_size"] if isinstance(a["window_size"], int) else a["window_size"][stage]
        for number in range(depth):
            block = net.under(f"layers.{stage}.blocks.{number}.")
            window, shift = clamp(given, side, number if shifted else 0)
            bias = bias_of_table(block, window)
            bias_of = partial(table_bias, bias=bias, mask=mask, side=side)
            qkv = block.linear("attn.qkv", block.norm("norm1", x))
            x = x + block.linear("attn.proj", in_windows(qkv, window, shift, heads, bias_of, scale))
            x = x + block.mlp(block.norm("norm2", x))
        maps.append(x)
        if stage < len(a["depths"]) - 1:  # M3
            down = net.under(f"layers.{stage}.downsample.")
            x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
            x = down.linear("reduction", down.norm("norm", x))
    return maps


def embed(net: Net, images: Tensor) -> Tensor:
    tokens = net.conv("patch_embed.proj", images.permute(0, 2, 3, 1))
    return net.norm("patch_embed.norm", tokens) if net.has("patch_embed.norm.weight") else tokens


def on_map(table: Tensor) -> Tensor:
    side = math.isqrt(table.shape[1])
    return table.view(1, side, side, -1)


def outputs_of(maps: list[Tensor]) -> dict[str, Tensor]:
    return {f"stage{i}": m.flatten(1, 2) for i, m in enumerate(maps)}


# Pixels


def cells_of(images: Tensor, cell: int, normalise: bool) -> Tensor:
    """Targets (B, L, cell * cell * 3): row, column, colour."""
    B, side = len(images), images.shape[-1] // cell
    cells = [
        images[:, :, r * cell : (r + 1) * cell, c * cell : (c + 1) * cell].permute(0, 2, 3, 1).reshape(B, -1)
        for r, c in product(range(side), repeat=2)
    ]
    target = torch.stack(cells, 1)
    if normalise:
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
    return target


def shuffle(x: Tensor) -> Tensor:
    """(B, h, w, 4 * D) to (B, 2h, 2w, D): channel d*4 + 2*i + j to d, row i, column j."""
    B, h, w, D = x.shape
    out = x.new_zeros(B, 2 * h, 2 * w, D // 4)
    for i, j in product((0, 1), repeat=2):
        out[:, i::2, j::2] = x[..., 2 * i + j :: 4]
    return out


def decode(net: Net, x: Tensor, heads: int, depth: int) -> Tensor:
    for number in range(depth):
        x = net.under(f"decoder_blocks.{number}.").transformer(x, heads)
    return net.linear("decoder_pred", net.norm("decoder_norm", x))


# MixMAE


def mixmae(net: Net, a: dict, t: dict[str, Tensor]) -> dict[str, Tensor]:
    images, mask = t["in/x"], t["mask/s4"].flatten()
    side = math.isqrt(len(mask))
    mask = mask.view(side, side)
    B = len(images)
    tokens = embed(net, images)
    cell = tokens.shape[1] // side
    mixed = tokens.clone()
    for b, r, c in product(range(B), range(tokens.shape[1]), range(tokens.shape[1])):
        if mask[r // cell, c // cell] == 1:
            mixed[b, r, c] = tokens[B - 1 - b, r, c]
    maps = swin_stages(net, mixed + on_map(net.get("absolute_pos_embed")), a, False, None, mask)
    encoder = net.norm("norm", maps[-1]).flatten(1, 2)
    cells = net.linear("decoder_embed", encoder)
    partner = mask.flatten()[:, None] == 1
    token, table = net.get("mask_token"), net.get("decoder_pos_embed")
    both = torch.cat([torch.where(partner, token, cells), torch.where(partner, cells, token)])
    x_rec = decode(net, both + table, a["decoder_num_heads"], a["decoder_depth"])
    target = cells_of(images, 32, a["norm_pix_loss"])
    wrong = [
        (x_rec[b, i] if partner[i] else x_rec[B + B - 1 - b, i]) - target[b, i]
        for b, i in product(range(B), range(side**2))
    ]
    loss = (torch.stack(wrong) ** 2).mean()
    return {"x_rec": x_rec, "encoder": encoder, "loss": loss, **outputs_of(maps)}


def classify(net: Net, pooled: Tensor, t: dict[str, Tensor]) -> dict[str, Tensor]:
    logits = net.linear("head", pooled) if net.has("head.weight") else pooled
    right = logits.gather(1, t["in/labels"][:, None])[:, 0]
    return {"logits": logits, "ce_loss": (logits.logsumexp(1) - right).mean()}


def swin_classifier(
    net: Net, a: dict, t: dict[str, Tensor], shifted: bool, scale: float | None
) -> dict[str, Tensor]:
    tokens = embed(net, t["in/x"])
    if net.has("absolute_pos_embed"):
        tokens = tokens + on_map(net.get("absolute_pos_embed"))
    maps = swin_stages(net, tokens, a, shifted, scale, None)
    final = net.norm("norm", maps[-1]).flatten(1, 2)
    pooled = final.mean(1)
    return {"final_norm": final, "pooled": pooled, **outputs_of(maps), **classify(net, pooled, t)}


def mixmae_classifier(net: Net, a: dict, t: dict[str, Tensor]) -> dict[str, Tensor]:
    return swin_classifier(net, a, t, False, None)


# SimMIM


def simmim(net: Net, a: dict, t: dict[str, Tensor]) -> dict[str, Tensor]:
    images, mask = t["in/x"], t["mask/mask"]
    encoder = net.under("encoder.")
    tokens = torch.where(mask[..., None] == 1, encoder.get("mask_token")[None], embed(encoder, images))
    if encoder.has("absolute_pos_embed"):
        tokens = tokens + on_map(encoder.get("absolute_pos_embed"))
    maps = swin_stages(encoder, tokens, a, True, a.get("qk_scale"), None)
    z = encoder.norm("norm", maps[-1])
    values = net.conv("decoder.0", z)
    stride = images.shape[-1] // z.shape[1]
    x_rec = torch.zeros_like(images)
    for c, i, j in product(range(3), range(stride), range(stride)):
        x_rec[:, c, i::stride, j::stride] = values[..., c * stride**2 + i * stride + j]
    patch = images.shape[-1] // mask.shape[1]
    hidden = mask.double().repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]
    loss = ((images - x_rec).abs() * hidden).sum() / (hidden.sum() + 1e-5) / 3
    return {"z": z.permute(0, 3, 1, 2), "x_rec": x_rec, "loss": loss, **outputs_of(maps)}


def simmim_classifier(net: Net, a: dict, t: dict[str, Tensor]) -> dict[str, Tensor]:
    return swin_classifier(net, a, t, True, a.get("qk_scale"))


# UM-MAE


def position_bias(where: list, block: Net, places: Tensor) -> Tensor:
    """Of the place of the key minus the query's, (B, heads, n, n)."""
    rows, columns = torch.tensor(where).T
    here = places[:, rows, columns]
    away = here[:, None] - here[:, :, None]
    away = away.sign() * (1 + away.abs()).log()
    first, second = (block.get(f"attn.posmlp.{i}.weight")[:, :, 0, 0] for i in (0, 2))
    hidden = (away @ first.T + block.get("attn.posmlp.0.bias")).clamp(min=0)
    return (hidden @ second.T + block.get("attn.posmlp.2.bias")).permute(0, 3, 1, 2)


def um_swin_stages(net: Net, x: Tensor, places: Tensor, a: dict) -> list[Tensor]:
    """`places` (B, H, W, 2): the original row and column of every token."""
    maps, number = [], 0
    for stage, depth in enumerate(a["depths"]):
        heads = a["num_heads"][stage]
        for turn in range(depth):
            block = net.under(f"blocks.{number}.")
            if stage and turn == 0:
                x = block.conv("downsample.proj", block.norm("downsample.norm", x))
                places = places[:, ::2, ::2] / 2
            side = x.shape[1]
            window, shift = clamp(a["window_size"], side, turn)
            bias_of = partial(position_bias, block=block, places=places)
            qkv = block.linear("attn.qkv", block.norm("norm1", x, LAYER_NORM))
            x = x + block.linear("attn.proj", in_windows(qkv, window, shift, heads, bias_of))
            x = x + block.mlp(block.norm("norm2", x, LAYER_NORM))
            number += 1
        maps.append(x)
    return maps


def um_pvt_stages(net: Net, x: Tensor, a: dict) -> list[Tensor]:
    maps, number = [], 0
    for stage, depth in enumerate(a["depths"]):
        for turn in range(depth):
            block = net.under(f"blocks.{number}.")
            if stage and turn == 0:
                x = block.conv("downsample.proj", x)
            B, side, _, C = x.shape
            tokens = block.norm("norm1", x, LAYER_NORM)
            pool = a["sr_ratios"][stage]
            keys = sum(tokens[:, i::pool, j::pool] for i, j in product(range(pool), repeat=2)) / pool**2
            keys = block.norm("attn.norm", block.conv("attn.sr", keys), LAYER_NORM).flatten(1, 2)
            query = block.linear("attn.q", tokens).flatten(1, 2)
            out = attention(query, *block.linear("attn.kv", keys).chunk(2, -1), a["num_heads"][stage])
            x = x + block.linear("attn.proj", out).view(B, side, side, C)
            x = x + block.mlp(block.norm("norm2", x, LAYER_NORM))
            number += 1
        maps.append(x)
    return maps


def grid_places(B: int, side: int) -> Tensor:
    places = [[[float(r), float(c)] for c in range(side)] for r in range(side)]
    return torch.tensor(places, dtype=torch.float64).expand(B, -1, -1, -1)


def secondary(removed: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """Removed, or visible and replaced: of the visible cells those of the lowest noise stay."""
    out = torch.ones_like(removed)
    for b in range(len(removed)):
        visible = [i for i in range(removed.shape[1]) if not removed[b, i]]
        for i in sorted(visible, key=lambda i: noise[b, i].item())[: int(len(visible) * (1 - ratio))]:
            out[b, i] = False
    return out


def um_mae(net: Net, a: dict, t: dict[str, Tensor], swin: bool) -> dict[str, Tensor]:
    images, removed = t["in/x"], t["mask/mask"]
    B, L = removed.shape
    side = math.isqrt(L)
    hidden = secondary(removed, t["mask/noise"], a["vis_mask_ratio"])
    tokens = embed(net, images)
    scale = tokens.shape[1] // side
    token = None
    if a["vis_mask_ratio"] > 0:
        token = net.get("vis_mask_token")[0, 0]
        token = net.norm("patch_embed.norm", token) if swin else token  # U2
    packed = tokens.new_zeros(B, tokens.shape[1] // 2, tokens.shape[1] // 2, tokens.shape[-1])
    places = torch.zeros(*packed.shape[:3], 2, dtype=torch.float64)
    order = [[] for _ in range(B)]  # visible cells, block by block
    table = None if swin else on_map(net.get("pos_embed"))[0]
    for b, i, j in product(range(B), range(side // 2), range(side // 2)):
        (cell,) = [
            r * side + c
            for r in (2 * i, 2 * i + 1)
            for c in (2 * j, 2 * j + 1)
            if not removed[b, r * side + c]
        ]
        order[b].append(cell)
        for u, v in product(range(scale), repeat=2):
            row, column = cell // side * scale + u, cell % side * scale + v
            value = token if hidden[b, cell] else tokens[b, row, column]
            packed[b, i * scale + u, j * scale + v] = value if swin else value + table[row, column]
            places[b, i * scale + u, j * scale + v] = torch.tensor([row, column], dtype=torch.float64)
    maps = um_swin_stages(net, packed, places, a) if swin else um_pvt_stages(net, packed, a)
    encoder = net.norm("norm", maps[-1])
    cells = shuffle(net.linear("decoder_embed", encoder)).flatten(1, 2)
    out = {"encoder": encoder.flatten(1, 2), "mask/secondary": hidden, **outputs_of(maps)}
    for name, official in (("", True), ("_corrected_positions", False)):
        pred = um_decode(net, a, cells, removed, [sorted(o) for o in order] if official else order)  # U1
        loss = um_loss(images, pred[:, cells.shape[1] :], removed, a)
        out |= {f"{'' if official else 'alt/'}{k}{name}": v for k, v in (("pred", pred), ("loss", loss))}
    return out


def um_decode(
    net: Net, a: dict, cells: Tensor, removed: Tensor, order: list, class_token: Tensor | None = None
) -> Tensor:
    """Predictions: visible cells, with the positions of `order`, then the removed ones."""
    table = net.get("decoder_pos_embed")[0]
    first = 0 if class_token is None else 1
    sequences = []
    for b in range(len(cells)):
        gone = [i for i in range(removed.shape[1]) if removed[b, i]]
        parts = [cells[b] + table[first:][order[b]], net.get("mask_token")[0] + table[first:][gone]]
        sequences.append(torch.cat(parts if class_token is None else [class_token[b] + table[:1], *parts]))
    return decode(net, torch.stack(sequences), a["decoder_num_heads"], a["decoder_depth"])[:, first:]


def um_loss(images: Tensor, pred: Tensor, removed: Tensor, a: dict) -> Tensor:
    cell = images.shape[-1] // math.isqrt(removed.shape[1])
    target = cells_of(images, cell, a["norm_pix_loss"])
    return ((pred - torch.stack([target[b, removed[b]] for b in range(len(images))])) ** 2).mean()


def um_vit(net: Net, a: dict, t: dict[str, Tensor]) -> dict[str, Tensor]:
    images, removed = t["in/x"], t["mask/mask"]
    B = len(images)
    table = net.get("pos_embed")[0]
    tokens = embed(net, images).flatten(1, 2)
    order = [[i for i in range(removed.shape[1]) if not removed[b, i]] for b in range(B)]
    visible = len(order[0])
    out = {}
    if a["vis_mask_ratio"] > 0:  # U11
        out["mask/vis_mask"] = t["mask/noise"].argsort(1) >= int(visible * (1 - a["vis_mask_ratio"]))
    sequences = []
    for b in range(B):
        parts = [net.get("cls_token")[0, 0] + table[0]]
        for place, i in enumerate(order[b]):
            hidden = a["vis_mask_ratio"] > 0 and out["mask/vis_mask"][b, place]
            parts.append((net.get("vis_mask_token")[0, 0] if hidden else tokens[b, i]) + table[i + 1])
        sequences.append(torch.stack(parts))
    x = torch.stack(sequences)
    for number in range(a["depth"]):
        x = net.under(f"blocks.{number}.").transformer(x, a["num_heads"])
    out["encoder"] = net.norm("norm", x)
    x = net.linear("decoder_embed", out["encoder"])
    out["pred"] = um_decode(net, a, x[:, 1:], removed, order, x[:, :1])
    return {**out, "loss": um_loss(images, out["pred"][:, visible:], removed, a)}


def um_simmim(net: Net, a: dict, t: dict[str, Tensor], swin: bool) -> dict[str, Tensor]:
    images, mask = t["in/x"], t["mask/mask"]
    side = math.isqrt(mask.shape[1])
    tokens = embed(net, images)
    scale = tokens.shape[1] // side
    large = mask.view(-1, side, side).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    tokens = torch.where(large[..., None], net.get("mask_token")[None], tokens)
    if swin:
        maps = um_swin_stages(net, tokens, grid_places(len(images), tokens.shape[1]), a)
    else:
        maps = um_pvt_stages(net, tokens + on_map(net.get("pos_embed")), a)
    encoder = net.norm("norm", maps[-1])
    pred = shuffle(net.linear("decoder_pred", encoder)).flatten(1, 2)
    target = cells_of(images, images.shape[-1] // side, a["norm_pix_loss"])
    loss = (pred - target).abs()[mask].mean()  # U10
    return {"encoder": encoder.flatten(1, 2), "pred": pred, "loss": loss, **outputs_of(maps)}


def um_classifier(net: Net, a: dict, t: dict[str, Tensor], swin: bool) -> dict[str, Tensor]:
    tokens = embed(net, t["in/x"])
    if swin:
        maps = um_swin_stages(net, tokens, grid_places(len(tokens), tokens.shape[1]), a)
    else:
        maps = um_pvt_stages(net, tokens + on_map(net.get("pos_embed")), a)
    pooled = maps[-1].mean((1, 2))  # U8
    fc_norm = net.norm("fc_norm", pooled)
    return {"pooled": pooled, "fc_norm": fc_norm, **outputs_of(maps), **classify(net, fc_norm, t)}


MODELS: dict[str, Callable[[Net, dict, dict], dict[str, Tensor]]] = {
    "models_mixmim.py": mixmae,
    "models_mixmim_ft.py": mixmae_classifier,
    "models/simmim.py": simmim,
    "models/swin_transformer.py": simmim_classifier,
    "models_mae_swin.py": lambda *case: um_mae(*case, swin=True),
    "models_mae_pvt.py": lambda *case: um_mae(*case, swin=False),
    "models_mae.py": um_vit,
    "models_simmim_swin.py": lambda *case: um_simmim(*case, swin=True),
    "models_simmim_pvt.py": lambda *case: um_simmim(*case, swin=False),
    "models_swin.py": lambda *case: um_classifier(*case, swin=True),
    "models_pvt.py": lambda *case: um_classifier(*case, swin=False),
}
"""By official file."""


def compute(
    file: str, arguments: dict, eps: float, frozen: set[str], tensors: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return outputs and gradients of a case, by `<group>/<name>` and by parameter."""
    weights = {}
    for name, tensor in tensors.items():
        if name.startswith("sd/") and tensor.is_floating_point():
            name = name.removeprefix("sd/")
            weights[name] = tensor.double().requires_grad_(name not in frozen)
    given = {
        name: tensor.double() if name == "in/x" else tensor
        for name, tensor in tensors.items()
        if name.startswith(("in/", "mask/"))
    }
    out = MODELS[file](Net(weights, eps), arguments, given)
    out.get("loss", out.get("ce_loss")).backward()
    outputs = {k if "/" in k else f"out/{k}": v.detach() for k, v in out.items()}
    return outputs, {k: v.grad for k, v in weights.items() if v.grad is not None}
