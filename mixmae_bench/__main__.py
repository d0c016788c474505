"""`python -m mixmae_bench` runs the command `mixmae-bench`."""

import sys

from mixmae_bench.cli import main

sys.exit(main())
