"""SimMIM pretraining of Swin-L on ImageNet-1K, 800 epochs.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 85.4 % top-1 after fine-tuning at
224 px (the repository's README).
"""

_base_ = "./simmim_swin-b-w6_16xb128-800e_in1k-192px.py"

model = dict(backbone=dict(arch="large", window_size=12))
