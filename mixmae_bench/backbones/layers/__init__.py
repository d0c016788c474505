"""Building blocks used by several backbones."""
