"""Evaluation of ImageNet-1K classifiers on shifted, relabelled and corrupted images."""
