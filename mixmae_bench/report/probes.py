"""Tables of probes: of one backbone, of the methods of a suite, and what probes predict."""

from collections.abc import Sequence

from mixmae_bench.report.columns import columns, latest
from mixmae_bench.report.suite import mean_and_error
from mixmae_bench.report.table import Table
from mixmae_bench.results.predictors import RESAMPLES, BySeed, Prediction, prediction
from mixmae_bench.results.probes import ALL, PROBES, ProbeRecord, stage_names
from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import measured


def probe_table(records: Sequence[ProbeRecord]) -> Table:
    """Return a table of one backbone with its weights: a row per probe, and a column per stage.

    Args:
        records: Records of the same weights (of the same seeds, if they are random) and data, at least one.
    """
    first = records[0]
    stages = stage_names(records)
    probes = [name for name in PROBES if any(record.probe == name for record in records)]
    rows = []
    for probe in probes:
        cells = []
        for stage in stages:
            own = [record for record in records if (record.probe, record.stage) == (probe, stage)]
            found = measured(own, "top1")
            cells.append("" if found is None else str(found))
        rows.append([probe, *cells])
    weights = first.checkpoint_source or "random weights"
    size = "x".join(map(str, first.image_shape))
    title = f"Probes of {first.backbone}, {weights}, on {first.dataset} at {size} px: top-1, %"
    return Table(title, ["probe", *(_title(stage, first) for stage in stages)], rows, _notes(records))


def suite_probe_table(records: Sequence[ProbeRecord]) -> Table:
    """Return a table of a suite's methods: a row per method and stage, and a column per probe.

    Args:
        records: Records with a method, of the same data, at least one.
    """
    stages = stage_names(records)
    methods = list(dict.fromkeys(r.method for r in records))
    found = _by_measure(records)
    probes = [name for name in PROBES if any(probe == name for probe, _ in found)]
    rows = [
        [
            *(method, _title(stage, records[0])),
            *(mean_and_error([*found.get((p, stage), {}).get(method, {}).values()]) for p in probes),
        ]
        for method in methods
        for stage in stages
    ]
    seeds = ", ".join(map(str, sorted({r.seed for r in records})))
    notes = [
        f"Top-1 in % of frozen initial weights. Seeds: {seeds}. Mean ± standard error over seeds.",
        f"Hyperparameters are chosen on {records[0].tuning_share:.0%} of the training images, never on the "
        "evaluated ones.",
    ]
    return Table(f"Probes on {records[0].dataset}", ["method", "features", *probes], rows, notes)


def predictor_table(probes: Sequence[ProbeRecord], records: Sequence[Record]) -> Table | None:
    """Return how well the order of methods by each probe agrees with that after fine-tuning.

    Args:
        probes: Records with a method.
        records: Records of the suite's runs.

    Returns:
        A row per probe and stage, and a column per metric of fine-tuning; None if fewer than three methods
        have both.
    """
    ends = latest(records)
    targets = {column.heading: _by_method(column.of(ends), column.metric) for column in columns(ends)}
    found = _by_measure(probes)
    cells = {
        (measure, heading): prediction(values, target)
        for measure, values in found.items()
        for heading, target in targets.items()
    }
    if not any(cells.values()):
        return None
    order = [(probe, stage) for probe in PROBES for stage in stage_names(probes) if (probe, stage) in found]
    rows = [
        [probe, _title(stage, probes[0]), *(_tau(cells[(probe, stage), heading]) for heading in targets)]
        for probe, stage in order
    ]
    counts = {(p.methods, p.pairs) for p in cells.values() if p}
    counted = "; ".join(f"{methods} methods, {pairs} pairs of runs" for methods, pairs in sorted(counts))
    notes = [
        "Kendall's tau-b between the order of methods by the probe and by the metric after fine-tuning, both "
        "as means over seeds: 1 for the same order, -1 for the opposite one. In brackets: 95 % interval over "
        f"{RESAMPLES} resamples of the seeds of every method. It does not cover the choice of methods. "
        f"{counted}.",
    ]
    return Table("What predicts fine-tuning", ["probe", "features", *targets], rows, notes)


def suite_probe_tables(probes: Sequence[ProbeRecord], records: Sequence[Record]) -> list[Table]:
    """Return both tables of a suite's probes, or an empty list without any."""
    if not probes:
        return []
    predictors = predictor_table(probes, records)
    return [suite_probe_table(probes), *([predictors] if predictors else [])]


def _by_measure(records: Sequence[ProbeRecord]) -> dict[tuple[str, str], dict[str, BySeed]]:
    """Return top-1 by probe and stage, then by method and seed."""
    found: dict[tuple[str, str], dict[str, BySeed]] = {}
    for r in records:
        found.setdefault((r.probe, r.stage), {}).setdefault(r.method, {})[r.seed] = r.metrics["top1"]
    return found


def _by_method(records: Sequence[Record], metric: str) -> dict[str, BySeed]:
    found: dict[str, BySeed] = {}
    for r in records:
        found.setdefault(r.method, {})[r.seed] = r.metrics[metric]
    return found


def _tau(found: Prediction | None) -> str:
    return "" if found is None else f"{found.tau:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _title(stage: str, record: ProbeRecord) -> str:
    if stage == ALL:
        return "all stages"
    return f"stage {stage}" + (" (last)" if stage == str(record.stages) else "")


def _notes(records: Sequence[ProbeRecord]) -> list[str]:
    seeds = sorted({record.seed for record in records})
    first = records[0]
    return [
        f"Mean over seeds {', '.join(map(str, seeds))} and its standard error, which joins that over the "
        f"{first.num_samples} evaluated images (binomial) and, of two or more seeds, that over seeds "
        "(standard deviation / sqrt(seeds)), as the root of the sum of squares.",
        f"Hyperparameters are chosen on {first.tuning_share:.0%} of the training images, for every probe, "
        "stage and seed, never on the evaluated ones.",
    ]
