"""Pages of results: every table of results/README.md to sort and filter, with plots and files to download."""

from generate.text import WIDE
from mixmae_bench.report import plots
from mixmae_bench.report.html import table_html
from mixmae_bench.report.make import (
    NAMES,
    PAPERS,
    SUITES,
    TITLES,
    Results,
    make_table,
    measured_files,
    read_results,
)
from mixmae_bench.report.page import report
from mixmae_bench.report.rows import make_rows
from mixmae_bench.report.table import split, to_csv
from mixmae_bench.report.verdicts import verdicts_markdown
from mixmae_bench.results.record import Record
from mixmae_bench.suite.spec import shipped_outlines
from mixmae_bench.system.shipped import shipped

TABLES = tuple(name for name in NAMES if name != "records")

PLOTTED = {"imagenet": "top1", "coco": "box_ap", "ade20k": "miou"}
"""Metric of the plot over FLOPs, by table of published values."""

SUITE_PLOTS = {
    "transfer": "Transfer: means over seeds with their standard errors.",
    "cost": "Transfer over what pretraining cost: three forward passes for every image, decoder included.",
}
"""Captions of the plots of a suite, by the name of their function in `report.plots`."""

HEAD = """# Results

The tables of `results/README.md`, to sort (click a heading) and to filter. They are made from
`results/published` (values of papers, each with its source) and `results/measured` (records of this code), as
`mixmae-bench table NAME` prints them. **No recipe of full size has been trained here**: what this code
has measured are the digits suite on two CPU cores, FLOPs of all models, and the speed of training steps.

| table | content | file |
| --- | --- | --- |
"""


def pages() -> dict[str, str]:
    """Return the text of every page, plot and file of results by its path in the site."""
    results = read_results(shipped_outlines())
    found = {"results/index.md": HEAD + "".join(_line(name) for name in TABLES)}
    for name in TABLES:
        table = make_table(name, results)
        found[f"results/{name}.csv"] = to_csv(table)
        text = f"{WIDE}# {table.title}\n\n{_command(name)}\n"
        for i, (caption, svg) in enumerate(_plots(name, results), 1):
            found[f"results/{name}-{i}.svg"] = svg
            text += f"\n![{caption}]({name}-{i}.svg)\n\n{caption}\n{{: .notes }}\n"
        parts = split(table)
        for i, part in enumerate(parts, 1):
            text += f"\n## {part.title}\n" if len(parts) > 1 else ""
            text += f"\n{table_html(part, f'table-{i}', 'rows')}\n"
        found[f"results/{name}.md"] = text + _verdicts(name, results)
    found["results/digits-report.html"] = _report()
    return found


def _line(name: str) -> str:
    """Return a row of the list of tables."""
    return f"| `{name}` | [{TITLES[name]}]({name}.md) | [CSV]({name}.csv) |\n"


def _command(name: str) -> str:
    source = f"{name}.yaml" if name in SUITES and name in PAPERS else name
    text = f"The command `mixmae-bench table {source}` prints this table. [CSV]({name}.csv)"
    if name == "digits":
        text += "; [the suite's report](digits-report.html), as `make bench` writes it"
    return f"{text}.\n"


def _plots(name: str, results: Results) -> list[tuple[str, str]]:
    """Return the plots of a table: captions and SVG."""
    if name in PLOTTED:
        figure = plots.published_plot(results.published[name], PLOTTED[name], results.counts, results.runs)
        caption = (
            "Published and measured values over FLOPs, with the Pareto front. FLOPs: of this code where it "
            "counts the model, else as published. Rows pretrained on more data than ImageNet-1K are left out."
        )
        return [(caption, plots.svg(figure))] if figure else []
    if name not in SUITES:
        return []
    rows = make_rows(_records(name, results), results.outlines[name])
    drawn = {key: getattr(plots, f"{key}_plot")(rows) for key in SUITE_PLOTS}
    return [(SUITE_PLOTS[key], plots.svg(figure)) for key, figure in drawn.items() if figure]


def _records(name: str, results: Results) -> list[Record]:
    version = results.outlines[name].version
    return [r for r in results.records if (r.suite, r.suite_version) == (name, version)]


def _verdicts(name: str, results: Results) -> str:
    if name not in SUITES:
        return ""
    return verdicts_markdown(_records(name, results), results.folders, "##")


def _report() -> str:
    """Return the report of the digits suite from the committed records."""
    outline = shipped_outlines()["digits"]
    return report(outline, shipped("results") / "measured" / "digits", measured_files())
