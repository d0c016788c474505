"""Records: whole lines whatever happens to a writer, and a complaint for every line that is none."""

import dataclasses
import errno
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.results.measurements import COUNT_SCHEMA, Count
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.record import (
    MIGRATIONS,
    SCHEMA,
    Record,
    append_record,
    read_lines,
    read_records,
)

OLD = Path(__file__).parent / "old_records.jsonl"
"""Lines that runs wrote, two of every schema up to 4, from the history of results/measured/digits."""

RECORD = Record(
    schema=SCHEMA,
    suite="digits",
    suite_version=1,
    method="mixmae",
    backbone="MixMAESwin-small",
    task="detection",
    dataset="digits",
    seed=0,
    key="0123456789abcdef",
    initialisation="pretraining",
    parent="89abcdef01234567",
    metrics={"box_ap": 31.25, "mask_ap": 30.0},
    stderr={"box_ap": 1.5, "mask_ap": 1.25},
    resamples=200,
    losses=[1.5, 0.75],
    grad_norms=[3.0, 2.5],
    num_samples=200,
    params=2032864,
    backbone_params=935764,
    flops=380818944,
    image_shape=[64, 64],
    config="configs/detection.py",
    config_hash="fedcba9876543210",
    data_hash="76543210fedcba98",
    checkpoint="00112233aabbccdd",
    checkpoint_filled=100.0,
    epochs=8,
    iterations=400,
    lr=2e-3,
    retries=0,
    precision="bfloat16",
    processes=1,
    process_counts=[2, 1],
    accumulation=1,
    effective_batch=8,
    images_per_s=None,
    seconds=12.5,
    peak_memory_mb=1024.5,
    threads=1,
    started="2026-01-02T03:04:05+00:00",
    code="0.1.0 (01234567+)",
    code_hash="3210fedcba987654",
    packages={"torch": "2.11.0"},
    hardware={"cpu": "a CPU", "cores": 2, "gpu": None},
)
# A name that a careless reader takes for two lines, and one that JSON must escape.
AWKWARD = dataclasses.replace(RECORD, method='line\u2028break \x85 "quoted" \\ é', dataset="two\nlines")

WRITER = """
import dataclasses, sys, time
from pathlib import Path
from mixmae_bench.results.record import append_record, read_records

path, number = Path(sys.argv[1]), int(sys.argv[2])
record = read_records(Path(sys.argv[3]))[0][0]
print("ready", flush=True)
sys.stdin.readline()
for seed in range(50):
    append_record(path, dataclasses.replace(record, method=f"writer{number}", seed=seed))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def line_with(**changes: object) -> str:
    """Return the record's line with some fields changed, and those set to `...` left out."""
    values = {**dataclasses.asdict(RECORD), **changes}
    return json.dumps({k: v for k, v in values.items() if v is not ...})


def test_appended_records_are_read_back_equal_and_in_order(file: Path) -> None:
    other = dataclasses.replace(RECORD, seed=1, checkpoint=None, checkpoint_filled=None, images_per_s=81.5)
    for record in (RECORD, AWKWARD, other):
        append_record(file, record)
    assert read_records(file) == ([RECORD, AWKWARD, other], [])


def test_append_writes_one_line_per_record_that_any_json_reader_takes(file: Path) -> None:
    append_record(file, RECORD)
    append_record(file, AWKWARD)
    content = file.read_bytes()
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 2
    assert [json.loads(line) for line in content.splitlines()] == [
        dataclasses.asdict(RECORD),
        dataclasses.asdict(AWKWARD),
    ]


def test_append_creates_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "records.jsonl"
    append_record(file, RECORD)
    assert read_records(file) == ([RECORD], [])


def test_a_missing_file_has_no_records_and_is_not_created(file: Path) -> None:
    assert read_records(file) == ([], [])
    assert not file.exists()


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_half_a_line_of_a_killed_writer_spoils_neither_its_neighbours_nor_the_next_append(
    file: Path, kept: int
) -> None:
    append_record(file, RECORD)
    whole = file.read_bytes().rstrip(b"\n")
    with open(file, "ab") as stream:
        stream.write(whole[:kept])
    before = read_records(file)
    assert before[0] == [RECORD]

    append_record(file, AWKWARD)
    append_record(file, RECORD)

    records, complaints = read_records(file)
    assert records == [RECORD, AWKWARD, RECORD]
    assert len(complaints) == 1
    assert f"{file} line 2 is skipped" in complaints[0]
    assert before[1] == complaints


