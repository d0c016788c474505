"""UperNet with MixMAE Swin-L/W14 on ADE20K at 640 px; recipe not published.

Chosen here: Swin-B's recipe at 512 px, with a drop path of 0.3. The best result of MixMAE on ADE20K listed
by any page is 53.8 mIoU; its backbone and image size are not named.
"""

_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/backbones/mixmae_swin-l-w14.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.3),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
train_dataloader = dict(batch_size=1)
