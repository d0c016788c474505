"""The official repositories' kinds of checkpoints: what keys they hold, and our names of the same parameters.

A rule is a pair of prefixes, official and ours; the first that fits a name is applied, so the longer ones
come first. Shapes and values are the same on both sides.
"""

import re
from dataclasses import dataclass

Rules = tuple[tuple[str, str], ...]

MIXMAE_PRETRAIN: Rules = (("mask_token", "decoder.mask_token"), ("decoder_", "decoder."), ("", "backbone."))
SIMMIM_PRETRAIN: Rules = (
    ("encoder.mask_token", "mask_token"),
    ("encoder.", "backbone."),
    ("decoder.0.", "decoder."),
)
UMMAE_PRETRAIN: Rules = (
    ("vis_mask_token", "vis_mask_token"),
    ("mask_token", "decoder.mask_token"),
    ("decoder_", "decoder."),
    ("", "backbone."),
)
UM_SIMMIM_PRETRAIN: Rules = (("mask_token", "mask_token"), ("decoder_pred.", "pred."), ("", "backbone."))
CLASSIFIER: Rules = (("head.", "head.fc."), ("", "backbone."))
UM_CLASSIFIER: Rules = (("fc_norm.", "neck.norm."), *CLASSIFIER)

OUT_NORMS = "out_norms."
"""Prefix of the norms of stages before the last, which dense tasks add: no official code has them."""


def our_name(official: str, rules: Rules) -> str:
    """Return our name of an official parameter."""
    theirs, ours = next(rule for rule in rules if official.startswith(rule[0]))
    return ours + official.removeprefix(theirs)


def official_name(ours: str, rules: Rules) -> str | None:
    """Return the official name of a parameter of ours, or None where no rule fits."""
    for theirs, prefix in rules:
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    return None