def test_a_disk_that_takes_half_a_line_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_record(file, RECORD)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"records.jsonl cannot be written: No space left .*; make room"):
        append_record(file, AWKWARD)
    assert file.read_bytes() == before


def test_a_whole_last_line_without_its_newline_is_kept(file: Path) -> None:
    file.write_text(line_with())
    append_record(file, AWKWARD)
    assert read_records(file) == ([RECORD, AWKWARD], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (line_with(schema=0), "schema is 0"),
        (line_with(schema=True), "schema is True"),
        (line_with(schema="4"), "schema is '4'"),
        (line_with(schema=...), "schema is None"),
        (line_with(seed=...), r"missing fields: seed$"),
        (line_with(seed=..., threads=..., zeal=1), r"missing fields: seed, threads$"),
        (line_with(schema=1, seed=...), r"missing fields: seed$"),
        (
            line_with(schema=SCHEMA + 1, seed=...),
            rf"missing fields: seed \(a newer version .* schema {SCHEMA + 1}: update",
        ),
        (line_with(schema=SCHEMA + 1, lr={"backbone": 1.0}), r"lr is .*, not of .*newer version.*update"),
        (line_with(seed="0"), 'seed is "0", not of type'),
        (line_with(seed=0.5), "seed is 0.5"),
        (line_with(seed=True), "seed is true, not of type int$"),
        (line_with(seconds="1"), 'seconds is "1", not of type float$'),
        (line_with(hardware={"cores": True}), "hardware is "),
        (line_with(parent=3), "parent is 3"),
        (line_with(metrics=None), "metrics is null"),
        (line_with(metrics={"top1": "high"}), "metrics is "),
        (line_with(losses=3), "losses is 3"),
        (line_with(image_shape=["a", 1]), "image_shape is "),
        pytest.param("[" * 20000, "recursion", id="deep"),
        ("[1, 2]", "not a JSON object"),
        ("3", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "schema is None"),
        ("not json", "Expecting value"),
        ("", "Expecting value"),
        ("\0" * 64, "Expecting value"),
    ],
)
def test_a_line_that_is_no_record_is_skipped_and_named_with_its_number(
    file: Path, line: str, reason: str
) -> None:
    good = line_with()
    file.write_text(f"{good}\n{good}\n{line}\n{good}\n")
    records, complaints = read_records(file)
    assert records == [RECORD] * 3
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{file} line 3 is skipped: ")
    assert "\n" not in complaints[0]
    assert re.search(reason, complaints[0])


def test_bytes_that_are_not_utf8_cost_their_own_line_only(file: Path) -> None:
    good = line_with().encode()
    file.write_bytes(good + b"\n\xff\xfe\x80\n" + good + b"\n")
    records, complaints = read_records(file)
    assert records == [RECORD, RECORD]
    assert len(complaints) == 1
    assert "line 2" in complaints[0]


def test_values_that_are_not_finite_are_read(file: Path) -> None:
    file.write_text(line_with(metrics={"loss": float("nan")}, losses=[float("inf"), float("-inf")]))
    ((record,), complaints) = read_records(file)
    assert complaints == []
    assert math.isnan(record.metrics["loss"])
    assert record.losses == [math.inf, -math.inf]


def test_every_bad_line_gets_a_complaint_of_its_own(file: Path) -> None:
    file.write_text(f"x\n{line_with()}\n{line_with(schema=-99)}\n[]\n")
    records, complaints = read_records(file)
    assert records == [RECORD]
    assert [complaint.split("line ")[1][0] for complaint in complaints] == ["1", "3", "4"]


def test_eight_processes_appending_at_once_lose_and_mix_nothing(file: Path, tmp_path: Path) -> None:
    # Longer than any write buffer: without a lock the lines of several processes would mix.
    long = dataclasses.replace(RECORD, packages={f"package{i}": "1.0" for i in range(4000)})
    template = tmp_path / "template.jsonl"
    append_record(template, long)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), str(number), str(template)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0

    records, complaints = read_records(file)
    assert complaints == []
    assert file.read_bytes().count(b"\n") == 400
    written = {(record.method, record.seed) for record in records}
    assert written == {(f"writer{number}", seed) for number in range(8) for seed in range(50)}
    assert all(record.packages == long.packages for record in records)
    for number in range(8):
        seeds = [record.seed for record in records if record.method == f"writer{number}"]
        assert seeds == list(range(50))


