"""UM-MAE Swin-T fine-tuned on iNaturalist 2019 at 224 px; not published.

Chosen here: DeiT's recipe (facebookresearch/deit issue 105: batch 768, 360 epochs), which starts from an
ImageNet classifier, as this config should. The windows are 14 wide and divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t-w14.py",
    "../_base_/datasets/inat2019_224.py",
    "../_base_/schedules/finetune_inat_360e_bs768.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=1010))
