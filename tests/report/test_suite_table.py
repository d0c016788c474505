"""The table: means and errors against the closed form, and the same bytes from the same records."""

import math
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import pytest
from report_records import record

from mixmae_bench.report import suite
from mixmae_bench.report.columns import heading
from mixmae_bench.report.suite import mean_and_error
from mixmae_bench.report.table import markdown
from mixmae_bench.results.metrics import METRICS, metrics_text
from mixmae_bench.results.record import Record

TITLES = ["method", "backbone", "seeds", "top-1 ↑", "box AP ↑", "mask AP ↑", "mIoU ↑"]
COSTS = ["params", "FLOPs, top-1", "pretraining FLOPs", "pretraining s"]


def suite_table(name: str, records: Iterable[Record]) -> str:
    return markdown(suite.suite_table(name, records))


def grid() -> list[Record]:
    """Return the records of three methods and three seeds, no two values alike."""
    records = []
    for place, method in enumerate(("mixmae", "another", "scratch")):
        for seed in (2, 0, 10):
            value = 50 + 10 * place + seed**1.5
            records += [
                record(method, seed, top1=value + 1 / 3),
                record(method, seed, box_ap=value / 2, mask_ap=value / 3),
                record(method, seed, miou=value / 7),
            ]
            if method != "scratch":
                records.append(record(method, seed, loss=value / 100))
    return records


