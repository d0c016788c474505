"""Tables by name: published values joined with records, bad lines of records, and the command."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from report_records import record

from mixmae_bench.cli import main
from mixmae_bench.report import make
from mixmae_bench.report.make import NAMES, make_table, read_results, results_page
from mixmae_bench.report.papers import paper_table
from mixmae_bench.report.speeds import speed_table
from mixmae_bench.report.table import Table, to_csv
from mixmae_bench.report.text import FORMATS
from mixmae_bench.results.measurements import COUNT_SCHEMA, SPEED_SCHEMA, Count, Speed
from mixmae_bench.results.published import Other, Published, Source
from mixmae_bench.results.record import Record, append_record
from mixmae_bench.suite.spec import shipped_outlines
from mixmae_bench.system.shipped import shipped

TEACHERS = ("CLIP-B teacher", "CLIP-L teacher")
PAPER = Source("paper", "paper", "arXiv 1", "https://arxiv.org/abs/1")
FINETUNE = "configs/classification/mixmae_ft.py"
LONG = Published(
    "MixMAE",
    "Swin-B",
    "ImageNet-1K",
    {"top1": 85.1},
    PAPER,
    window=14,
    pretrain_epochs=600,
    flops_g=16.3,
    model=FINETUNE,
    pretrain="configs/pretrain/mixmae_600e.py",
)
SHORT = replace(LONG, values={"top1": 84.6}, pretrain_epochs=300, pretrain="configs/pretrain/mixmae_300e.py")


def runs(method: str, pretrain: str, top1: float, seeds: int = 1) -> list[Record]:
    """Return records of pretraining and fine-tuning, the second from the first."""
    records = []
    for seed in range(seeds):
        first = replace(
            record(method, seed, loss=0.5), config=f"../pretrain/{pretrain}.py", key=f"{method}{seed}"
        )
        second = replace(record(method, seed, top1=top1 + seed), config="../classification/mixmae_ft.py")
        records += [first, replace(second, parent=first.key, stderr={"top1": 0.1})]
    return records


def cells(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_run_stands_beside_the_value_of_its_own_pretraining() -> None:
    table = paper_table("t", [SHORT, LONG], [], runs("mixmae", "mixmae_600e", 84.7))
    short, long = cells(table)
    assert (short["top-1 here"], short["verdict"]) == ("", "not run")
    assert long["backbone"] == "Swin-B/W14"
    assert [long[c] for c in ("top-1", "top-1 here", "top-1 difference", "verdict", "source")] == [
        "85.1",
        "84.70 ± 0.10",
        "-0.40",
        "not reproduced",
        "paper",
    ]


def test_seeds_are_joined_in_one_cell() -> None:
    (row,) = cells(paper_table("t", [LONG], [], runs("mixmae", "mixmae_600e", 84.7, seeds=2)))
    # 84.7 and 85.7: the standard error over seeds is 0.5, with 0.1 over images 0.51.
    assert (row["top-1 here"], row["verdict"]) == ("85.20 ± 0.51", "within noise")


def test_a_run_from_a_checkpoint_belongs_to_the_row_of_the_pretraining_that_its_suite_states() -> None:
    run = replace(
        record("mixmae-600e", 0, top1=84.6),
        config="../classification/mixmae_ft.py",
        initialisation="checkpoint",
        pretrained_by="../pretrain/mixmae_300e.py",
    )
    short, long = cells(paper_table("t", [SHORT, LONG], [], [run]))
    assert (short["verdict"], long["verdict"]) == ("reproduced", "not run")
    unstated = replace(run, pretrained_by=None)
    assert {row["verdict"] for row in cells(paper_table("t", [SHORT, LONG], [], [unstated]))} == {"not run"}


def test_runs_of_another_config_are_not_joined() -> None:
    other = [
        replace(r, config="../classification/mixmae_linear.py") for r in runs("mixmae", "mixmae_600e", 85.1)
    ]
    (row,) = cells(paper_table("t", [LONG], [], other))
    assert row["verdict"] == "not run"


def test_the_verdict_on_several_metrics_is_the_worst() -> None:
    row = replace(LONG, values={"box_ap": 50.0, "mask_ap": 45.0})
    run = replace(
        record("mixmae-600e", 0, box_ap=50.0, mask_ap=40.0),
        config="x/mixmae_ft.py",
        initialisation="checkpoint",
        pretrained_by="x/mixmae_600e.py",
    )
    (joined,) = cells(paper_table("t", [row], [], [run]))
    assert (joined["box AP difference"], joined["mask AP difference"]) == ("+0.00", "-5.00")
    assert joined["verdict"] == "not reproduced"


def test_what_is_counted_stands_beside_what_is_published() -> None:
    count = Count(COUNT_SCHEMA, FINETUNE, [224, 224], "", 88_344_352, 88_143_648, 16_316_051_456, "0", {})
    larger = replace(count, shape=[384, 384], flops=52_462_329_856)
    table = paper_table("t", [LONG, replace(LONG, model=None)], [count], [])
    first, second = cells(table)
    assert [first[c] for c in ("params here (M)", "FLOPs (G)", "FLOPs here (G)")] == [
        "88.34",
        "16.3",
        "16.32",
    ]
    assert second["FLOPs here (G)"] == ""
    assert any("here at 224x224 px" in note for note in table.notes)
    (third,) = cells(paper_table("t", [replace(LONG, shape=(224, 224))], [count, larger], []))
    assert third["FLOPs here (G)"] == "16.32"
    (fourth,) = cells(paper_table("t", [LONG], [count, larger], []))
    assert fourth["FLOPs here (G)"] == "52.46"


def test_a_value_without_a_source_says_so_and_sources_are_listed() -> None:
    zoo = Source("zoo", "model-zoo", "zoo/x.yml", "https://zoo.org/x.yml")
    rows = [
        replace(LONG, values={"top1": None}, source=None),
        replace(LONG, also=(Other({"top1": 84.9}, zoo),), why="the authors' own"),
    ]
    table = paper_table("t", rows, [], [])
    assert [row["top-1"] for row in cells(table)] == ["not sourced", "85.1"]
    assert "- source paper (paper): arXiv 1, https://arxiv.org/abs/1" in table.notes
    assert "- source zoo (model-zoo): zoo/x.yml, https://zoo.org/x.yml" in table.notes
    values = "top-1 85.1 (paper), also top-1 84.9 (zoo)"
    assert f"- MixMAE Swin-B/W14, 600 epochs: {values}: the authors' own." in table.notes
    assert table.links == {"paper": "https://arxiv.org/abs/1"}


def test_a_broken_line_and_one_of_a_future_version_that_lacks_a_field_are_told_and_the_rest_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "records.jsonl"
    append_record(file, record("mixmae", 0, top1=80.0))
    with open(file, "a", encoding="utf-8") as lines:
        lines.write('{"schema": 4, "sui\n')
        future = {**asdict(record("mixmae", 1, top1=0.0)), "schema": 99}
        lines.write(json.dumps({"scores": future.pop("metrics"), **future}) + "\n")
        lines.write(json.dumps({**asdict(record("mixmae", 2, top1=90.0)), "schema": 99, "more": 1}) + "\n")
    assert main(["table", "digits", "--records", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "85.00 ± 5.00" in out
    first, second = err.splitlines()
    assert first.startswith(f"{file} line 2 is skipped: ")
    assert second.startswith(f"{file} line 3 is skipped: missing fields: metrics (a newer version")


def test_records_are_exported_one_row_each_with_a_column_per_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "records.jsonl"
    append_record(file, record("mixmae", 0, loss=0.5))
    append_record(file, replace(record("mixmae", 0, top1=80.0), stderr={"top1": 1.5}, losses=[2.0, 1.0]))
    assert main(["table", "records", "--format", "csv", "--records", str(file)]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (first["metrics.loss"], first["metrics.top1"], first["stderr.top1"]) == ("0.5", "", "")
    assert (second["metrics.loss"], second["metrics.top1"], second["stderr.top1"]) == ("", "80.0", "1.5")
    assert (second["losses"], second["parent"], second["image_shape"]) == ("2.0 1.0", "", "64 64")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["imagenett"], "unknown table 'imagenett'; known: imagenet, coco"),
        (["imagenett"], "Did you mean 'imagenet'?"),
        ([], "give the name of a table or --all"),
        (["digits", "--all"], "give the name of a table or --all"),
        (["--all", "--format", "csv"], "--all is Markdown"),
        (["digits", "--records", "nowhere.jsonl"], "records nowhere.jsonl do not exist"),
        (
            ["imagenet", "--method", "SimNIM"],
            "--method 'SimNIM' is not in this table. Did you mean 'SimMIM'?",
        ),
        (["imagenet", "--method", "SimNIM"], "Known: A2MIM; BEiT; "),
        (
            ["imagenet", "--method", "mixmae", "--backbone", "ViT-B"],
            "no row of this table matches --method 'mixmae' --backbone 'ViT-B' together",
        ),
        (["speed", "--data", "IN1K"], "--data selects rows of published values; give one of: ade20k, "),
        (["--all", "--data", "IN1K"], "--data selects rows of published values"),
        (["digits", "--protocol", "a"], "--protocol selects rows of published values"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert main(["table", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1


def speed(model: str, started: str, images_per_s: float, peak: float) -> Speed:
    numbers = dict(images_per_s=images_per_s, slowest=1.0, fastest=9.0, peak_memory_mb=peak)
    place = dict(device="cpu", threads=2, hardware=dict(cpu="CPU", gpu=None, cores=2), code="", packages={})
    setting = dict(step="training", dtype="float32", batch=8, shape=(224, 224), compile=False, steps=3)
    costs = dict(flops=10**9, matmul_flops_per_s=6.0 * 10**10)
    return Speed(schema=SPEED_SCHEMA, model=model, started=started, **numbers, **place, **setting, **costs)


def test_speeds_are_compared_with_the_first_model_of_their_own_run() -> None:
    late = [speed("c.py", "2026-02", 8.0, 100.0), speed("configs/pretrain/d.py", "2026-02", 12.0, 50.0)]
    early = [speed("a.py", "2026-01", 4.0, 200.0), speed("b.py", "2026-01", 5.0, 300.0)]
    rows = cells(speed_table([*late, *early]))
    assert [(r["run"], r["model"], r["speed x"], r["memory x"]) for r in rows] == [
        ("1", "a", "1.00", "1.00"),
        ("1", "b", "1.25", "1.50"),
        ("2", "c", "1.00", "1.00"),
        ("2", "pretrain/d", "1.50", "0.50"),
    ]
    # 5 images/s of three passes of 1 GFLOP each, of 60 GFLOP/s.
    assert (rows[1]["of matmul"], rows[1]["on"]) == ("25 %", "CPU, 2 threads")


def test_every_table_is_the_same_bytes_when_made_twice_in_every_format() -> None:
    once, again = read_results(shipped_outlines()), read_results(shipped_outlines())
    for name in NAMES:
        for text in FORMATS.values():
            assert text(make_table(name, once)) == text(make_table(name, again))


def test_records_of_submissions_are_in_the_tables_and_those_of_another_version_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/published").symlink_to(shipped("results") / "published")
    monkeypatch.setattr(make, "shipped", lambda name: tmp_path / name)
    outlines = {"digits": shipped_outlines()["digits"]}
    version = outlines["digits"].version
    for folder, own, top1 in (("measured/digits", version - 1, 11.11), ("submissions/a", version, 22.22)):
        for seed in (0, 1):
            run = replace(record("mixmae", seed, top1=top1 + seed), suite="digits", suite_version=own)
            append_record(tmp_path / "results" / folder / "records.jsonl", run)
    results = read_results(outlines)
    assert len(results.records) == 4
    assert {r.suite_version for r in results.runs} == {version}
    text = to_csv(make_table("digits", results))
    assert "22.72 ± 0.50" in text
    assert "11." not in text


@pytest.mark.parametrize(
    ("arguments", "column", "found"),
    [
        (["imagenet", "--method", "mixmae"], "method", {"MixMAE"}),
        (["imagenet", "--method", "itpn*"], "method", {f"iTPN ({t})" for t in ("pixel", *TEACHERS)}),
        (["imagenet", "--backbone", "ViT-H"], "backbone", {"ViT-H/14"}),
        (["coco", "--method", "SimMIM", "--method", "GreenMIM"], "method", {"SimMIM", "GreenMIM"}),
        (["coco", "--protocol", "HTC++"], "protocol", {"HTC++"}),
        (["ade20k", "--data", "IN22K"], "pretraining", {"IN22K"}),
        (["classification", "--data", "iNaturalist 2017"], "method", {"MAE"}),
        (["pretraining-cost", "--method", "UM-MAE"], "method", {"UM-MAE", "um-mae"}),
    ],
)
def test_rows_of_published_values_are_selected(
    arguments: list[str], column: str, found: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", *arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row[column] for row in rows} == found


def test_a_selection_lists_the_sources_of_its_rows_only() -> None:
    table = make_table("ade20k", read_results(), {"backbone": ["not named"]})
    assert [row[-1] for row in table.rows] == ["wizwand"]
    assert [note for note in table.notes if note.startswith("- source ")] == [
        "- source wizwand (third-party): wizwand.com, page of the MixMAE paper, benchmark list, "
        "https://www.wizwand.com/paper/68fa6eee1e209131cea42eff"
    ]


def test_every_row_with_a_value_links_its_source() -> None:
    results = read_results()
    for name in results.published:
        rows = list(csv.DictReader(to_csv(make_table(name, results)).splitlines()))
        published = [row for row in rows if row["source"] and not row["source"].startswith("here: ")]
        assert len(published) > 20
        assert all(row["source url"].startswith("https://") for row in published), name


def test_the_table_can_be_written_to_a_file(tmp_path: Path) -> None:
    assert main(["table", "--all", "--out", str(tmp_path / "README.md")]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == results_page(
        read_results(shipped_outlines())
    )


@pytest.mark.parametrize(("table", "light"), [("--all", "torch"), ("digits", "numpy")])
def test_tables_import_no_torch_nor_openmmlab_and_without_verdicts_no_numpy(
    table: str, light: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from mixmae_bench.cli import main\n"
        "assert main(['table', sys.argv[1], '--out', sys.argv[2]]) == 0\n"
        "heavy = {sys.argv[3], 'torch', 'torchvision', 'timm', 'mmengine', 'mmcv'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, table, str(tmp_path / "README.md"), light]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
