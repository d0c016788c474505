"""`python -m mixmae_bench` is the command `mixmae-bench`."""

import sys

from mixmae_bench.cli import main

sys.exit(main())
