"""ImageNet-1K for pretraining at 192 px, as SimMIM (microsoft/SimMIM at d3e29bc).

mmpretrain's pipeline has the same crops, but resizes with OpenCV. It also draws masks, which the methods here
do themselves.
"""

_base_ = "./imagenet_pretrain_256.py"

train_pipeline = _base_.train_pipeline
train_pipeline[1].update(scale=192, crop_ratio_range=(0.67, 1.0), interpolation="bilinear")
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
