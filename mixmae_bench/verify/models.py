"""Building the model of a case from the arguments of the official constructor."""

from torch import Tensor, nn

from mixmae_bench.convert import official
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.neck import PoolNorm
from mixmae_bench.verify.case import Case

NO_EFFECT = {"qk_scale", "use_checkpoint", "num_classes", "encoder_stride", "norm_layer", "stride"}
"""Official arguments without effect (M11), or fixed by the others; `num_classes` is read by `Classifier`."""

ONLY = dict(
    in_chans=3, qkv_bias=True, patch_norm=True, drop_rate=0.0, attn_drop_rate=0.0, range_mask_ratio=0.0
)
"""Official arguments that this package has no counterpart for: a case may only repeat these values."""


class Classifier(nn.Module):
    """Encoder, mean over tokens, for UM-MAE a norm (U8), linear head."""

    def __init__(self, backbone: dict, num_classes: int, norm_after_pool: bool) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        channels = self.backbone.out_channels[-1]
        self.neck = PoolNorm(channels) if norm_after_pool else None
        self.head = nn.ModuleDict({"fc": nn.Linear(channels, num_classes)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(images)
        tokens = maps[-1].flatten(2).transpose(1, 2)
        out = {"final_norm": tokens, "pooled": tokens.mean(dim=1)}
        if self.neck is not None:
            (out["fc_norm"],) = self.neck(maps)
        out["logits"] = self.head["fc"](out.get("fc_norm", out["pooled"]))
        return out


def build(case: Case) -> tuple[nn.Module, tuple[tuple[str, str], ...]]:
    """Build the model of a case, and say how its official names map to ours.

    Raises:
        UserError: Where this package has no counterpart for the official file or an argument.
    """
    if case.family not in FAMILIES:
        raise UserError(f"case {case.name}: no counterpart here for {case.info['official']['file']}")
    arguments = Arguments(case)
    model, rules = FAMILIES[case.family](case, arguments)
    arguments.check_all_read()
    return model.eval(), rules


class Arguments:
    """The arguments of an official constructor; one that nobody reads is an error."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.given = dict(case.info["constructor"])
        self.read: set[str] = set()

    def __call__(self, name: str, default: object = None) -> object:
        self.read.add(name)
        value = self.given.get(name, default)
        if value is None:
            raise UserError(f"case {self.case.name}: the constructor argument '{name}' is needed")
        return value

    def some(self, *names: str) -> dict:
        return {name: self(name) for name in names}

    def check_all_read(self) -> None:
        for name in set(self.given) - self.read - NO_EFFECT:
            if name not in ONLY or self.given[name] != ONLY[name]:
                raise UserError(f"case {self.case.name}: no counterpart here for {name}={self.given[name]!r}")


def _mixmae_backbone(a: Arguments) -> dict:
    a("ape", False)  # accepted and ignored by the official code (M11)
    return dict(
        type="mixmae_bench.MixMAESwin",
        arch=a.some("embed_dim", "depths", "num_heads", "window_size"),
        img_size=a("img_size"),
        patch_size=a("patch_size", 4),
        mlp_ratio=a("mlp_ratio", 4.0),
        drop_path_rate=a("drop_path_rate", 0.0),
    )


def _swin_backbone(a: Arguments) -> dict:
    return dict(
        type="mixmae_bench.Swin",
        arch=a.some("embed_dim", "depths", "num_heads"),
        window_size=a("window_size"),
        img_size=a("img_size"),
        patch_size=a("patch_size", 4),
        mlp_ratio=a("mlp_ratio", 4.0),
        drop_path_rate=a("drop_path_rate", 0.0),
        ape=a("ape", False),
    )


def _um_backbone(case: Case, a: Arguments) -> dict:
    common = dict(
        img_size=a("img_size"), patch_size=a("patch_size", 4), drop_path_rate=a("drop_path_rate", 0.0)
    )
    if case.info["family"] == "swin":
        arch = {**a.some("embed_dim", "depths", "num_heads"), "posmlp_dim": a("posmlp_dim", 32)}
        rest = dict(window_size=a("window_size"), mlp_ratio=a("mlp_ratio", 4.0))
        return dict(type="mixmae_bench.UMSwin", arch=arch, **rest, **common)
    arch = a.some("embed_dims", "depths", "num_heads", "mlp_ratios")
    ratios = a("sr_ratios")
    if case.family == "models_mae_pvt":
        ratios = [2 * ratio for ratio in ratios]  # U5: given for packed maps, ours are for whole ones
    return dict(type="mixmae_bench.UMPVT", arch={**arch, "sr_ratios": ratios}, **common)


def _mixmae(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    decoder = dict(
        dim=a("decoder_dim", 512), depth=a("decoder_depth", 8), num_heads=a("decoder_num_heads", 16)
    )
    model = dict(
        type="mixmae_bench.MixMAE",
        backbone=_mixmae_backbone(a),
        decoder=decoder,
        mask_ratio=case.info["mask_ratio"],
        norm_pix=a("norm_pix_loss", True),
    )
    return MODELS.build(model), official.MIXMAE_PRETRAIN


def _simmim(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    generator = case.info["mask_generator"]
    model = dict(
        type="mixmae_bench.SimMIM",
        backbone=_swin_backbone(a),
        cell=generator["mask_patch_size"],
        mask_ratio=generator["mask_ratio"],
    )
    return MODELS.build(model), official.SIMMIM_PRETRAIN


def _um_mae(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    decoder = dict(
        dim=a("decoder_embed_dim", 256), depth=a("decoder_depth", 4), num_heads=a("decoder_num_heads", 8)
    )
    model = dict(
        type="mixmae_bench.UMMAE",
        backbone=_um_backbone(case, a),
        decoder=decoder,
        cell=a.given.get("stride", 16),
        secondary_ratio=a("vis_mask_ratio", 0.0),
        norm_pix=a("norm_pix_loss", False),
    )
    return MODELS.build(model), official.UMMAE_PRETRAIN


def _um_simmim(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    model = dict(
        type="mixmae_bench.UMSimMIM",
        backbone=_um_backbone(case, a),
        cell=a.given.get("stride", 16),
        mask_ratio=case.info["mask_generator"]["mask_ratio"],
        norm_pix=a("norm_pix_loss", False),
    )
    return MODELS.build(model), official.UM_SIMMIM_PRETRAIN


def _um_mae_vit(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    backbone = dict(
        type="mixmae_bench.PlainViT",
        arch=a.some("embed_dim", "depth", "num_heads"),
        img_size=a("img_size"),
        patch_size=a("patch_size", 16),
        mlp_ratio=a("mlp_ratio", 4.0),
    )
    model = dict(
        type="mixmae_bench.UMMAEViT",
        backbone=backbone,
        decoder=dict(
            dim=a("decoder_embed_dim", 512), depth=a("decoder_depth", 8), num_heads=a("decoder_num_heads", 16)
        ),
        cell=a("patch_size", 16),
        secondary_ratio=a("vis_mask_ratio", 0.0),
        norm_pix=a("norm_pix_loss", False),
    )
    return MODELS.build(model), official.UMMAE_PRETRAIN


def _mixmae_classifier(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    return Classifier(_mixmae_backbone(a), a("num_classes", 1000), False), official.CLASSIFIER


def _swin_classifier(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    return Classifier(_swin_backbone(a), a("num_classes", 1000), False), official.CLASSIFIER


def _um_classifier(case: Case, a: Arguments) -> tuple[nn.Module, tuple]:
    backbone = dict(**_um_backbone(case, a), final_norm=False)
    if case.info["family"] == "pvt":
        backbone["learn_positions"] = True
    return Classifier(backbone, a("num_classes", 1000), True), official.UM_CLASSIFIER


FAMILIES = {
    "models_mixmim": _mixmae,
    "models_mixmim_ft": _mixmae_classifier,
    "pos_embed": _mixmae_classifier,  # util/pos_embed.py: the checkpoint goes into the fine-tuning model
    "simmim": _simmim,
    "swin_transformer": _swin_classifier,
    "utils": _swin_classifier,  # utils.py, likewise
    "models_mae_swin": _um_mae,
    "models_mae_pvt": _um_mae,
    "models_mae": _um_mae_vit,
    "models_simmim_swin": _um_simmim,
    "models_simmim_pvt": _um_simmim,
    "models_swin": _um_classifier,
    "models_pvt": _um_classifier,
}
"""What builds the counterpart of an official file."""
