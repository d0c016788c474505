"""Records of runs, published values, their metrics and statistics. Does not import torch."""
