"""Table of renamed config keys and types, so that hashes of finished runs stay valid.

A run is identified by a hash of its config (`mixmae_bench.suite.identity`), computed with the names on the
right. When you rename a config key or a type, add the other name on the left. Names on the right never
change.
"""

KEYS = {
    "cell": "mask_patch_size",
    "secondary_ratio": "secondary_mask_ratio",
    "norm_pix": "norm_pix_loss",
}
"""Keys of config dicts with a `type` of this package."""

SETTINGS = {"max_unreadable": "max_corrupt_images"}
"""Top-level keys of configs. The identity of a run does not depend on them."""

OLD_KEYS = {new: old for old, new in KEYS.items()}

TYPES: dict[str, str] = {}
"""Types of this package, without `mixmae_bench.`."""


def settings_renamed(content: dict) -> tuple[dict, set[str]]:
    """Return the content of a config with current top-level keys, and the set of replaced ones."""
    return {SETTINGS.get(key, key): value for key, value in content.items()}, SETTINGS.keys() & content.keys()


def with_new_names(node: object) -> tuple[object, set[str]]:
    """Return a config's node with current key names, and the set of old names that were replaced.

    Only keys of dicts with a `type` of this package are renamed.
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
    """Return a config's node with the old key names, which hashes of whole configs are computed with."""
    if isinstance(node, list | tuple):
        return type(node)(with_old_names(part) for part in node)
    if not isinstance(node, dict):
        return node
    names = OLD_KEYS if str(node.get("type")).startswith("mixmae_bench.") else {}
    return {names.get(key, key): with_old_names(value) for key, value in node.items()}


def canonical_type(name: str) -> str:
    """Return the name under which a type is hashed; types of other packages are returned unchanged.

    A type of this package may be given by its registry name (`mixmae_bench.Swin`) or by its module path
    (`mixmae_bench.backbones.swin.Swin`); both give the same name.
    """
    package, _, own = name.partition(".")
    if package != "mixmae_bench" or not own:
        return name
    own = own.rpartition(".")[2]
    return f"mixmae_bench.{TYPES.get(own, own)}"


def canonical_key(key: str, type_: str | None) -> str:
    """Return the name under which a key of a config dict with the given canonical type is hashed."""
    return KEYS.get(key, key) if type_ and type_.startswith("mixmae_bench.") else key
