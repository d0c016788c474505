"""The committed results are those of the committed configs, and the README shows them."""

import dataclasses
from itertools import product
from pathlib import Path

import pytest
import yaml

from mixmae_bench.engine.config import content_hash
from mixmae_bench.report.make import read_results, results_page
from mixmae_bench.report.suite import suite_table
from mixmae_bench.report.table import markdown_body
from mixmae_bench.results.record import read_records
from mixmae_bench.results.tuning import best
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.plan import one_process
from mixmae_bench.suite.recipes import with_recipes
from mixmae_bench.suite.spec import read_suite, shipped_outlines

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "results" / "measured" / "digits"


def test_the_digits_results_cover_five_seeds_of_the_whole_suite() -> None:
    records, complaints = read_records(DIGITS / "records.jsonl")
    assert complaints == []
    suite = read_suite(ROOT / "configs" / "suites" / "digits.yaml", seeds=[0, 1, 2, 3, 4])
    runs = {(run.method.name, run.task, run.seed) for run in suite.runs()}
    assert {(r.method, r.task, r.seed) for r in records} == runs
    assert {r.suite_version for r in records} == {suite.version}


def test_the_digits_results_are_of_todays_configs() -> None:
    """Those with the settings that the suite's tuning chose."""
    records, _ = read_records(DIGITS / "records.jsonl")
    suite = with_recipes(read_suite("digits"), False, one_process)
    for run in suite.runs():
        hashes = {r.config_hash for r in records if (r.method, r.task) == (run.method.name, run.task)}
        assert hashes == {content_hash(config_of(run))}, f"{run.config} changed: run the suite again"


def test_the_digits_tuning_is_complete_and_its_choice_is_the_recipe() -> None:
    tuned, complaints = read_records(DIGITS / "tuning.jsonl")
    assert complaints == []
    suite = read_suite("digits")
    chosen = yaml.safe_load(suite.recipes.read_text(encoding="utf-8"))["recipes"]
    for method, task in product(suite.methods, suite.tasks):
        own = [r for r in tuned if (r.method, r.task) == (method, task)]
        points = {tuple(sorted(r.settings.items())) for r in own}
        assert points == {tuple(sorted(point)) for point in suite.tuning.grids[task]}
        assert best(own).settings == chosen[method][task]["settings"]


def test_the_tables_shown_are_those_of_the_records() -> None:
    records, _ = read_records(DIGITS / "records.jsonl")
    table = suite_table("digits", records)
    assert markdown_body(table).strip() in (DIGITS / "table.md").read_text(encoding="utf-8")
    short = [i for i, name in enumerate(table.columns) if not name.startswith(("FLOPs, ", "s, "))]
    columns, *rows = ([row[i] for i in short] for row in [table.columns, *table.rows])
    shown = markdown_body(dataclasses.replace(table, columns=columns, rows=rows, notes=[], sections=[]))
    assert shown.strip() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_results_is_that_of_the_published_values_and_the_records() -> None:
    page = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    assert page == results_page(read_results(shipped_outlines())), (
        "run: mixmae-bench table --all --out results/README.md"
    )


def test_every_model_that_a_published_table_names_is_counted() -> None:
    results = read_results()
    assert results.complaints == []
    counted = {count.model: count for count in results.counts}
    for rows in results.published.values():
        for row in rows:
            assert {row.model, row.pretrain} - {None} <= counted.keys(), f"{row.method} {row.backbone}"


def test_counted_flops_are_near_the_published_ones_of_classifiers() -> None:
    results = read_results()
    counted = {}
    for count in results.counts:
        counted.setdefault(count.model, {})[tuple(count.shape)] = count.flops / 1e9
    for row in results.published["imagenet"]:
        if row.model and row.flops_g and row.backbone != "MViTv2-L":  # printed 42 G; mmpretrain prints 43.87
            digits = len(str(row.flops_g).partition(".")[2])
            # Sources round to whole G, and round rounded values again.
            near = pytest.approx(row.flops_g, rel=0.01, abs=10.0**-digits)
            shapes = counted[row.model]
            assert shapes.get(row.shape, next(reversed(shapes.values()))) == near, (
                f"{row.method} {row.backbone}"
            )
