"""Registries of this package, children of mmengine's registries.

mmengine imports `<scope>.registry` when a config has a type of that scope, and the registry's `locations`
when a type is first looked up. So `type='mixmae_bench.MixMAESwin'` works in any OpenMMLab config.
"""

from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import LOOPS as _LOOPS
from mmengine.registry import METRICS as _METRICS
from mmengine.registry import MODEL_WRAPPERS as _MODEL_WRAPPERS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as _OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmengine.registry import STRATEGIES as _STRATEGIES
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import Registry


def _child(parent: Registry, *locations: str) -> Registry:
    names = [f"mixmae_bench.{location}" for location in locations]
    return Registry(parent.name, parent=parent, scope="mixmae_bench", locations=names)


MODELS = _child(_MODELS, "backbones", "methods", "transfer.neck")
MODEL_WRAPPERS = _child(_MODEL_WRAPPERS, "engine.distributed")
DATASETS = _child(_DATASETS, "datasets.catalog", "datasets.tuning_split")
HOOKS = _child(
    _HOOKS,
    "engine.curves",
    "engine.distributed",
    "engine.gpu",
    "engine.load_audit",
    "engine.outcomes",
    "engine.pictures",
    "engine.resume",
    "engine.scalars",
    "suite.hooks",
)
LOOPS = _child(_LOOPS, "engine.online_knn")
METRICS = _child(_METRICS, "datasets.coco_subset")
OPTIM_WRAPPERS = _child(_OPTIM_WRAPPERS, "engine.precision")
OPTIM_WRAPPER_CONSTRUCTORS = _child(_OPTIM_WRAPPER_CONSTRUCTORS, "transfer.layer_decay")
STRATEGIES = _child(_STRATEGIES, "engine.fsdp")
TRANSFORMS = _child(_TRANSFORMS, "datasets.crops", "datasets.images", "datasets.seg_maps")
