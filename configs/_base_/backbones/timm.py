"""Any model of timm: replace `model` by its name."""

backbone = dict(type="mixmae_bench.TimmBackbone", model="vit_base_patch16_224.mae")
