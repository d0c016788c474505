"""Data sets: layouts, readers, transforms and checks, and the embedded digits."""
