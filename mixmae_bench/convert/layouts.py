"""Other names for the same parameters: ours, mmpretrain's and timm's, each brought to the official ones."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from mixmae_bench.convert.official import KINDS, Kind, official_name

Rename = Callable[[str, Kind], str | None]


@dataclass(frozen=True)
class Layout:
    """A way to name the parameters of the official kinds.

    Attributes:
        name: Whose.
        rename: Gives the official name of a kind's parameter; None where there is none.
        backbone: Ours whose kinds it names; None where it names all.
        unfolds: Whether patch merging takes its four neighbours channel by channel, as mmcv's unfold, instead
            of neighbour by neighbour (M3).
    """

    name: str
    rename: Rename
    backbone: str | None = None
    unfolds: bool = False


def _openmmlab(*rules: tuple[str, str]) -> Rename:
    """Rename the parameters of a model with backbone, neck and head by regular expressions, one by one."""

    def rename(name: str, kind: Kind) -> str | None:
        if not name.startswith(("backbone.", "neck.", "head.")):
            return None
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        return name

    return rename


_MM_BLOCKS = (
    (r"\.ln([12])\.", r".norm\1."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"^head\.fc\.", "head."),
)
_MM_DECODER = ((r"^neck\.ln1\.", "decoder_norm."), (r"^neck\.", ""))
_MM_SWIN = (
    *_MM_BLOCKS,
    (r"\.stages\.", ".layers."),
    (r"\.w_msa\.", "."),
    (r"^backbone\.norm3\.", "backbone.norm."),
    (r"^backbone\.norm([012])\.", r"backbone.out_norms.\1."),
)

_MM_SWIN_CLASSIFIER = _openmmlab(*_MM_SWIN, (r"^backbone\.", ""))

LAYOUTS = (
    Layout("official", lambda name, kind: name),
    Layout("mixmae-bench", lambda name, kind: official_name(name, kind.rules)),
    Layout(
        "mmpretrain MixMIM",
        _openmmlab(*_MM_DECODER, *_MM_BLOCKS, (r"^backbone\.", "")),
        "MixMAESwin",
        unfolds=True,
    ),
    Layout(
        "mmpretrain SimMIM",
        _openmmlab(*_MM_SWIN, (r"^backbone\.", "encoder."), (r"^neck\.", "")),
        "Swin",
        unfolds=True,
    ),
    Layout("mmpretrain Swin", _MM_SWIN_CLASSIFIER, "Swin", unfolds=True),
    Layout(
        "bare mmdet Swin",
        lambda name, kind: _MM_SWIN_CLASSIFIER(f"backbone.{name}", kind),
        "Swin",
        unfolds=True,
    ),
    Layout(
        "mmpretrain MAE",
        _openmmlab(
            *_MM_DECODER,
            (r"^backbone\.layers\.", "backbone.blocks."),
            (r"^backbone\.ln1\.", "backbone.norm."),
            *_MM_BLOCKS,
            (r"^backbone\.", ""),
        ),
        "PlainViT",
    ),
    # Since version 0.9 a stage begins with its downsample, where it ended with the next one's.
    Layout(
        "timm Swin",
        lambda name, kind: re.sub(
            r"^layers\.(\d+)(?=\.downsample\.)", lambda m: f"layers.{int(m[1]) - 1}", name
        ).replace("head.fc.", "head."),
        "Swin",
    ),
)


_BUFFER = re.compile(
    r"(encoder\.|backbone\.)?(layers|stages)\.\d+\.blocks\.\d+"
    r"\.(attn_mask|attn\.(w_msa\.)?relative_position_index)"
)
"""Names of the buffers in `RECOMPUTED`, in any layout."""

_DENSE = re.compile(r"(rpn_head|roi_head|bbox_head|mask_head|decode_head|auxiliary_head)\.")
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
    return [name for name in names if _DENSE.match(name) or name.startswith("neck.")]


@dataclass(frozen=True)
class Match:
    """A checkpoint's kind and layout, and the official name of every parameter, by its own name."""

    kind: Kind
    layout: Layout
    names: dict[str, str]


def recognise(names: list[str], known: str = "") -> Match | str:
    """Tell the kind and layout of a checkpoint from the names of its tensors, or say what is near.

    The official buffers that follow from sizes (`RECOMPUTED`) do not count, but for shift masks, which only
    shifted windows have.

    Args:
        names: The names.
        known: Name of the kind, where it is noted in the file.
    """
    buffers = [name for name in names if _BUFFER.fullmatch(name)]
    shifts = any(name.endswith("attn_mask") for name in buffers)
    near = []
    for kind in [kind for kind in KINDS if kind.name == known] or KINDS:
        if shifts and kind.backbone != "Swin":
            continue
        for layout in LAYOUTS:
            if layout.backbone not in (None, kind.backbone):
                continue
            renamed = {
                name: layout.rename(name, kind) or f"? {name}" for name in names if name not in buffers
            }
            strangers, missing = kind.unmatched(set(renamed.values()))
            if not strangers and not missing and len(set(renamed.values())) == len(renamed):
                return Match(kind, layout, renamed)
            near.append((len(strangers) + len(missing), kind, layout, strangers, missing))
    for patterns, reason in REFUSED:
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return reason
    near.sort(key=lambda candidate: candidate[0])
    candidates = (f"{kind.name} ({layout.name} names)" for _, kind, layout, *_ in near[:2])
    nearest = " or ".join(candidates)
    _, _, _, strangers, missing = near[0]
    reasons = []
    if strangers:
        reasons.append(f"does not know {shorten([name.removeprefix('? ') for name in strangers])}")
    if missing:
        keys = [pattern.replace(r"\d+", "N").replace("\\", "") for pattern in missing]
        reasons.append(f"lacks {shorten(keys)}")
    return f"nearest: {nearest}, which {' and '.join(reasons)}" if reasons else f"nearest: {nearest}"


def shorten(names: list[str], most: int = 3) -> str:
    """Write the first few of a list, and how many there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
