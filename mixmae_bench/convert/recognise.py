"""Telling what a checkpoint is: its kind, and whose names it has, by the names of its tensors.

A name belongs to a layout where that has a rule for all of it. mmcv's models and the official ones differ in
the order of patch merging too, so nothing is taken for either by a prefix such as `backbone.`: mmcv's rules
fit only names that no official code has (`stages`, `w_msa`, `ffn.layers`, `ln1`, `projection`), and a file
with names of both is of no layout.
"""

import re
from collections import Counter
from dataclasses import dataclass

from mixmae_bench.backbones.official.kinds import Kind, registered
from mixmae_bench.backbones.official.layouts import Layout
from mixmae_bench.backbones.official.names import OUT_NORMS, official_name

OURS = Layout("mixmae-bench", prefix="backbone.")
OFFICIAL = Layout("official")

_EMBED = re.compile(r"((?:\w+\.)*)patch_embed\.(?:proj|projection)\.")
"""What every backbone begins with; in front of it is what holds the backbone."""

_MM = re.compile(r"stages\.\d+\.|.*\b(w_msa|ffn\.layers|ln[12]|projection)\.")
_OFFICIAL = re.compile(r".*\b(mlp\.fc[12]|patch_embed\.proj)\.|layers\.\d+\.blocks\.\d+\.norm[12]\.")
"""Names that only the models of mmcv, and only those of the official code, have within a backbone."""

_DENSE = re.compile(r"(\w+_heads?|proposal_generator|class_embed|neck\.\w*convs?)\.")
"""How names begin that only detectors and segmentors have."""


def left_out(names: list[str]) -> list[str]:
    """Return the names that belong to no backbone, method or classifier: detectors' and segmentors' parts."""
    if not any(_DENSE.match(name) for name in names):
        return []
    prefixes = _prefixes(names)
    if prefixes == [""]:
        return [name for name in names if _DENSE.match(name) or name.startswith("neck.")]
    return [name for name in names if not name.startswith(tuple(prefixes))]


@dataclass(frozen=True)
class Match:
    """A checkpoint's kind and layout, and the official name of its tensors, by their own names.

    Attributes:
        kind: The kind.
        layout: The layout.
        prefix: What is in front of the backbone's names.
        names: Of every parameter.
        buffers: Of every official buffer.
    """

    kind: Kind
    layout: Layout
    prefix: str
    names: dict[str, str]
    buffers: dict[str, str]


@dataclass(frozen=True)
class Miss:
    """A kind and layout that a checkpoint is not of, and why.

    Attributes:
        kind: The kind.
        layout: The layout.
        strangers: Official names, or names behind a question mark, that the kind does not have.
        missing: Patterns of names that are not there.
        twice: Names for which there is one official name.
    """

    kind: Kind
    layout: Layout
    strangers: list[str]
    missing: list[str]
    twice: list[str]

    @property
    def count(self) -> int:
        return len(self.strangers) + len(self.missing) + len(self.twice)


def recognise(names: list[str], known: str = "") -> list[Match] | str:
    """Tell the kind and layout of a checkpoint from the names of its tensors, or say what is near.

    The official buffers that follow from sizes need not be there.

    Args:
        names: The names.
        known: Name of the kind, where it is noted in the file.

    Returns:
        A match for every kind with these names, the likeliest first, or why there is none.
    """
    prefixes = _prefixes(names)
    if len(prefixes) > 1:
        places = shorten([repr(prefix) for prefix in prefixes])
        return f"it holds several backbones, under {places}; save one of them alone"
    (prefix,) = prefixes
    bare = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    inside = _numbered_norms(bare)
    kinds = registered()
    matches, misses = [], []
    for kind in [kind for kind in kinds if kind.name == known] or kinds:
        for layout in (OURS, OFFICIAL, *kind.backbone.layouts):
            if layout.prefix not in (None, prefix):
                continue
            renamed = {name: _renamed(name, inside, layout, kind) for name in names}
            buffers = {name: new for name, new in renamed.items() if kind.is_buffer(new)}
            params = {name: new for name, new in renamed.items() if name not in buffers}
            strangers, missing = kind.unmatched(set(params.values()))
            counts = Counter(params.values())
            twice = [name for name, new in params.items() if counts[new] > 1]
            if not strangers and not missing and not twice:
                matches.append(Match(kind, layout, prefix, params, buffers))
                break
            misses.append(Miss(kind, layout, strangers, missing, twice))
    # The official names themselves come before the same ones with something else in front.
    matches.sort(key=lambda match: match.prefix != match.kind.prefix)
    return matches or _why_none(names, bare, misses)


def _why_none(names: list[str], bare: dict[str, str], misses: list[Miss]) -> str:
    """Say why no kind has some names, `bare` those within the backbone, or what is nearest."""
    for patterns, reason in filter(None, (kind.backbone.refused for kind in registered())):
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return reason
    mm, official = ([n for n in names if p.match(bare.get(n, ""))] for p in (_MM, _OFFICIAL))
    if mm and official:
        return (
            f"some of its names are those of mmcv's models ({shorten(mm, 1)}) and some those of the official "
            f"ones ({shorten(official, 1)}), which differ in the order of patch merging"
        )
    misses = sorted(misses, key=lambda miss: miss.count)
    candidates = dict.fromkeys(f"{miss.kind.name} ({miss.layout.name} names)" for miss in misses)
    nearest = " or ".join(list(candidates)[:2])
    first, reasons = misses[0], []
    if first.strangers:
        reasons.append(f"does not know {shorten([name.removeprefix('? ') for name in first.strangers])}")
    if first.missing:
        keys = [pattern.replace(r"\d+", "N").replace("\\", "") for pattern in first.missing]
        reasons.append(f"lacks {shorten(keys)}")
    if first.twice:
        reasons.append(f"has one place for {shorten(first.twice)}")
    return f"nearest: {nearest}, which {' and '.join(reasons)}"


def _prefixes(names: list[str]) -> list[str]:
    """Return what is in front of the names of every backbone in a file."""
    found = (_EMBED.match(name) for name in names)
    return list(dict.fromkeys(match[1] for match in found if match)) or [""]


def _numbered_norms(inside: dict[str, str]) -> dict[str, str]:
    """Call the norm of the last stage `norm.`, and those before `out_norms.N.`, where they are numbered."""
    downsamples = {bare.partition(".downsample.")[0] for bare in inside.values() if ".downsample." in bare}
    last = f"norm{len(downsamples)}."
    named = {name: re.sub(rf"^{re.escape(last)}", "norm.", bare) for name, bare in inside.items()}
    return {name: re.sub(r"^norm(\d+)\.", rf"{OUT_NORMS}\1.", bare) for name, bare in named.items()}


def _renamed(name: str, inside: dict[str, str], layout: Layout, kind: Kind) -> str:
    """Return the official name of a parameter, or a stranger's with a question mark in front."""
    if layout is OURS:
        new = official_name(name, kind.rules)
    else:
        new = layout.backbone(inside[name]) if name in inside else None
        beside = kind.mmpretrain if layout.beside is None else layout.beside
        new = beside(name) if new is None else kind.prefix + new
    return f"? {name}" if new is None else new


def shorten(names: list[str], most: int = 3) -> str:
    """Write the first few of a list, and how many there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
