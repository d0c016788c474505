"""Conversion of checkpoints from other code bases, and to the official ones."""
