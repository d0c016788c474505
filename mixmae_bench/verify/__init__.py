"""Comparison of this package with recorded outputs of the official implementations."""
