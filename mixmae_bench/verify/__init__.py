"""Comparing this package with recorded outputs of the official implementations, tensor by tensor."""
