"""Proof that a config runs: everything of it on a tiny data set, on a narrow copy of its model."""