def test_every_metric_says_what_it_is_and_in_which_unit() -> None:
    assert {"loss", "top1", "box_ap", "mask_ap", "miou"} <= METRICS.keys()
    assert all("%" in metric.meaning for name, metric in METRICS.items() if name != "loss")


# Other versions.


def old_lines() -> list[dict]:
    return [json.loads(line) for line in OLD.read_text().splitlines()]


def test_real_lines_of_every_older_schema_are_read_with_all_that_they_hold() -> None:
    records, complaints = read_records(OLD)
    assert complaints == []
    lines = old_lines()
    assert sorted({line["schema"] for line in lines}) == list(range(1, SCHEMA))
    for record, line in zip(records, lines, strict=True):
        names = {"errors": "stderr", "start": "initialisation"}
        assert {name: getattr(record, names.get(name, name)) for name in line} == line


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (1, ["stderr", "resamples", "losses", "flops", "image_shape", "data_hash"]),
        (1, ["iterations", "lr", "processes", "accumulation", "code_hash"]),
        (2, ["grad_norms"]),
        (3, ["retries"]),
        (4, ["precision", "process_counts"]),
        (6, ["protocol", "settings", "tuning_share"]),
        (7, ["checkpoint_source"]),
        (8, ["final_checkpoint"]),
    ],
)
def test_what_an_older_schema_did_not_record_is_absent_and_not_made_up(
    schema: int, fields: list[str]
) -> None:
    for record in read_records(OLD)[0]:
        if record.schema <= schema:
            values = [getattr(record, name) for name in fields]
            assert all(value is None or value in ([], {}) for value in values), values
        else:
            empty = {"precision", "tuning_share", "checkpoint_source"}
            empty |= {"retries"} if record.schema > 6 else set()
            assert all(getattr(record, name) is not None for name in set(fields) - empty)


def test_a_run_of_schema_1_from_random_weights_is_known_as_that_and_no_other() -> None:
    pretraining, transfer = [record for record in read_records(OLD)[0] if record.schema == 1]
    assert (pretraining.checkpoint, pretraining.initialisation) == (None, "random")
    assert transfer.checkpoint
    assert (transfer.initialisation, transfer.parent) == (None, None)


def test_a_speed_that_counted_the_time_of_validation_is_not_taken_for_one_that_does_not(file: Path) -> None:
    by_iterations = dict(epochs=None, images_per_s=81.5)
    changes = [{}, by_iterations, dict(schema=SCHEMA, **by_iterations)]
    before = next(line for line in old_lines() if line["schema"] == 4)
    lines = [{**before, **own} for own in changes]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    records, complaints = read_records(file)
    assert complaints == []
    assert [record.images_per_s for record in records] == [lines[0]["images_per_s"], None, 81.5]


def test_every_migration_starts_from_a_schema_that_was_and_leaves_the_values_it_is_given() -> None:
    assert MIGRATIONS.keys() <= set(range(1, SCHEMA))
    for step, migrate in MIGRATIONS.items():
        for line in (old_lines()[0], old_lines()[-1], {}):
            before = json.dumps(line)
            assert migrate(migrate(line)) == migrate(line), step
            assert json.dumps(line) == before


def test_a_line_of_a_newer_version_is_read_as_far_as_this_one_knows_it(file: Path) -> None:
    newer = line_with(schema=SCHEMA + 1, probe="linear", table={"a": [1, None]})
    file.write_text(f"{newer}\n{line_with(threads_per_core=2)}\n")
    assert read_records(file) == ([dataclasses.replace(RECORD, schema=SCHEMA + 1), RECORD], [])


def test_counts_of_a_newer_version_are_read_too(file: Path) -> None:
    count = Count(COUNT_SCHEMA, "config.py", [224, 224], "", 88, 88, 16, "0.1.0", {})
    newer = {**dataclasses.asdict(count), "schema": COUNT_SCHEMA + 1, "macs": 16}
    file.write_text(json.dumps(newer))
    assert read_lines(file, Count, COUNT_SCHEMA) == (
        [dataclasses.replace(count, schema=COUNT_SCHEMA + 1)],
        [],
    )
