"""UperNet with MixMAE's Swin-T/W14 on ADE20K at 512 px; not published: a row of `controlled`.

The recipe is that of the Swin-B with less drop path.
"""

_base_ = "./upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px.py"

model = dict(
    backbone=dict(arch="tiny", drop_path_rate=0.1),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
