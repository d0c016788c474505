"""Names of the official repositories' parameters and of ours, in both directions.

Every rule is a pair of prefixes, official and ours; the first that fits a name is applied, so the longer
ones come first. Shapes and values are the same on both sides.
"""

MIXMAE_PRETRAIN = (("mask_token", "decoder.mask_token"), ("decoder_", "decoder."), ("", "backbone."))
SIMMIM_PRETRAIN = (
    ("encoder.mask_token", "mask_token"),
    ("encoder.", "backbone."),
    ("decoder.0.", "decoder."),
)
UMMAE_PRETRAIN = (
    ("vis_mask_token", "vis_mask_token"),
    ("mask_token", "decoder.mask_token"),
    ("decoder_", "decoder."),
    ("", "backbone."),
)
UM_SIMMIM_PRETRAIN = (("mask_token", "mask_token"), ("decoder_pred.", "pred."), ("", "backbone."))
CLASSIFIER = (("head.", "head.fc."), ("", "backbone."))
UM_CLASSIFIER = (("fc_norm.", "neck.norm."), *CLASSIFIER)

RECOMPUTED = ("relative_position_index", "attn_mask")
"""Last parts of the names of official buffers that follow from the sizes; ours are built, never loaded."""


def our_name(official: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Return our name of an official parameter."""
    theirs, ours = next(rule for rule in rules if official.startswith(rule[0]))
    return ours + official.removeprefix(theirs)
