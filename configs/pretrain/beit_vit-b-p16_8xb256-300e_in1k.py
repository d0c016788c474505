"""BEiT pretraining of ViT-B on ImageNet-1K: mmpretrain's own code and recipe (arXiv 2106.08254).

In bfloat16 instead of float16, with targets in float32. Published: 83.2 % top-1 after fine-tuning (BEiT's
abstract). The tokenizer is DALL-E's: put mmpretrain's file at `data/dalle_encoder.pth` (mmpretrain's config
states its address), or set `model.target_generator.init_cfg.checkpoint`. `mixmae-bench convert` converts its
checkpoints to timm's `beit_base_patch16_224`.
"""

_base_ = "mmpretrain::beit/beit_beit-base-p16_8xb256-amp-coslr-300e_in1k.py"

custom_imports = dict(imports=["mixmae_bench"])
train_dataloader = dict(
    # Replaced, because mmengine would pass the `_scope_` of mmpretrain's dict to the function.
    collate_fn=dict(_delete_=True, type="default_collate"),
    # The base names a list of images; class folders need none.
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.ImageNet",
        data_root=_base_.data_root,
        split="train",
        pipeline=[dict(type="mixmae_bench.LoadImage"), *_base_.train_pipeline[1:]],
    ),
)
model = dict(
    target_generator=dict(
        type="mixmae_bench.DALLETokenizer", init_cfg=dict(checkpoint="data/dalle_encoder.pth")
    )
)
_base_.optim_wrapper.pop("loss_scale")  # of float16
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper")
