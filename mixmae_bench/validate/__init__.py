"""Validate configs: train and evaluate each one on a tiny data set, with a narrow copy of its model."""
