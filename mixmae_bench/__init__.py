"""Transfer benchmark for masked image modelling on hierarchical vision transformers.

Importing the package is cheap (no torch): it makes `mmcv._ext` available where mmcv has no
compiled ops, and keeps a `transformers` that does not fit OpenMMLab out of its way. Models, hooks and
data sets are found by name through `mixmae_bench.registry`, which mmengine imports the first time a
config says `type='mixmae_bench....'`.
"""

from mixmae_bench.compat import ops, transformers

__version__ = "0.1.0"

ops.install()
transformers.install()
