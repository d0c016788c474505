"""UperNet with BEiT's ViT-B on ADE20K at 512 px.

Recipe: that of any timm model here. Published: 47.1 mIoU, by another recipe (a table of sunsmarterjie/iTPN).
"""

_base_ = "./upernet_timm_8xb2-160k_ade20k-512px.py"

model = dict(
    backbone=dict(
        model="beit_base_patch16_224",
        model_args=dict(global_pool="token", use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    )
)
