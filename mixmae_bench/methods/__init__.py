"""Pretraining methods. Each file defines a method's masking, prediction and loss.

Importing this package imports all of its modules, which registers the methods and their checkpoint kinds.
"""

from importlib import import_module
from pkgutil import iter_modules

from mixmae_bench.registry import MODELS

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

# Methods can be imported from here by name.
globals().update({k: v for k, v in MODELS.module_dict.items() if v.__module__.startswith(f"{__name__}.")})
