"""Other names for the same parameters: ours, mmpretrain's and timm's, each brought to the official ones.

A name belongs to a dialect where that has a rule for all of it. mmcv's models and the official ones differ in
the order of patch merging too, so nothing is taken for either by a prefix such as `backbone.`: mmcv's rules
fit only names that no official code has (`stages`, `w_msa`, `ffn.layers`, `ln1`, `projection`), and a file
with names of both is of no dialect.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mixmae_bench.convert.official import KINDS, OUT_NORMS, Kind, official_name

Rename = Callable[[str], str | None]
"""Gives the official name of a parameter, or None where a dialect has no such name."""


def _by(*rules: tuple[str, str]) -> Rename:
    """Rename by the first regular expression that fits how a name begins; what none fits has no name."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules]

    def rename(name: str) -> str | None:
        for pattern, new in compiled:
            if found := pattern.match(name):
                return found.expand(new) + name[found.end() :]
        return None

    return rename


def _same(name: str) -> str:
    return name


@dataclass(frozen=True)
class Layout:
    """A way to name the parameters of the official kinds.

    Attributes:
        name: Whose.
        backbone: Names within the backbone, without what is in front of all of them.
        beside: Names of what is not the backbone.
        kinds: Ours whose kinds it names; None where it names all.
        prefix: What is in front of the backbone's names; None where that may be anything.
        unfolds: Whether patch merging takes its four neighbours channel by channel, as mmcv's unfold, instead
            of neighbour by neighbour (M3).
    """

    name: str
    backbone: Rename = _same
    beside: Rename = _same
    kinds: str | None = None
    prefix: str | None = None
    unfolds: bool = False


_MM_EMBED = ((r"patch_embed\.projection\.", "patch_embed.proj."), (r"patch_embed\.norm\.", r"\g<0>"))
_MM_FFN = ((r"ffn\.layers\.0\.0\.", "mlp.fc1."), (r"ffn\.layers\.1\.", "mlp.fc2."))
_MM_LN = (*_MM_FFN, (r"ln([12])\.", r"norm\1."), (r"attn\.", "attn."))
_MM_MSA = (*_MM_FFN, (r"norm([12])\.", r"norm\1."), (r"attn\.w_msa\.", "attn."))


