"""The table of the probe ladder."""

from collections.abc import Sequence

from mixmae_bench.report.table import Table
from mixmae_bench.results.probes import ALL, PROBES, ProbeRecord, stage_names
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
