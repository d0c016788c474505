"""The catalog of data sets: one module per data set or family, with everything that is known of it.

A module holds the counts of the data set's own site or paper, its layouts, a maker of a tiny copy, and the
class that reads it where OpenMMLab has none for the published layout. It adds its entries with `add_dataset`.
"""

from importlib import import_module
from pkgutil import iter_modules

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.datasets.catalog.entry import (
    CATALOG,
    DatasetEntry,
    Part,
    add_dataset,
    make_tiny,
    published_images,
)

__all__ = ["CATALOG", "DatasetEntry", "Part", "add_dataset", "make_tiny", "published_images"]

with quiet():
    for _module in iter_modules(__path__):
        import_module(f"{__name__}.{_module.name}")
