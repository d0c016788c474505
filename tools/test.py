"""Evaluate a checkpoint from a config, as OpenMMLab users expect."""

import sys

from mixmae_bench.cli import test_main

sys.exit(test_main())
