"""Simulated false positives of the test of differences, and of alternatives, for docs/statistics.md.

    python benchmarks/error_rates.py [--repetitions 20000]

All methods of a simulation have the same true mean, and the standard deviations between seeds of the digits
suite. The variance over images is 0, or such that the standard deviation is 0.5 for what all seeds share and
0.3 for a single run. Prints a line per choice of the degrees of freedom. Takes about 10 s.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mixmae_bench.results.bootstrap import RESAMPLES
from mixmae_bench.results.record import read_records

DIGITS = Path(__file__).parents[1] / "results/measured/digits/records.jsonl"
CHOICES = {"n - 1": 0.0, "midway": 0.5, "Welch": 1.0}
"""Weight of Welch's degrees of freedom against n - 1."""


def deviations() -> list[list[float]]:
    """Return the standard deviations between seeds of all methods, per metric of transfer."""
    values: dict[str, dict[str, list[float]]] = {}
    for record in read_records(DIGITS)[0]:
        for metric, value in record.metrics.items():
            values.setdefault(metric, {}).setdefault(record.method, []).append(value)
    return [
        [float(np.std(v, ddof=1)) for v in own.values()] for metric, own in values.items() if metric != "loss"
    ]


def significant(first: NDArray, second: NDArray, images: float, level: float, weight: float) -> NDArray:
    """Return which repetitions of two methods (repetitions, seeds) differ at a level."""
    seeds = first.shape[1]
    parts = [runs.var(axis=1, ddof=1) / seeds for runs in (first, second)]
    over_seeds = sum(parts)
    welch = over_seeds**2 / (sum(part**2 for part in parts) / (seeds - 1))
    freedom = weight * welch + (1 - weight) * (seeds - 1)
    limit = -over_seeds * stdtrit(freedom, level / 2) - images * stdtrit(RESAMPLES - 1.0, level / 2)
    statistic = np.abs(first.mean(1) - second.mean(1)) / np.sqrt(over_seeds + images)
    return statistic > limit / (over_seeds + images)


def main() -> None:
    """Simulate, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20_000)
    repetitions = parser.parse_args().repetitions
    for name, weight in CHOICES.items():
        generator, rates, any_rates = np.random.default_rng(0), [], []
        for own in deviations():
            for seeds in (2, 3, 5):
                for shared, single in ((0.0, 0.0), (0.5, 0.3)):
                    runs = [
                        max(deviation, single) * generator.normal(size=(repetitions, seeds))
                        + shared * generator.normal(size=(repetitions, 1))
                        for deviation in own
                    ]
                    pairs = list(combinations(runs, 2))
                    images = 2 * shared**2
                    rates += [significant(*pair, images, 0.05, weight).mean() for pair in pairs]
                    # Holm's first step decides whether there is any verdict.
                    first_step = [significant(*pair, images, 0.05 / len(pairs), weight) for pair in pairs]
                    any_rates.append(np.any(first_step, axis=0).mean())
        print(
            f"{name}: a pair at 5 %: median {np.median(rates):.3f}, largest {max(rates):.3f}; "
            f"any of {len(pairs)} pairs: largest {max(any_rates):.3f}"
        )


if __name__ == "__main__":
    main()
