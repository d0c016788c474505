"""Pages of the configs: a table of all, and for each its recipe, source, cost and file."""

import ast
import re
from pathlib import Path

from generate.text import WIDE
from mixmae_bench.report.html import table_html
from mixmae_bench.report.make import read_results
from mixmae_bench.report.table import Table
from mixmae_bench.results.measurements import Count
from mixmae_bench.suite.estimate import Training, of_count
from mixmae_bench.suite.gpu_speed import GpuSpeed, gpu_speed
from mixmae_bench.system.shipped import names, shipped

GPUS = 8
"""GPUs of the column of hours."""

FEW = 1e17
"""FLOPs of a training that is too short for hours on several GPUs, such as that of the digits."""

HEAD = """# All configs

`mixmae-bench ls configs` lists the same names; a command takes a config by its name. [How configs are put
together](layout.md) explains the files and their names, [Recipes](../recipes.md) how to run them.

The hours are an estimate for {gpus} GPUs ({gpu}), from images per second of one GPU times {gpus}: those of
a **recorded step** of the config's training, else the config's **FLOPs** at {speed:.3g} multiply-adds per
second, the median of all recorded steps. They leave out data loading and communication. No hours are given
for trainings that are too short for {gpus} GPUs. Of two configs that differ in length, only one may have a
recorded step. None of the recipes of full size has been trained here.

"""
RECIPE = re.compile(r"(?:Recipe|Protocol|Settings): ((?:\([^)]*\)|\.(?=\S)|[^.;,:(])*)")
OWN = re.compile(r"(mm\w+'s own)")
"""Statements of docstrings about the source of a recipe."""

COLUMNS = ["config", "task", "recipe", "source"]
COSTS = ["FLOPs (G)", "params (M)", "images (M)", "GPUs", f"hours on {GPUS} H100", "hours from"]
NOTES = [
    "FLOPs: of a forward pass per image, decoder included in pretraining, a multiply-add is 1; params: of "
    "the whole model; both from results/measured/cost. Images: of the whole training. GPUs: those that the "
    "config's batch is written for."
]


def pages() -> dict[str, str]:
    """Return the Markdown of every page of configs by its path in the site."""
    speed = gpu_speed()
    counts = {count.model.removeprefix("configs/"): count for count in read_results().counts}
    own = {path: _facts(path, counts.get(_inside(path)), speed) for path in names("configs").values()}
    rows = [
        [path.stem, path.parent.name, _summary(path), _source(path), *facts] for path, facts in own.items()
    ]
    links = {path.stem: f"{path.parent.name}/{path.stem}.html" for path in own}
    table = Table("All configs", [*COLUMNS, *COSTS], rows, NOTES, links=links, linked="config")
    head = HEAD.format(gpus=GPUS, gpu=speed.gpu, speed=speed.flops_per_s)
    found = {"configs/index.md": f"{WIDE}{head}{table_html(table, 'configs', 'configs')}\n"}
    for path, facts in own.items():
        found[f"configs/{path.parent.name}/{path.stem}.md"] = _page(path, facts)
    return found


def _inside(path: Path) -> str:
    return path.relative_to(shipped("configs")).as_posix()


def _doc(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _summary(path: Path) -> str:
    return _doc(path).partition("\n")[0]


def _source(path: Path) -> str:
    """Return where the recipe comes from, as the docstring states it."""
    text = " ".join(_doc(path).split())
    found = RECIPE.search(text) or OWN.search(text)
    return found[1] if found else "chosen here" if "Chosen here" in text or "not published" in text else ""


def _facts(path: Path, counted: Count | None, speed: GpuSpeed) -> list[str]:
    """Return the cells of a config from `FLOPs` on; without a record of its FLOPs they are empty."""
    if counted is None:
        return [""] * 6
    cells = [f"{counted.flops / 1e9:.2f}", f"{counted.params / 1e6:.2f}"]
    training = of_count(path, counted)
    return [*cells, f"{training.trained / 1e6:.2f}", str(training.gpus), *_hours(training, speed)]


def _hours(training: Training, speed: GpuSpeed) -> tuple[str, str]:
    if training.total < FEW:
        return "", ""
    hours = training.hours(speed) / GPUS
    basis = "recorded step" if speed.step(training.config) else "FLOPs"
    return f"{hours:.1f}" if hours < 100 else f"{hours:.0f}", basis


def _page(path: Path, facts: list[str]) -> str:
    """Return the page of one config."""
    summary, _, rest = _doc(path).partition("\n")
    lines = [f"# {path.stem}", "", summary, "", rest.strip(), ""]
    text = path.read_text(encoding="utf-8").rstrip()
    lines += ["", f"`configs/{_inside(path)}`:", "", "```python", text, "```"]
    return "\n".join(lines) + "\n"
