"""One timm model of each family that is validated in all tasks, and arguments that make it small."""

FAMILIES: dict[str, dict] = {
    "swin_tiny_patch4_window7_224": dict(embed_dim=24, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4)),
    "swinv2_tiny_window8_256": dict(embed_dim=24, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4)),
    "hiera_tiny_224": dict(embed_dim=24, num_heads=1, stages=(1, 1, 2, 1)),
    "convnext_small": dict(depths=(1, 2, 1, 1), dims=(16, 32, 48, 64)),
    "convnextv2_atto.fcmae": dict(depths=(1, 2, 1, 1), dims=(16, 32, 48, 64)),
    "pvt_v2_b0": dict(depths=(1, 2, 1, 1), embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 3, 4)),
    "maxvit_tiny_tf_224": dict(stem_width=16, embed_dim=(32, 32, 64, 64), depths=(1, 2, 1, 1)),
    "hrnet_w18_small": {},
    "resnet18": dict(layers=(1, 2, 1, 1), channels=(16, 32, 48, 64)),
    "resnet50": dict(layers=(1, 2, 1, 1), channels=(8, 16, 24, 32)),
    "beit_base_patch16_224": dict(embed_dim=64, depth=2, num_heads=2),
    "vit_base_patch16_224.mae": dict(embed_dim=64, depth=2, num_heads=2),
}
"""Arguments of timm's models by name. HRNet has none for its size; this one is the smallest."""
