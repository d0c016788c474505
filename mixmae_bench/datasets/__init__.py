"""Data sets: how they are laid out, read, transformed and checked, and the embedded digits."""
