"""Tables of verdicts: which method is better than which, per task and metric."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mixmae_bench.report.columns import latest
from mixmae_bench.report.table import Table, markdown_body
from mixmae_bench.results.differences import LEVEL
from mixmae_bench.results.metrics import title
from mixmae_bench.results.power import MOST_SEEDS, POWER, images_needed, seeds_needed
from mixmae_bench.results.record import Record
from mixmae_bench.results.verdicts import (
    BETTER,
    IMAGES,
    SEEDS,
    SEEDS_AND_IMAGES,
    WORSE,
    Comparison,
    Matrix,
    matrices,
)

POINT = 1.0
"""Difference for which the needed seeds and images are told, in the metric's unit."""

OPPOSITE = {BETTER: WORSE, WORSE: BETTER}

BASES = {
    SEEDS_AND_IMAGES: "Seeds and images are resampled: a verdict is about other seeds and other images.",
    SEEDS: "Only seeds are resampled, as not all runs have per-image outcomes of the same images: a verdict "
    "is about other seeds on these images.",
    IMAGES: "No verdict over seeds is possible with fewer than two seeds. ±: standard error over images of "
    "the difference between these trained models. p: McNemar's exact test of these two classifiers. Neither "
    "is about models of other seeds.",
    "": "No verdict is possible with fewer than two seeds and without per-image outcomes of the same images.",
}
"""Notes on what a table's comparisons resample."""


def verdict_tables(made: Sequence[Matrix], complaints: Sequence[str]) -> list[Table]:
    """Return a table for every matrix.

    Args:
        made: Matrices (see `results.verdicts.matrices`).
        complaints: Messages about outcomes that cannot be used; they are notes of the last table.
    """
    tables = [_table(matrix) for matrix in made]
    if tables and complaints:
        tables[-1].notes.append(f"Outcomes that are not used: {'; '.join(complaints)}.")
    return tables


def verdicts_markdown(records: Iterable[Record], folders: Sequence[Path], heading: str = "##") -> str:
    """Return the verdicts on the runs of a suite as Markdown, each below a heading; '' without any.

    Args:
        records: Records of a suite; of several records of one run, the last counts.
        folders: Folders of the files that the records are from, which have the outcomes.
        heading: Mark of the headings.
    """
    tables = verdict_tables(*matrices(latest(records), folders))
    return "".join(f"\n{heading} {table.title}\n\n{markdown_body(table)}" for table in tables)


def _table(matrix: Matrix) -> Table:
    rows = [
        [row, *(_cell(matrix, row, column) for column in matrix.methods), str(matrix.seeds[row])]
        for row in matrix.methods
    ]
    name = f"Verdicts: {matrix.task} on {matrix.dataset}, {title(matrix.metric)}"
    return Table(
        name, ["method", *(f"vs {method}" for method in matrix.methods), "seeds"], rows, _notes(matrix)
    )


def _cell(matrix: Matrix, row: str, column: str) -> str:
    if row == column:
        return ""
    if (row, column) in matrix.comparisons:
        return _text(matrix.comparisons[row, column], 1)
    return _text(matrix.comparisons[column, row], -1)


def _text(comparison: Comparison, sign: int) -> str:
    """Return a comparison such as '+1.60 [+0.25, +2.95], p 0.03: better', or its opposite."""
    text = f"{sign * comparison.estimate:+.2f}"
    if comparison.interval:
        low, high = sorted(sign * end for end in comparison.interval)
        text += f" [{low:+.2f}, {high:+.2f}]"
    elif comparison.error is not None:
        text += f" ± {comparison.error:.2f}"
    if comparison.p is not None:
        text += f", p {comparison.p:.2g}"
    verdict = comparison.verdict if sign > 0 else OPPOSITE.get(comparison.verdict, comparison.verdict)
    return f"{text}: {verdict}" if verdict else text


def _notes(matrix: Matrix) -> list[str]:
    comparisons = matrix.comparisons.values()
    notes = []
    if any(own.difference for own in comparisons):
        notes.append(
            "A cell says how the method of its row compares with that of its column: difference of the means "
            "over seeds, its 95 % confidence interval, the p value corrected for the "
            f"{len(comparisons)} comparisons of this table (Holm), and the verdict at {100 * LEVEL:g} %. Not "
            "distinguishable does not mean equal."
        )
    notes += [BASES[basis] for basis in BASES if any(own.basis == basis for own in comparisons)]
    if matrix.stability == matrix.stability:  # not NaN
        notes.append(f"Rankings of two seeds agree with a mean Kendall's tau of {matrix.stability:.2f}.")
    if note := _needed(matrix):
        notes.append(note)
    return notes


def _needed(matrix: Matrix) -> str:
    """Return how many seeds or images a difference of `POINT` needs, for the pair of most variance."""
    known = {pair: own for pair, own in matrix.comparisons.items() if own.difference and own.error}
    if not known:
        return ""
    pair = max(known, key=lambda own: known[own].error)
    variances, level = known[pair].difference, LEVEL / len(matrix.comparisons)
    seeds = seeds_needed(variances, POINT, level)
    now = min(variances.seeds)
    text = (
        f"A true difference of {POINT:g} between {pair[0]} and {pair[1]}, the pair of most variance, is seen "
        f"in {100 * POWER:g} % of repetitions with {seeds or f'more than {MOST_SEEDS}'} seeds each on these "
        "images"
    )
    if not variances.resamples:
        return f"{text}."
    images = images_needed(variances, POINT, now, matrix.images, level)
    return (
        f"{text}, or with {f'{images:,} images' if images else 'no number of images'} and {now} seeds each."
    )
