"""MAE pretraining of ViT-B on ImageNet-1K: mmpretrain's own implementation and recipe (arXiv 2111.06377).

In bfloat16 instead of float16. Published: 83.6 % top-1 after fine-tuning (table 3). This is the row of a
plain ViT beside the hierarchical ones; `mixmae-bench convert` converts its checkpoints to `PlainViT`.
"""

_base_ = [
    "mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py",
    "../_base_/datasets/imagenet_mae_224.py",
]

custom_imports = dict(imports=["mixmae_bench"])
train_dataloader = _base_.pop("mae_dataloader")
optim_wrapper = dict(
    _delete_=True,
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(decay_mult=0.0) for name in ("ln", "bias", "pos_embed", "mask_token", "cls_token")
        }
    ),
)
