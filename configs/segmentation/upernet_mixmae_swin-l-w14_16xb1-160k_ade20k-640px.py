"""UperNet with MixMAE Swin-L/W14 on ADE20K at 640 px; recipe not published.

Chosen: as for Swin-B at 512 px, with a drop path of 0.3. (53.8 mIoU is the best that any page lists for
MixMAE on ADE20K, backbone and size not named.)
"""

_base_ = [
    "mmseg::_base_/models/upernet_swin.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.MixMAESwin",
        arch="large",
        img_size=224,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536], num_classes=150),
    auxiliary_head=dict(in_channels=768, num_classes=150),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
train_dataloader = dict(batch_size=1)
