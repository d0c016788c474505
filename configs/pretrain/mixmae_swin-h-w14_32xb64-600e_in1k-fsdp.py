"""MixMAE pretraining of Swin-H/W14 on ImageNet-1K, 600 epochs, sharded over the GPUs.

Recipe: that of mixmae_swin-h-w14_32xb64-600e_in1k.py. No result is published. Weights, gradients and AdamW's
state are 16 bytes per parameter, 10 GB in all; each of the 32 GPUs holds a 32nd of them.
"""

_base_ = ["./mixmae_swin-h-w14_32xb64-600e_in1k.py", "../_base_/strategies/fsdp.py"]
