"""Transfer benchmark for masked image modelling on hierarchical vision transformers.

Importing the package is cheap (it does not import torch). It makes `mmcv._ext` available if mmcv has no
compiled ops, and hides a `transformers` version that is incompatible with OpenMMLab. Models, hooks and
data sets are found by name through `mixmae_bench.registry`, which mmengine imports the first time a
config has `type='mixmae_bench....'`.
"""

from mixmae_bench.compat import ops, transformers

__version__ = "0.1.0"

ops.install()
transformers.install()
