"""Recognise the kind and layout of a checkpoint by the names of its tensors.

A name belongs to a layout if a rule of the layout matches the entire name. Models of mmcv and official models
also differ in the order of patch merging, so prefixes such as `backbone.` are not sufficient: mmcv's rules
match only names that do not occur in official code (`stages`, `w_msa`, `ffn.layers`, `ln1`, `projection`). A
file with names of both matches no layout.
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
"""The patch embedding of a transformer; the group is the prefix of the backbone."""

_MM = re.compile(r"stages\.\d+\.|.*\b(w_msa|ffn\.layers|ln[12]|projection)\.")
_OFFICIAL = re.compile(r".*\b(mlp\.fc[12]|patch_embed\.proj)\.|layers\.\d+\.blocks\.\d+\.norm[12]\.")
"""Names inside a backbone that occur only in mmcv's models, and only in official code."""

_DENSE = re.compile(r"(\w+_heads?|proposal_generator|class_embed|neck\.\w*convs?)\.")
"""Start of names that occur only in detectors and segmentors."""


def left_out(names: list[str]) -> list[str]:
    """Return the names that belong to parts of detectors and segmentors other than the backbone."""
    if not any(_DENSE.match(name) for name in names):
        return []
    prefixes = _prefixes(names)
    if prefixes == [""]:
        return [name for name in names if _DENSE.match(name) or name.startswith("neck.")]
    return [name for name in names if not name.startswith(tuple(prefixes))]


@dataclass(frozen=True)
class Match:
    """The kind and layout of a checkpoint, and a mapping of its names to official names.

    Attributes:
        kind: The kind.
        layout: The layout.
        prefix: Prefix of the backbone's names.
        names: Official names of all parameters, by their names in the checkpoint.
        buffers: Official names of all official buffers, by their names in the checkpoint.
        pretraining: Names that match `Kind.pretraining`.
    """

    kind: Kind
    layout: Layout
    prefix: str
    names: dict[str, str]
    buffers: dict[str, str]
    pretraining: list[str]


@dataclass(frozen=True)
class Miss:
    """A kind and layout that a checkpoint does not match, and the reasons.

    Attributes:
        kind: The kind.
        layout: The layout.
        unknown: Names that the kind does not have: official names, or other names after a question mark.
        missing: Patterns of required names that match no name.
        twice: Names that map to the same official name as another name.
    """

    kind: Kind
    layout: Layout
    unknown: list[str]
    missing: list[str]
    twice: list[str]

    @property
    def count(self) -> int:
        return len(self.unknown) + len(self.missing) + len(self.twice)


def recognise(names: list[str], known: str = "") -> list[Match] | str:
    """Return the possible kinds and layouts of a checkpoint by its names, or a reason if there are none.

    Official buffers, which follow from sizes, are optional.

    Args:
        names: The names.
        known: Name of the kind, if the file contains it.

    Returns:
        A match for every kind with these names, the most likely first, or the reason why there is none.
    """
    prefixes = _prefixes(names)
    if len(prefixes) > 1:
        places = shorten([repr(prefix) for prefix in prefixes])
        return f"it contains several backbones, under {places}; save one of them alone"
    (prefix,) = prefixes
    bare = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    inside = _numbered_norms(bare)
    kinds = registered()
    matches, misses = [], []
    for kind in [kind for kind in kinds if kind.name == known] or kinds:
        for layout in (OURS, OFFICIAL, *kind.backbone.layouts):
            if layout.prefix not in (None, prefix):
                continue
            left, unproved = [], []
            if kind.pretraining and layout in kind.backbone.layouts:
                left, unproved = kind.of_pretraining(names)
            elif kind.pretraining and (layout is not OURS or kind.name != known):
                continue
            renamed = {name: _renamed(name, inside, layout, kind) for name in names if name not in left}
            buffers = {name: new for name, new in renamed.items() if kind.is_buffer(new)}
            params = {name: new for name, new in renamed.items() if name not in buffers}
            unknown, missing = kind.unmatched(set(params.values()))
            missing += unproved
            counts = Counter(params.values())
            twice = [name for name, new in params.items() if counts[new] > 1]
            if not unknown and not missing and not twice:
                matches.append(Match(kind, layout, prefix, params, buffers, left))
                break
            misses.append(Miss(kind, layout, unknown, missing, twice))
    # Prefer unchanged official names to official names under another prefix.
    matches.sort(key=lambda match: match.prefix != match.kind.prefix)
    return matches or _why_none(names, bare, misses)


def _why_none(names: list[str], bare: dict[str, str], misses: list[Miss]) -> str:
    """Return why the names match no kind; `bare` has the names inside the backbone."""
    for patterns, reason in filter(None, (kind.backbone.refused for kind in registered())):
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return reason
    mm, official = ([n for n in names if p.match(bare.get(n, ""))] for p in (_MM, _OFFICIAL))
    if mm and official:
        return (
            f"it mixes names of mmcv's models ({shorten(mm, 1)}) and of official models "
            f"({shorten(official, 1)}), which differ in the order of patch merging"
        )
    misses = sorted(misses, key=lambda miss: miss.count)
    candidates = dict.fromkeys(f"{miss.kind.name} ({miss.layout.name} names)" for miss in misses)
    nearest = " or ".join(list(candidates)[:2])
    first, reasons = misses[0], []
    if first.unknown:
        reasons.append(f"does not have {shorten([name.removeprefix('? ') for name in first.unknown])}")
    if first.missing:
        keys = [pattern.replace(r"\d+", "N").replace("\\", "") for pattern in first.missing]
        reasons.append(f"requires {shorten(keys)}")
    if first.twice:
        reasons.append(f"has only one name for {shorten(first.twice)}")
    return f"nearest: {nearest}, which {' and '.join(reasons)}"


def _prefixes(names: list[str]) -> list[str]:
    """Return the prefixes of the backbones in a file; convolutional networks have no patch embedding."""
    found = (_EMBED.match(name) for name in names)
    plain = "backbone." if any(name.startswith("backbone.") for name in names) else ""
    return list(dict.fromkeys(match[1] for match in found if match)) or [plain]


def _numbered_norms(inside: dict[str, str]) -> dict[str, str]:
    """Rename numbered norms: `norm.` for the last stage, and `out_norms.N.` for the others."""
    downsamples = {bare.partition(".downsample.")[0] for bare in inside.values() if ".downsample." in bare}
    last = f"norm{len(downsamples)}."
    named = {name: re.sub(rf"^{re.escape(last)}", "norm.", bare) for name, bare in inside.items()}
    return {name: re.sub(r"^norm(\d+)\.", rf"{OUT_NORMS}\1.", bare) for name, bare in named.items()}


def _renamed(name: str, inside: dict[str, str], layout: Layout, kind: Kind) -> str:
    """Return the official name of a parameter, or '? ' and the name if it is unknown."""
    if layout is OURS:
        new = official_name(name, kind.rules)
    else:
        new = layout.backbone(inside[name]) if name in inside else None
        beside = kind.mmpretrain if layout.beside is None else layout.beside
        new = beside(name) if new is None else kind.prefix + new
    return f"? {name}" if new is None else new


def shorten(names: list[str], most: int = 3) -> str:
    """Format the first names of a list, and the number of names if some are omitted."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
