"""Names that this project has used for the same thing: one table, so that finished work stays finished.

A run is known by a hash of its config (`mixmae_bench.suite.identity`), which is computed under the names on
the right. Whoever renames a config key or a type adds the other name on the left. A name on the right never
changes.
"""

KEYS = {
    "cell": "mask_patch_size",
    "secondary_ratio": "secondary_mask_ratio",
    "norm_pix": "norm_pix_loss",
}
"""Keys of configs whose `type` is one of this package."""

TYPES: dict[str, str] = {}
"""Types of this package, without `mixmae_bench.`."""


def with_new_names(node: object) -> tuple[object, set[str]]:
    """Return a config's node with today's names of keys, and the old names that were replaced.

    Only dicts whose `type` is one of this package are renamed.
    """
    if isinstance(node, list | tuple):
        parts = [with_new_names(part) for part in node]
        return type(node)(own for own, _ in parts), set().union(*(old for _, old in parts))
    if not isinstance(node, dict):
        return node, set()
    ours = str(node.get("type")).startswith("mixmae_bench.")
    renamed, found = {}, {key for key in node if ours and key in KEYS}
    for key, value in node.items():
        renamed[KEYS[key] if key in found else key], inside = with_new_names(value)
        found |= inside
    return type(node)(renamed), found


def with_old_names(node: object) -> object:
    """Return a config's node under the names that hashes of whole configs have always been computed with."""
    if isinstance(node, list | tuple):
        return type(node)(with_old_names(part) for part in node)
    if not isinstance(node, dict):
        return node
    names = OLD_KEYS if str(node.get("type")).startswith("mixmae_bench.") else {}
    return {names.get(key, key): with_old_names(value) for key, value in node.items()}


OLD_KEYS = {new: old for old, new in KEYS.items()}


def canonical_type(name: str) -> str:
    """Return the name under which a type is hashed; those of other packages stay as they are.

    A type of this package may be named by the registry (`mixmae_bench.Swin`) or by its module
    (`mixmae_bench.backbones.swin.Swin`): modules do not count.
    """
    package, _, own = name.partition(".")
    if package != "mixmae_bench" or not own:
        return name
    own = own.rpartition(".")[2]
    return f"mixmae_bench.{TYPES.get(own, own)}"


def canonical_key(key: str, type_: str | None) -> str:
    """Return the name under which a key of a config with this (canonical) type is hashed."""
    return KEYS.get(key, key) if type_ and type_.startswith("mixmae_bench.") else key
