"""The catalog of data sets: one module per data set or family of data sets.

A module contains the counts from the data set's site or paper, its layouts, a function that writes a tiny
copy, and a data set class if OpenMMLab has none for the published layout. It adds its entries with
`add_dataset`.
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
    missing_paths,
    published_images,
)

__all__ = ["CATALOG", "DatasetEntry", "Part", "add_dataset", "make_tiny", "missing_paths", "published_images"]

with quiet():
    for _module in iter_modules(__path__):
        import_module(f"{__name__}.{_module.name}")
