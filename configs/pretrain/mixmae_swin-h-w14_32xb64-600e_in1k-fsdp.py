"""MixMAE pretraining of Swin-H/W14 on ImageNet-1K, 600 epochs, sharded over the GPUs.

Recipe: that of mixmae_swin-h-w14_32xb64-600e_in1k.py, with no result published either. Weights, gradients and
AdamW's state, 16 bytes per parameter, take a 32nd of their 10 GB on each of 32 GPUs.
"""

_base_ = ["mixmae_swin-h-w14_32xb64-600e_in1k.py", "../_base_/strategies/fsdp.py"]
