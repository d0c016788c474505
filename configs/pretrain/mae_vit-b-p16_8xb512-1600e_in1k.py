"""MAE pretraining of ViT-B on ImageNet-1K: mmpretrain's own implementation and recipe (arXiv 2111.06377).

Published: 83.6 % top-1 after fine-tuning (table 3). The row of a plain ViT beside the hierarchical ones;
`mixmae-bench convert` brings its checkpoints to `PlainViT`.
"""

_base_ = ["mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py"]
