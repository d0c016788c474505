"""Train from a config, as OpenMMLab users expect: pretraining, classification, detection, segmentation."""

import sys

from mixmae_bench.cli import train_main

sys.exit(train_main())
