"""Official parameter names and ours, and patterns of names used by several models."""

import re

Rules = tuple[tuple[str, str], ...]
"""Pairs of prefixes (official, ours). The first matching pair is applied, so longer prefixes come first."""

CLASSIFIER: Rules = (("head.", "head.fc."), ("", "backbone."))
POOL_NORM_CLASSIFIER: Rules = (("fc_norm.", "neck.norm."), *CLASSIFIER)
"""Rules for classifiers, and for classifiers that pool before the norm (U8)."""

OUT_NORMS = "out_norms."
"""Prefix of the norms of stages before the last. Dense tasks add them; official code does not have them."""

BOTH = r"\.(weight|bias)"
NORM = rf"norm{BOTH}"
PROJECTION = rf"patch_embed\.proj{BOTH}"
EMBED = rf"patch_embed\.(proj|norm){BOTH}"
BLOCK_PARTS = rf"(norm1|norm2|attn\.proj|mlp\.fc1|mlp\.fc2){BOTH}"
QKV = rf"attn\.qkv{BOTH}"
HEAD = rf"head{BOTH}"
FC_NORM = rf"fc_norm{BOTH}"
OUT_NORM = rf"{re.escape(OUT_NORMS)}\d+{BOTH}"


def our_name(official: str, rules: Rules) -> str:
    """Return our name of an official parameter."""
    theirs, ours = next(rule for rule in rules if official.startswith(rule[0]))
    return ours + official.removeprefix(theirs)


def official_name(ours: str, rules: Rules) -> str | None:
    """Return the official name of one of our parameters, or None if no rule matches."""
    for theirs, prefix in rules:
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    return None