def rows(table: str) -> list[dict[str, str]]:
    """Read a Markdown table: one dict per row, by column title."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_a_cell_is_the_mean_and_the_standard_error_over_seeds() -> None:
    # 80, 82, 84, 90: mean 84, squared deviations 16 + 4 + 0 + 36 = 56, so the sample standard
    # deviation is sqrt(56 / 3) and the standard error sqrt(56 / 3) / 2 = 2.16.
    table = suite_table("s", [record("mixmae", seed, top1=v) for seed, v in enumerate((80, 82, 84, 90))])
    (row,) = rows(table)
    assert row["top-1 ↑"] == f"84.00 ± {math.sqrt(56 / 3) / 2:.2f}" == "84.00 ± 2.16"
    assert row["seeds"] == "4"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([0.0], "0.00"),
        ([81.234], "81.23"),
        ([100.0, 100.0], "100.00 ± 0.00"),
        # Of two values the standard error is half their distance.
        ([80.0, 81.0], "80.50 ± 0.50"),
        ([0.1, 0.2, 0.3], f"0.20 ± {0.1 / math.sqrt(3):.2f}"),
        ([1e-9, 0.0], "0.00 ± 0.00"),
    ],
)
def test_mean_and_error_of(values: list[float], text: str) -> None:
    assert mean_and_error(values) == text


def test_one_seed_has_a_mean_and_no_error() -> None:
    table = suite_table("s", [record("mixmae", 3, top1=81.234), record("mixmae", 3, miou=0.0)])
    (row,) = rows(table)
    assert (row["top-1 ↑"], row["mIoU ↑"], row["seeds"]) == ("81.23", "0.00", "1")
    assert "Seeds: 3." in table


def test_a_metric_without_records_is_an_empty_cell_in_its_own_column() -> None:
    records = [
        record("scratch", 0, box_ap=10.0, mask_ap=20.0),
        record("mixmae", 0, top1=30.0),
        record("mixmae", 1, top1=32.0),
        replace(record("mixmae", 0, box_ap=0.0), metrics={"mask_ap": 40.0}),
    ]
    scratch, mixmae = rows(suite_table("s", records))
    titles = TITLES[:-1]
    assert [scratch[t] for t in titles] == ["scratch", "MixMAESwin-small", "1", "", "10.00", "20.00"]
    assert [mixmae[t] for t in titles] == ["mixmae", "MixMAESwin-small", "2", "31.00 ± 1.00", "", "40.00"]


def test_each_metric_stands_under_its_title() -> None:
    records = [record("mixmae", 0, top1=1.0), record("mixmae", 0, box_ap=2.0, mask_ap=3.0)]
    (row,) = rows(suite_table("s", [*records, record("mixmae", 0, miou=4.0)]))
    assert [row[t] for t in TITLES[3:]] == ["1.00", "2.00", "3.00", "4.00"]


def test_the_table_is_the_same_bytes_whatever_the_order_of_the_records() -> None:
    records = grid()
    expected = suite_table("s", records)
    shuffler = random.Random(0)
    for _ in range(50):
        shuffler.shuffle(records)
        assert suite_table("s", iter(records)) == expected


def test_the_mean_does_not_depend_on_the_order_even_where_plain_sums_round() -> None:
    # A plain running sum of these depends on their order.
    values = [1e17, 100.0, -1e17, 0.0]
    orders = ([0, 1, 2, 3], [0, 2, 1, 3], [3, 1, 0, 2])
    tables = {
        suite_table("s", [record("mixmae", i, top1=values[i]) for i in order]).encode() for order in orders
    }
    assert len(tables) == 1


def test_scratch_comes_first_and_the_others_by_name_and_backbone() -> None:
    records = [
        record("zeta", 0, top1=1.0),
        record("alpha", 0, backbone="B", top1=1.0),
        record("alpha", 0, backbone="A", top1=1.0),
        record("scratch", 0, backbone="B", top1=1.0),
        record("Mix", 0, top1=1.0),
        record("scratch", 0, backbone="A", top1=1.0),
    ]
    order = [(row["method"], row["backbone"]) for row in rows(suite_table("s", records))]
    assert order[:2] == [("scratch", "A"), ("scratch", "B")]
    assert order[2:] == sorted(order[2:])
    assert len(order) == 6


def test_methods_and_backbones_are_not_averaged_together() -> None:
    records = [
        record("a", 0, backbone="A", top1=10.0),
        record("a", 1, backbone="B", top1=20.0),
        record("b", 0, backbone="A", top1=30.0),
    ]
    assert [row["top-1 ↑"] for row in rows(suite_table("s", records))] == ["10.00", "20.00", "30.00"]


def test_pretraining_makes_no_row_and_no_seed() -> None:
    records = [record("mixmae", 7, loss=0.5), record("scratch", 0, top1=50.0)]
    table = suite_table("s", records)
    assert [row["method"] for row in rows(table)] == ["scratch"]
    assert "Seeds: 0." in table


def test_costs_are_the_backbones_parameters_and_flops_and_seconds_of_pretraining_and_of_every_task() -> None:
    records = [
        replace(record("mixmae", 0, loss=0.5), flops=24_707_072, seconds=100.0),
        replace(record("mixmae", 1, loss=0.5), flops=24_707_072, seconds=151.0),
        replace(record("mixmae", 0, box_ap=1.0), flops=9_999_999_999),
        replace(record("mixmae", 0, top1=1.0), flops=16_350_000_000),
        record("scratch", 0, box_ap=1.0),
    ]
    scratch, mixmae = rows(suite_table("s", records))
    assert [mixmae[title] for title in COSTS] == ["0.94 M", "16.35 G", "24.7 M", "126"]
    assert [scratch[title] for title in COSTS] == ["0.94 M", "", "", ""]
    assert (mixmae["FLOPs, box AP"], scratch["FLOPs, box AP"]) == ("10.00 G", "380.8 M")
    assert (mixmae["s, top-1"], scratch["s, top-1"], scratch["s, box AP"]) == ("12", "", "12")


def test_tasks_of_one_metric_are_not_averaged_together() -> None:
    records = [
        record("mixmae", 0, top1=80.0),
        replace(record("mixmae", 0, top1=60.0), task="linear", flops=1),
        replace(record("scratch", 0, top1=50.0), task="places205", dataset="places205"),
        record("mixmae", 0, miou=40.0),
    ]
    scratch, mixmae = rows(suite_table("s", records))
    titles = ["top-1 ↑ (digits, classification)", "top-1 ↑ (digits, linear)", "top-1 ↑ (places205)", "mIoU ↑"]
    assert [mixmae[title] for title in titles] == ["80.00", "60.00", "", "40.00"]
    assert [scratch[title] for title in titles] == ["", "", "50.00", ""]
    assert mixmae["FLOPs, top-1 (digits, classification)"] == "380.8 M"


def test_a_cell_recorded_twice_is_one_value_of_one_seed() -> None:
    once = record("mixmae", 0, top1=80.0)
    other = record("mixmae", 1, top1=90.0)
    assert suite_table("s", [once, other, once]) == suite_table("s", [once, other])
    assert rows(suite_table("s", [once, once]))[0]["top-1 ↑"] == "80.00"


def test_seeds_are_listed_once_and_in_order() -> None:
    table = suite_table("s", grid())
    assert "Seeds: 0, 2, 10." in table
    assert {row["seeds"] for row in rows(table)} == {"3"}


def test_the_table_names_the_suite_its_columns_and_their_units() -> None:
    table = suite_table("digits", grid())
    assert table.startswith("# digits\n\n| ")
    costs = ["params", "pretraining FLOPs", "pretraining s", "seeds"]
    costs += [f"{unit}, {name}" for unit in ("FLOPs", "s") for name in ("top-1", "box AP", "mIoU")]
    assert list(rows(table)[0]) == TITLES[:2] + TITLES[3:] + costs
    for name in ("top1", "box_ap", "mask_ap", "miou"):
        assert f"{heading(name)}: {METRICS[name].meaning}." in table
    assert table.endswith(".\n")
    assert not table.endswith("\n\n")


def test_no_records_give_a_table_without_rows() -> None:
    assert rows(suite_table("s", [])) == []


def test_one_line_of_metrics_uses_the_titles_of_the_table() -> None:
    assert metrics_text({"box_ap": 1.239, "mask_ap": 0.0}) == "box AP 1.24, mask AP 0.00"
    assert metrics_text({"loss": 0.5}) == "loss 0.50"


def test_reading_records_and_making_tables_imports_no_torch_nor_openmmlab() -> None:
    code = (
        "import sys, mixmae_bench.report.suite, mixmae_bench.results.published\n"
        "heavy = {'torch', 'torchvision', 'timm', 'numpy', 'mmengine', 'mmcv'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_value_that_leaves_out_a_class_has_a_star_and_a_note_that_names_it() -> None:
    whole = record("scratch", 0, miou=50.0)
    part = replace(record("mixmae", 0, miou=100.0), absent_classes=["bird"])
    table = suite_table("s", [whole, part])
    assert [row["mIoU ↑"] for row in rows(table)] == ["50.00", "100.00 *"]
    assert "*: not over all classes: in segmentation no validation image has bird." in table
    assert "not over all classes" not in suite_table("s", [whole])
    assert metrics_text(part.metrics, part.absent_classes) == "mIoU 100.00 (no validation image has bird)"