@dataclass(frozen=True)
class Kind:
    """A kind of official checkpoint.

    Attributes:
        name: What it is.
        source: The official repository.
        fits: Our model: a method, or a classifier around a backbone (the backbone alone where no head is
            there).
        backbone: Our backbone.
        rules: Names, official and ours.
        keys: Patterns of the official names; every one is there.
        maybe: Patterns of names that need not be there.
    """

    name: str
    source: str
    fits: str
    backbone: str
    rules: Rules
    keys: tuple[str, ...]
    maybe: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What is in front of the official names of the backbone."""
        return next(theirs for theirs, ours in self.rules if ours == "backbone.")

    def unmatched(self, names: set[str]) -> tuple[list[str], list[str]]:
        """Return the names that no pattern fits, and the patterns that must and do not fit any name."""
        keys = [re.compile(pattern) for pattern in self.keys]
        known = keys + [re.compile(pattern) for pattern in self.maybe]
        strangers = [name for name in names if not any(pattern.fullmatch(name) for pattern in known)]
        missing = [p.pattern for p in keys if not any(p.fullmatch(name) for name in names)]
        return sorted(strangers), missing


_BOTH = r"\.(weight|bias)"
_NORM = rf"norm{_BOTH}"
_EMBED = rf"patch_embed\.(proj|norm){_BOTH}"
_BARE_EMBED = rf"patch_embed\.proj{_BOTH}"
_HEAD = rf"head{_BOTH}"
_BLOCK_PARTS = rf"(norm1|norm2|attn\.proj|mlp\.fc1|mlp\.fc2){_BOTH}"
_QKV = rf"attn\.qkv{_BOTH}"
_DECODER = (
    "mask_token",
    "decoder_pos_embed",
    rf"decoder_(embed|norm|pred){_BOTH}",
    rf"decoder_blocks\.\d+\.({_BLOCK_PARTS}|{_QKV})",
)


def _window(prefix: str = "") -> tuple[str, ...]:
    """Patterns of the names of a Swin with bias tables."""
    block = rf"{prefix}layers\.\d+\.blocks\.\d+\."
    return (
        prefix + _EMBED,
        prefix + _NORM,
        rf"{block}({_BLOCK_PARTS}|{_QKV})",
        rf"{block}attn\.relative_position_bias_table",
        rf"{prefix}layers\.0\.downsample\.reduction\.weight",
        rf"{prefix}layers\.\d+\.downsample\.(norm{_BOTH}|reduction\.weight)",
    )


_UM_SWIN = (
    _EMBED,
    rf"blocks\.\d+\.({_BLOCK_PARTS}|{_QKV})",
    rf"blocks\.\d+\.attn\.posmlp\.[02]{_BOTH}",
    rf"blocks\.\d+\.downsample\.(norm|proj){_BOTH}",
)
_UM_PVT = (
    "pos_embed",
    _BARE_EMBED,
    rf"blocks\.\d+\.{_BLOCK_PARTS}",
    rf"blocks\.\d+\.attn\.(q|kv|sr|norm){_BOTH}",
    rf"blocks\.\d+\.downsample\.proj{_BOTH}",
)
_VIT = ("cls_token", "pos_embed", _BARE_EMBED, _NORM, rf"blocks\.\d+\.({_BLOCK_PARTS}|{_QKV})")
_MIXMIM, _SIMMIM, _UM = "Sense-X/MixMIM", "microsoft/SimMIM", "implus/UM-MAE"
_MAE = "facebookresearch/mae"
_APE = "absolute_pos_embed"
_OUT_NORM = rf"{OUT_NORMS}\d+{_BOTH}"

KINDS = (
    Kind(
        "MixMAE pretraining",
        _MIXMIM,
        "MixMAE",
        "MixMAESwin",
        MIXMAE_PRETRAIN,
        (*_window(), _APE, *_DECODER),
    ),
    Kind(
        "MixMAE fine-tuning",
        _MIXMIM,
        "ImageClassifier",
        "MixMAESwin",
        CLASSIFIER,
        (*_window(), _APE),
        (_HEAD, _OUT_NORM),
    ),
    Kind(
        "SimMIM pretraining",
        _SIMMIM,
        "SimMIM",
        "Swin",
        SIMMIM_PRETRAIN,
        (*_window("encoder."), r"encoder\.mask_token", rf"decoder\.0{_BOTH}"),
        (rf"encoder\.{_APE}",),
    ),
    # As Microsoft's and timm's Swin. One with a position table is told from MixMAE's by its shift masks:
    # MixMAE's windows do not shift.
    Kind(
        "Swin fine-tuning",
        _SIMMIM,
        "ImageClassifier",
        "Swin",
        CLASSIFIER,
        _window(),
        (_APE, _HEAD, _OUT_NORM),
    ),
    Kind(
        "UM-MAE pretraining, Swin",
        _UM,
        "UMMAE",
        "UMSwin",
        UMMAE_PRETRAIN,
        (*_UM_SWIN, _NORM, *_DECODER),
        ("vis_mask_token",),
    ),
    Kind(
        "UM-MAE pretraining, PVT",
        _UM,
        "UMMAE",
        "UMPVT",
        UMMAE_PRETRAIN,
        (*_UM_PVT, _NORM, *_DECODER),
        ("vis_mask_token",),
    ),
    Kind(
        "UM-MAE or MAE pretraining, ViT",
        _UM,
        "UMMAEViT",
        "PlainViT",
        UMMAE_PRETRAIN,
        (*_VIT, *_DECODER),
        ("vis_mask_token",),
    ),
    Kind(
        "UM-MAE's SimMIM pretraining, Swin",
        _UM,
        "UMSimMIM",
        "UMSwin",
        UM_SIMMIM_PRETRAIN,
        (*_UM_SWIN, _NORM, "mask_token", rf"decoder_pred{_BOTH}"),
    ),
    Kind(
        "UM-MAE's SimMIM pretraining, PVT",
        _UM,
        "UMSimMIM",
        "UMPVT",
        UM_SIMMIM_PRETRAIN,
        (*_UM_PVT, _NORM, "mask_token", rf"decoder_pred{_BOTH}"),
    ),
    Kind(
        "UM-MAE fine-tuning, Swin",
        _UM,
        "ImageClassifier",
        "UMSwin",
        UM_CLASSIFIER,
        _UM_SWIN,
        (_NORM, rf"fc_norm{_BOTH}", _HEAD, _OUT_NORM),
    ),
    Kind(
        "UM-MAE fine-tuning, PVT",
        _UM,
        "ImageClassifier",
        "UMPVT",
        UM_CLASSIFIER,
        _UM_PVT,
        (_NORM, rf"fc_norm{_BOTH}", _HEAD, _OUT_NORM),
    ),
    # What MAE's authors publish for fine-tuning: no decoder, no head.
    Kind("MAE encoder, ViT", _MAE, "ImageClassifier", "PlainViT", CLASSIFIER, _VIT),
)
