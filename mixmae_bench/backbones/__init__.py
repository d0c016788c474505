"""Hierarchical encoders with a common interface (see `mixmae_bench.backbones.encoder`).

Importing this package imports all of its modules, which registers the encoders and their checkpoint kinds.
"""

from importlib import import_module
from pkgutil import iter_modules

from mixmae_bench.registry import MODELS

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

# Encoders can be imported from here by name.
globals().update({k: v for k, v in MODELS.module_dict.items() if v.__module__.startswith(f"{__name__}.")})
