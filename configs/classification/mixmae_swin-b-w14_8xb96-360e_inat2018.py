"""MixMAE Swin-B/W14 fine-tuned on iNaturalist 2018 at 224 px; not published.

Chosen: DeiT's recipe (facebookresearch/deit issue 105: batch 768, 360 epochs), which starts from a
classifier of ImageNet: so should this one.
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b.py",
    "../_base_/datasets/inat2018_224.py",
    "../_base_/schedules/finetune_inat_360e_bs768.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=8142))
train_dataloader = dict(batch_size=96)
