"""Checkpoints of other code bases: recognised by their keys, renamed, permuted, and back again."""
