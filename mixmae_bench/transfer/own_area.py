"""A detector's or segmentor's backbone that sees images, and not what a batch was padded with.

An image in a batch of larger ones is padded by OpenMMLab's data preprocessors, and the backbone, which gets
the batch's tensor alone, attends to the padding: a feature depends on what else is in the batch. All
published recipes are trained so, and so are this package's by default. With `OwnAreaHook`, features of an
image are those it would have alone. Necks and heads see what is beyond its border: zeros.
"""

from inspect import signature

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.errors import UserError
from mixmae_bench.registry import HOOKS


@HOOKS.register_module()
class OwnAreaHook(Hook):
    """Calls `see_own_area_only` on the model that a Runner trains or tests; an entry of `custom_hooks`.

    Raises:
        UserError: As `see_own_area_only`.
    """

    def before_run(self, runner: Runner) -> None:
        see_own_area_only(unwrapped(runner.model))


def see_own_area_only(model: nn.Module) -> None:
    """Hand `img_shape` of the data samples to the model's backbone, as `sizes` of `Encoder.forward`.

    For models used without a Runner, such as those of mmdet's inferencers; once per model. A call without
    data samples is as before.

    Raises:
        UserError: Where the backbone is no `Encoder`; in a forward pass, where an image is said to be larger
            than its batch, or a padded batch is cut into crops (mmseg's sliding windows).
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Encoder):
        raise UserError(
            f"{type(backbone).__name__} as backbone of {type(model).__name__} cannot leave out padding; "
            "use a backbone of mixmae_bench or remove OwnAreaHook"
        )
    batch: dict[str, object] = {}

    def remember(model: nn.Module, args: tuple, kwargs: dict) -> None:
        given = signature(model.forward).bind(*args, **kwargs).arguments
        samples = given.get("data_samples")
        if samples:
            batch["whole"] = tuple(given["inputs"].shape[-2:])
            batch["sizes"] = [tuple(int(side) for side in s.metainfo["img_shape"][:2]) for s in samples]

    def forget(*call: object) -> None:
        batch.clear()

    def pass_on(backbone: Encoder, args: tuple[Tensor], kwargs: dict) -> tuple[tuple, dict] | None:
        if not batch or set(batch["sizes"]) == {batch["whole"]}:
            return None
        here, whole, sizes = tuple(args[0].shape[-2:]), batch["whole"], batch["sizes"]
        if here != whole or len(args[0]) != len(sizes):
            raise UserError(
                f"the backbone got {len(args[0])} crops of {here} px out of a padded batch of {len(sizes)} "
                f"images of {whole} px; test one image at a time, without padding, or remove OwnAreaHook"
            )
        too_large = [size for size in sizes if size[0] > whole[0] or size[1] > whole[1]]
        if too_large:
            raise UserError(
                f"img_shape of an image is {too_large[0]} px, its batch is of {whole} px; "
                "correct the pipeline or the batch augmentation, which must keep img_shape up to date"
            )
        return args, {**kwargs, "sizes": sizes}

    model.register_forward_pre_hook(remember, with_kwargs=True)
    model.register_forward_hook(forget, always_call=True)
    backbone.register_forward_pre_hook(pass_on, with_kwargs=True)
