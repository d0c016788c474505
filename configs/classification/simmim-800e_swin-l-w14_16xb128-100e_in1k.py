"""SimMIM Swin-L with windows of 14, pretrained for 800 epochs, fine-tuned on ImageNet-1K at 224 px.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 85.4 % top-1 (its README).
"""

_base_ = "./simmim-800e_swin-b-w7_16xb128-100e_in1k.py"

model = dict(
    backbone=dict(arch="large", window_size=14, drop_path_rate=0.2),
    head=dict(in_channels=1536),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7))
