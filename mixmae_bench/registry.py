"""Registries of this package, as children of mmengine's.

mmengine imports `<scope>.registry` when a config names a type of that scope, and the `locations`
when a type is first looked up, so `type='mixmae_bench.MixMAESwin'` works from any OpenMMLab config.
"""

from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmengine.registry import Registry

from mixmae_bench.compat import openmmlab

openmmlab.adapt()

MODELS = Registry(
    "model",
    parent=_MODELS,
    scope="mixmae_bench",
    locations=["mixmae_bench.backbones", "mixmae_bench.methods"],
)
HOOKS = Registry(
    "hook",
    parent=_HOOKS,
    scope="mixmae_bench",
    locations=["mixmae_bench.suite.hooks", "mixmae_bench.pictures"],
)
OPTIM_WRAPPERS = Registry(
    "optim_wrapper",
    parent=_OPTIM_WRAPPERS,
    scope="mixmae_bench",
    locations=["mixmae_bench.precision"],
)
