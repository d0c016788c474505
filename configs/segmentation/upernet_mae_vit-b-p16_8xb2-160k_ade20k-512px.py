"""UperNet with MAE ViT-B on ADE20K at 512 px: mmseg's own recipe and backbone.

Published: 48.13 mIoU (mmseg's configs/mae). Its backbone takes mmpretrain's checkpoints of MAE, not
`PlainViT`'s.
"""

_base_ = "mmseg::mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py"

custom_imports = dict(imports=["mixmae_bench"])
data_root = "data/ADEChallengeData2016"
model = dict(pretrained=None)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=16)
