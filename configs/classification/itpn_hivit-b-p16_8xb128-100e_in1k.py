"""iTPN's HiViT-B fine-tuned on ImageNet-1K at 224 px.

Chosen here: the same recipe as for MAE on HiViT. Published: 85.5 % top-1, by another recipe
(sunsmarterjie/iTPN). `mixmae-bench convert` converts mmpretrain's checkpoints to this backbone.
"""

_base_ = "./mae_hivit-b-p16_8xb128-100e_in1k.py"
