"""Pretraining methods. Each file defines a method's masking, prediction and loss.

Importing this package imports all of its modules, which registers the methods and their checkpoint kinds.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
