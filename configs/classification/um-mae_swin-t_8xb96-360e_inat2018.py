"""UM-MAE Swin-T fine-tuned on iNaturalist 2018 at 224 px; not published.

Chosen: DeiT's recipe (facebookresearch/deit issue 105: batch 768, 360 epochs), which starts from a
classifier of ImageNet: so should this one. Windows of 14, which divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/inat2018_224.py",
    "../_base_/schedules/finetune_inat_360e_bs768.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(window_size=14), head=dict(num_classes=8142))
train_dataloader = dict(batch_size=96)
