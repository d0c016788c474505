import sys

from mixmae_bench.cli import main

sys.exit(main())
