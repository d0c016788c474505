"""Hierarchical encoders that share one contract (see `mixmae_bench.backbones.encoder`).

Every module of the folder is imported, so that encoders and their kinds of checkpoints register.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
