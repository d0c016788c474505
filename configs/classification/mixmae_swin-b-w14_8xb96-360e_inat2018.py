"""MixMAE Swin-B/W14 fine-tuned on iNaturalist 2018 at 224 px; not published.

Chosen here: DeiT's recipe (facebookresearch/deit issue 105: batch 768, 360 epochs), which starts from an
ImageNet classifier, as this config should.
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b-w14.py",
    "../_base_/datasets/inat2018_224.py",
    "../_base_/schedules/finetune_inat_360e_bs768.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=8142))
