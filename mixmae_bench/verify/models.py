"""Building the model of a case from the arguments of the official constructor.

Every argument is read by the function that builds the counterpart of the official file: it is built, checked
to have the only value that there is a counterpart for, or known to have no effect. An argument that nobody
reads is refused by name. Defaults are those of the official classes.
"""

import re
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from mixmae_bench.backbones.layers.windows import RECOMPUTED
from mixmae_bench.convert import official
from mixmae_bench.convert.fits import mismatches
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.neck import PoolNorm
from mixmae_bench.verify.case import Case, NotBuilt

_CLASS = r"(?:torch\.)?(?:nn\.)?(?:modules\.normalization\.)?LayerNorm"
_EPS = r"eps=(\d[\d.]*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
LAYER_NORM = re.compile(
    rf"{_CLASS}|<class'{_CLASS}'>|{_CLASS}\({_EPS}\)"
    rf"|(?:functools\.)?partial\((?:{_CLASS}|<class'{_CLASS}'>),{_EPS}\)"
)
"""How a manifest may write the official `norm_layer`, white space apart."""


class Classifier(nn.Module):
    """Encoder, mean over tokens, for UM-MAE a norm (U8), linear head; without classes, no head."""

    def __init__(
        self, backbone: dict, num_classes: int, norm_after_pool: bool, norm_eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        channels = self.backbone.out_channels[-1]
        self.neck = PoolNorm(channels, norm_eps) if norm_after_pool else None
        self.head = nn.ModuleDict({"fc": nn.Linear(channels, num_classes) if num_classes else nn.Identity()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(images)
        tokens = maps[-1].flatten(2).transpose(1, 2)
        out = {"final_norm": tokens, "pooled": tokens.mean(dim=1)}
        if self.neck is not None:
            (out["fc_norm"],) = self.neck(maps)
        out["logits"] = self.head["fc"](out.get("fc_norm", out["pooled"]))
        return out


Recipe = tuple[Callable[[], nn.Module], official.Rules]
"""What builds a model, and how its official names map to ours."""


def build(case: Case) -> tuple[nn.Module, official.Rules]:
    """Build the model of a case, and say how its official names map to ours.

    Raises:
        NotBuilt: Where this package has no counterpart for the official file or an argument, or the recorded
            weights are not those of the model.
    """
    try:
        return _build(case)
    except UserError as error:
        raise NotBuilt(str(error)) from error
    except Exception as error:  # a manifest may say anything, and the constructors check little of it
        raise NotBuilt(f"{type(error).__name__}: {error}") from error


def _build(case: Case) -> tuple[nn.Module, official.Rules]:
    if case.family not in FAMILIES:
        raise UserError(f"no counterpart here for {case.says('official', 'file')}")
    arguments = Arguments(case)
    make, rules = FAMILIES[case.family](case, arguments)
    arguments.check_all_read()
    with torch.device("meta"):  # takes no memory, whatever the sizes
        own = make().state_dict()
    problems = mismatches(own, renamed(case, rules))
    if problems:
        raise UserError(f"its file {problems}")
    return make().eval(), rules


def renamed(case: Case, rules: official.Rules) -> dict[str, Tensor]:
    """Return the recorded parameters under our names; the buffers that we compute are left out."""
    return {
        official.our_name(name, rules): tensor
        for name, tensor in case.group("sd").items()
        if not name.endswith(RECOMPUTED)
    }


class Arguments:
    """The arguments of an official constructor; one that nobody reads is refused."""

    def __init__(self, case: Case) -> None:
        self.given: dict[str, object] = case.says("constructor")
        if not isinstance(self.given, dict):
            raise UserError(f"'constructor' is {self.given!r}, not arguments by name")
        self.read: set[str] = set()
        self.tensors = len(case.group("sd"))

    def _value(self, name: str, default: object) -> object:
        self.read.add(name)
        return self.given.get(name, default)

    def count(self, name: str, default: int, least: int = 1) -> int:
        """Return a whole number."""
        value = self._value(name, default)
        if not _is_count(value, least):
            raise UserError(f"{name}={value!r} is no whole number from {least} on")
        return value

    def counts(self, name: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not value or not all(_is_count(item, 1) for item in value):
            raise UserError(f"{name}={value!r} is no list of whole numbers from 1 on")
        return value

    def depth(self, name: str, default: int, least: int = 1) -> int:
        """Return a number of blocks, of which the file can hold no more than tensors."""
        return self._check_depth(name, self.count(name, default, least))

    def depths(self, default: list[int]) -> list[int]:
        """Return the number of blocks of every stage."""
        depths = self.counts("depths", default)
        self._check_depth("depths", sum(depths))
        return depths

    def _check_depth(self, name: str, blocks: int) -> int:
        if blocks > self.tensors:
            raise UserError(f"{name} asks for more blocks than its file has weights ({self.tensors})")
        return blocks

    def real(self, name: str, default: float | None) -> float | None:
        """Return a finite number, or None where that is the default."""
        value = self._value(name, default)
        if not _is_real(value) and not value is default is None:
            raise UserError(f"{name}={value!r} is no finite number")
        return value

    def reals(self, name: str, default: list[float]) -> list[float]:
        """Return a list of finite numbers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not all(_is_real(item) for item in value):
            raise UserError(f"{name}={value!r} is no list of finite numbers")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise UserError(f"{name}={value!r} is neither true nor false")
        return value

    def norm_eps(self) -> float:
        """Return the epsilon of `norm_layer`, PyTorch's own where it is not given."""
        value = self._value("norm_layer", "LayerNorm")
        match = LAYER_NORM.fullmatch(re.sub(r"\s", "", value)) if isinstance(value, str) else None
        try:
            return float(match[1] or match[2] or 1e-5)
        except (TypeError, ValueError):
            raise UserError(
                f"norm_layer={value!r} is unreadable; write 'LayerNorm' or 'LayerNorm(eps=1e-6)'"
            ) from None

    def only(self, **values: object) -> None:
        """Read arguments that there is no counterpart for, but for one value each."""
        for name, value in values.items():
            given = self._value(name, value)
            if given != value or isinstance(given, bool) != isinstance(value, bool):
                raise UserError(f"no counterpart here for {name}={given!r}")

    def without_effect(self, *names: str) -> None:
        """Read arguments that the official code accepts and ignores."""
        self.read.update(names)

    def check_all_read(self) -> None:
        """Refuse arguments that nobody read."""
        for name in self.given:
            if name not in self.read:
                raise UserError(f"no counterpart here for {name}={self.given[name]!r}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_real(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e100  # False for NaN


def _window_backbone(a: Arguments, windows: int | list[int], drop_path_rate: float) -> dict:
    """The arguments that the official encoders of MixMAE and SimMIM share; dropout changes training alone."""
    a.only(drop_rate=0.0, attn_drop_rate=0.0)
    several = isinstance(windows, list)
    return dict(
        arch=dict(
            embed_dim=a.count("embed_dim", 96),
            depths=a.depths([2, 2, 18, 2] if several else [2, 2, 6, 2]),
            num_heads=a.counts("num_heads", [3, 6, 12, 24]),
        ),
        window_size=a.counts("window_size", windows) if several else a.count("window_size", windows),
        img_size=a.count("img_size", 224),
        patch_size=a.count("patch_size", 4),
        mlp_ratio=a.real("mlp_ratio", 4.0),
        drop_path_rate=a.real("drop_path_rate", drop_path_rate),
        qkv_bias=a.flag("qkv_bias", True),
        patch_norm=a.flag("patch_norm", True),
        norm_eps=a.norm_eps(),
        with_cp=a.flag("use_checkpoint", False),
    )


def _mixmae_backbone(a: Arguments) -> dict:
    a.without_effect("qk_scale", "ape", "encoder_stride")  # M11; encoder_stride is 32 (M5)
    config = _window_backbone(a, [7, 7, 14, 7], 0.0)
    config["arch"]["window_size"] = config.pop("window_size")
    return dict(type="mixmae_bench.MixMAESwin", **config)


def _swin_backbone(a: Arguments) -> dict:
    return dict(
        type="mixmae_bench.Swin",
        **_window_backbone(a, 7, 0.1),
        qk_scale=a.real("qk_scale", None) or None,  # 0 is none, too
        ape=a.flag("ape", False),
    )


def _um_backbone(case: Case, a: Arguments, window_size: int, packed: bool) -> dict:
    """UM-MAE's encoders. On packed maps, pooling of keys is given for them, ours for whole ones (U5)."""
    swin = case.family.endswith("swin")
    common = dict(
        img_size=a.count("img_size", 256 if swin else 224),
        patch_size=a.count("patch_size", 4),
        norm_eps=a.norm_eps(),
    )
    depths = a.depths([2, 2, 6, 2] if swin else [3, 4, 6, 3])
    heads = a.counts("num_heads", [3, 6, 12, 24] if swin else [1, 2, 5, 8])
    if swin:
        arch = dict(
            embed_dim=a.count("embed_dim", 96),
            depths=depths,
            num_heads=heads,
            posmlp_dim=a.count("posmlp_dim", 32),
        )
        rest = dict(window_size=a.count("window_size", window_size), mlp_ratio=a.real("mlp_ratio", 4.0))
        return dict(type="mixmae_bench.UMSwin", arch=arch, **rest, **common)
    ratios = a.counts("sr_ratios", [4, 2, 1, 1] if packed else [8, 4, 2, 1])
    for stage, ratio in enumerate(ratios):
        side = common["img_size"] // common["patch_size"] // 2 ** (stage + packed)
        if side % ratio:
            raise UserError(
                f"no counterpart here for sr_ratios={ratios}: {ratio} does not divide stage {stage}'s {side} "
                "tokens, of which the official pooling leaves the rest out"
            )
    arch = dict(
        embed_dims=a.counts("embed_dims", [64, 128, 320, 512]),
        depths=depths,
        num_heads=heads,
        mlp_ratios=a.reals("mlp_ratios", [8, 8, 4, 4]),
        sr_ratios=[2 * ratio for ratio in ratios] if packed else ratios,
    )
    return dict(type="mixmae_bench.UMPVT", arch=arch, **common)


def _mixmae(case: Case, a: Arguments) -> Recipe:
    a.without_effect("num_classes")  # M11
    a.only(in_chans=3, range_mask_ratio=0.0)
    backbone = _mixmae_backbone(a)
    decoder = dict(
        dim=a.count("decoder_dim", 512),
        depth=a.depth("decoder_depth", 8, least=0),
        num_heads=a.count("decoder_num_heads", 16),
        mlp_ratio=backbone["mlp_ratio"],
        norm_eps=backbone["norm_eps"],
    )
    model = dict(
        type="mixmae_bench.MixMAE",
        backbone=backbone,
        decoder=decoder,
        mask_ratio=case.says("mask_ratio"),
        norm_pix=a.flag("norm_pix_loss", True),
    )
    return partial(MODELS.build, model), official.MIXMAE_PRETRAIN


def _simmim(case: Case, a: Arguments) -> Recipe:
    a.only(in_chans=3, num_classes=0)
    backbone = _swin_backbone(a)
    stride = backbone["patch_size"] * 2 ** (len(backbone["arch"]["depths"]) - 1)
    a.only(encoder_stride=stride)
    model = dict(
        type="mixmae_bench.SimMIM",
        backbone=backbone,
        cell=case.says("mask_generator", "mask_patch_size"),
        mask_ratio=case.says("mask_generator", "mask_ratio"),
    )
    return partial(MODELS.build, model), official.SIMMIM_PRETRAIN


def _um_decoder(a: Arguments, depth: int, mlp_ratio: float) -> dict:
    return dict(
        dim=a.count("decoder_embed_dim", 512),
        depth=a.depth("decoder_depth", depth, least=0),
        num_heads=a.count("decoder_num_heads", 16),
        mlp_ratio=mlp_ratio,
        norm_eps=a.norm_eps(),
    )


def _um_mae(case: Case, a: Arguments) -> Recipe:
    a.only(in_chans=3)
    backbone = _um_backbone(case, a, 8, packed=True)
    ratio = backbone["mlp_ratio"] if "mlp_ratio" in backbone else a.real("decoder_mlp_ratio", 4.0)
    model = dict(
        type="mixmae_bench.UMMAE",
        backbone=backbone,
        decoder=_um_decoder(a, 2, ratio),
        cell=a.count("stride", 16),
        secondary_ratio=a.real("vis_mask_ratio", 0.0),
        norm_pix=a.flag("norm_pix_loss", False),
    )
    return partial(MODELS.build, model), official.UMMAE_PRETRAIN


def _um_simmim(case: Case, a: Arguments) -> Recipe:
    a.only(in_chans=3)
    model = dict(
        type="mixmae_bench.UMSimMIM",
        backbone=_um_backbone(case, a, 8, packed=False),
        cell=a.count("stride", 16),
        mask_ratio=case.says("mask_generator", "mask_ratio"),
        norm_pix=a.flag("norm_pix_loss", False),
    )
    return partial(MODELS.build, model), official.UM_SIMMIM_PRETRAIN


def _um_mae_vit(case: Case, a: Arguments) -> Recipe:
    a.only(in_chans=3)
    a.without_effect("asymmetric_decoder", "mask_ratio")
    backbone = dict(
        type="mixmae_bench.PlainViT",
        arch=dict(
            embed_dim=a.count("embed_dim", 1024),
            depth=a.depth("depth", 24),
            num_heads=a.count("num_heads", 16),
        ),
        img_size=a.count("img_size", 224),
        patch_size=a.count("patch_size", 16),
        mlp_ratio=a.real("mlp_ratio", 4.0),
        norm_eps=a.norm_eps(),
    )
    model = dict(
        type="mixmae_bench.UMMAEViT",
        backbone=backbone,
        decoder=_um_decoder(a, 8, backbone["mlp_ratio"]),
        cell=backbone["patch_size"],
        secondary_ratio=a.real("vis_mask_ratio", 0.0),
        norm_pix=a.flag("norm_pix_loss", False),
    )
    return partial(MODELS.build, model), official.UMMAE_PRETRAIN


def _classifier(backbone: dict, a: Arguments, norm_after_pool: bool = False) -> Callable[[], nn.Module]:
    backbone["in_chans"] = a.count("in_chans", 3)
    classes = a.count("num_classes", 1000, least=0)
    return partial(Classifier, backbone, classes, norm_after_pool, backbone["norm_eps"])


def _mixmae_classifier(case: Case, a: Arguments) -> Recipe:
    return _classifier(_mixmae_backbone(a), a), official.CLASSIFIER


def _swin_classifier(case: Case, a: Arguments) -> Recipe:
    a.without_effect("encoder_stride")  # of pretraining; taken by **kwargs
    return _classifier(_swin_backbone(a), a), official.CLASSIFIER


def _um_classifier(case: Case, a: Arguments) -> Recipe:
    a.without_effect("global_pool")
    backbone = dict(
        **_um_backbone(case, a, 16, packed=False),
        drop_path_rate=a.real("drop_path_rate", 0.1),
        final_norm=False,
    )
    if case.family.endswith("swin"):
        backbone["with_cp"] = a.flag("with_cp", False)
    else:
        backbone["learn_positions"] = True
    return _classifier(backbone, a, norm_after_pool=True), official.UM_CLASSIFIER


FAMILIES: dict[str, Callable[[Case, Arguments], Recipe]] = {
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