def _within(block: str, official: str, rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Put the beginning of a block's names, with groups for `official`, before rules for the rest."""
    groups = re.compile(block).groups
    shifted = [(p, re.sub(r"\\(\d)", lambda m: f"\\{int(m[1]) + groups}", new)) for p, new in rules]
    return tuple((block + pattern, official + new) for pattern, new in shifted)


_MM_SWIN = _by(
    *_MM_EMBED,
    *_within(r"stages\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2.", _MM_MSA),
    (r"stages\.(\d+)\.downsample\.", r"layers.\1.downsample."),
    (rf"norm\.|{re.escape(OUT_NORMS)}|absolute_pos_embed$|mask_token$", r"\g<0>"),
)
_MM_MIXMIM = _by(
    *_MM_EMBED,
    *_within(r"layers\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2.", _MM_LN),
    (rf"layers\.\d+\.downsample\.|norm\.|{re.escape(OUT_NORMS)}|absolute_pos_embed$", r"\g<0>"),
)
_MM_VIT = _by(
    *_MM_EMBED,
    *_within(r"layers\.(\d+)\.", r"blocks.\1.", _MM_LN),
    (r"ln1\.", "norm."),
    (r"cls_token$|pos_embed$", r"\g<0>"),
)
_MM_HEAD = (r"head\.fc\.", "head.")
_MM_DECODER = _by(
    _MM_HEAD,
    (r"neck\.ln1\.", "decoder_norm."),
    *_within(r"neck\.decoder_blocks\.(\d+)\.", r"decoder_blocks.\1.", _MM_LN),
    (r"neck\.(decoder_(?:embed|pred)\.|decoder_pos_embed$|mask_token$)", r"\1"),
)


def _timm_swin(name: str) -> str:
    """Since version 0.9 a stage begins with its downsample, where it ended with the next one's."""
    name = re.sub(r"^layers\.(\d+)(?=\.downsample\.)", lambda m: f"layers.{int(m[1]) - 1}", name)
    return _head_fc(name)


def _head_fc(name: str) -> str:
    return re.sub(r"^head\.fc\.", "head.", name)


LAYOUTS = (
    Layout("mixmae-bench", prefix="backbone."),
    Layout("official", beside=_head_fc),
    Layout("mmpretrain MixMIM", _MM_MIXMIM, _MM_DECODER, "MixMAESwin", unfolds=True),
    Layout("mmpretrain Swin", _MM_SWIN, _by(_MM_HEAD, (r"neck\.(decoder\.)", r"\1")), "Swin", unfolds=True),
    Layout("mmpretrain MAE", _MM_VIT, _MM_DECODER, "PlainViT"),
    Layout("timm Swin", _timm_swin, _head_fc, "Swin"),
    Layout("timm Swin before 0.9", _head_fc, _head_fc, "Swin"),
)

_EMBED = re.compile(r"((?:\w+\.)*)patch_embed\.(?:proj|projection)\.")
"""What every backbone begins with; in front of it is what holds the backbone."""

_MM = re.compile(r"stages\.\d+\.|.*\b(w_msa|ffn\.layers|ln[12]|projection)\.")
_OFFICIAL = re.compile(r".*\b(mlp\.fc[12]|patch_embed\.proj)\.|layers\.\d+\.blocks\.\d+\.norm[12]\.")
"""Names that only the models of mmcv, and only those of the official code, have within a backbone."""

_BUFFER = re.compile(
    r"(layers|stages)\.\d+\.blocks\.\d+\.(attn_mask|attn\.(w_msa\.)?relative_position_index)"
)
"""Names of the buffers in `RECOMPUTED` within a backbone, in any layout."""

_DENSE = re.compile(r"(\w+_heads?|proposal_generator|class_embed|neck\.\w*convs?)\.")
"""How names begin that only detectors and segmentors have."""

REFUSED = (
    (
        (r"(.*\.)?cpb_mlp\..*",),
        "Swin V2 attends by cosine and computes its biases; no backbone here does",
    ),
    (
        (r"(.*\.)?cls_token", r"(head|fc_norm)\..*"),
        "a fine-tuned ViT reads its class token or normalises after pooling, which PlainViT does not; "
        "convert the pretraining checkpoint",
    ),
)
"""Names that only architectures without a counterpart here have, where nothing else fits, and why."""


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
        buffers: Of every buffer in `RECOMPUTED`.
    """

    kind: Kind
    layout: Layout
    prefix: str
    names: dict[str, str]
    buffers: dict[str, str]


def recognise(names: list[str], known: str = "") -> Match | str:
    """Tell the kind and layout of a checkpoint from the names of its tensors, or say what is near.

    The official buffers that follow from sizes (`RECOMPUTED`) do not count, but for shift masks, which only
    shifted windows have.

    Args:
        names: The names.
        known: Name of the kind, where it is noted in the file.
    """
    prefixes = _prefixes(names)
    if len(prefixes) > 1:
        places = shorten([repr(prefix) for prefix in prefixes])
        return f"it holds several backbones, under {places}; save one of them alone"
    (prefix,) = prefixes
    inside = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    mm, official = ([n for n in names if p.match(inside.get(n, ""))] for p in (_MM, _OFFICIAL))
    buffers = [name for name, bare in inside.items() if _BUFFER.fullmatch(bare)]
    shifts = any(name.endswith("attn_mask") for name in buffers)
    inside = _numbered_norms(inside)
    near = []
    for kind in [kind for kind in KINDS if kind.name == known] or KINDS:
        if shifts and kind.backbone != "Swin":
            continue
        for layout in LAYOUTS:
            if layout.kinds not in (None, kind.backbone):
                continue
            if layout.prefix not in (None, prefix):
                continue
            renamed = {name: _renamed(name, inside, layout, kind) for name in names}
            params = {name: new for name, new in renamed.items() if name not in buffers}
            strangers, missing = kind.unmatched(set(params.values()))
            counts = Counter(params.values())
            twice = [name for name, new in params.items() if counts[new] > 1]
            if not strangers and not missing and not twice:
                return Match(kind, layout, prefix, params, {name: renamed[name] for name in buffers})
            near.append((len(strangers) + len(missing) + len(twice), kind, layout, strangers, missing, twice))
    for patterns, reason in REFUSED:
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return reason
    if mm and official:
        return (
            f"some of its names are those of mmcv's models ({shorten(mm, 1)}) and some those of the official "
            f"ones ({shorten(official, 1)}), which differ in the order of patch merging"
        )
    near.sort(key=lambda candidate: candidate[0])
    candidates = (f"{kind.name} ({layout.name} names)" for _, kind, layout, *_ in near[:2])
    nearest = " or ".join(dict.fromkeys(candidates))
    _, _, _, strangers, missing, twice = near[0]
    reasons = []
    if strangers:
        reasons.append(f"does not know {shorten([name.removeprefix('? ') for name in strangers])}")
    if missing:
        keys = [pattern.replace(r"\d+", "N").replace("\\", "") for pattern in missing]
        reasons.append(f"lacks {shorten(keys)}")
    if twice:
        reasons.append(f"has one place for {shorten(twice)}")
    return f"nearest: {nearest}, which {' and '.join(reasons)}" if reasons else f"nearest: {nearest}"


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
    if layout.name == "mixmae-bench":
        new = official_name(name, kind.rules)
    else:
        new = layout.backbone(inside[name]) if name in inside else None
        new = layout.beside(name) if new is None else kind.prefix + new
    return f"? {name}" if new is None else new


def shorten(names: list[str], most: int = 3) -> str:
    """Write the first few of a list, and how many there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
