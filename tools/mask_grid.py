"""Draw docs/masks.svg: what the encoder gets of an image of 8x8 patches, by method."""

from pathlib import Path

import numpy as np
import torch

from mixmae_bench.methods.masks import random_mask, regular_masks, secondary_mask, shuffled_mask

SIDE, PATCH, GAP = 8, 16, 40
IMAGE, PARTNER, TOKEN, REMOVED = "#0072b2", "#e69f00", "#666666", "none"


def panels() -> dict[str, list[list[str]]]:
    """Return the colours of patches, row by row, by the title of a panel."""
    np.random.seed(0)
    torch.manual_seed(0)
    removed = regular_masks(1, SIDE, SIDE)[0]
    flat = torch.from_numpy(removed).flatten()[None]
    hidden = secondary_mask(flat, torch.rand(flat.shape), 0.25).view(SIDE, SIDE).numpy()
    uniform = np.where(removed, REMOVED, np.where(hidden, TOKEN, IMAGE))
    half = SIDE // 2
    return {
        "MixMAE": coloured(large(random_mask(half, half, 0.5)), PARTNER),
        "SimMIM": coloured(large(random_mask(half, half, 0.6)), TOKEN),
        "UM-MAE": uniform.tolist(),
        "UM-MAE, packed": packed(uniform, removed).tolist(),
        "MAE": coloured(shuffled_mask(SIDE, SIDE, 0.75), REMOVED),
    }


def large(mask: np.ndarray) -> np.ndarray:
    """Return a mask of patches of 32 px on the grid of 16-px patches."""
    return mask.repeat(2, 0).repeat(2, 1)


def coloured(mask: np.ndarray, colour: str) -> list[list[str]]:
    return np.where(mask, colour, IMAGE).tolist()


def packed(uniform: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Return the one patch that every 2x2 block keeps."""
    half = SIDE // 2
    blocks = uniform.reshape(half, 2, half, 2).transpose(0, 2, 1, 3).reshape(half, half, 4)
    kept = ~removed.reshape(half, 2, half, 2).transpose(0, 2, 1, 3).reshape(half, half, 4)
    return blocks[kept].reshape(half, half)


def svg() -> str:
    """Return the picture."""
    drawn = panels()
    step = SIDE * PATCH + GAP
    width, height = step * len(drawn) - GAP + 2, SIDE * PATCH + 58
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="13">'
    ]
    for number, (title, rows) in enumerate(drawn.items()):
        lines.append(f'<text x="{number * step}" y="14">{title}</text>')
        for y, row in enumerate(rows):
            for x, colour in enumerate(row):
                lines.append(square(number * step + x * PATCH, 22 + y * PATCH, colour))
    meanings = {IMAGE: "image", PARTNER: "partner image", TOKEN: "mask token", REMOVED: "not encoded"}
    for number, (colour, meaning) in enumerate(meanings.items()):
        x, y = number * 150, SIDE * PATCH + 36
        lines += [square(x, y, colour), f'<text x="{x + 22}" y="{y + 13}">{meaning}</text>']
    return "\n".join([*lines, "</svg>\n"])


def square(x: int, y: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{PATCH}" height="{PATCH}" fill="{colour}" stroke="#999"/>'


if __name__ == "__main__":
    Path("docs/masks.svg").write_text(svg(), encoding="utf-8")
