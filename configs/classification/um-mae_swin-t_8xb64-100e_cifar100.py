"""UM-MAE Swin-T fine-tuned on CIFAR-100, enlarged to 224 px; not published.

Chosen here: MAE's fine-tuning on ImageNet, with half the batch and the method's own layer decay (0.85). The
windows are 14 wide and divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t-w14.py",
    "../_base_/datasets/cifar100_224.py",
    "../_base_/schedules/finetune_100e_bs512.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
