"""The report: what it holds, what it escapes, and what Chromium makes of it."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.report.page import report, write_report
from mixmae_bench.report.summary import duration, summary
from mixmae_bench.results.outline import Outline
from mixmae_bench.results.published import read_published
from mixmae_bench.results.record import append_record, read_records
from mixmae_bench.results.verdicts import matrices
from mixmae_bench.suite.spec import read_suite

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "results/measured/digits"
HOSTILE = "<script>alert(1)</script>&\"'$x$"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Outline:
    monkeypatch.chdir(ROOT)
    return read_suite("configs/suites/digits.yaml").outline()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the digits, as a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        outline = read_suite("configs/suites/digits.yaml").outline()
        return write_report(outline, DIGITS, tmp_path_factory.mktemp("report") / "r.html")


class Page(HTMLParser):
    """Tags that are open, ids, links out and cells by table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.addresses = [], [], []
        self.tables, self.table, self.scripts = {}, None, 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        self.scripts += tag == "script"
        if tag == "table":
            self.table = values["id"]
            self.tables[self.table] = []
        elif tag == "tr":
            self.tables[self.table].append([])
        elif tag in ("td", "th"):
            self.tables[self.table][-1].append("")
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[self.table][-1][-1] += data


def test_the_report_holds_every_run_and_nothing_from_elsewhere(written: Path) -> None:
    text = written.read_text()
    page = Page(text)
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert len(page.tables["outcomes"]) == len(page.tables["settings"]) == 1 + 75
    assert [row[0] for row in page.tables["sort"]] == ["method", "scratch", "mixmae", "simmim", "um-mae"]
    for words in ("None: all 75 runs are recorded.", "--seeds 0,1,2,3,4 --work-dir"):
        assert words in text
    assert sum(map(int, re.findall(r"<p>(\d+) runs?: ", text))) == 75  # by where they were executed


def test_a_suite_of_published_recipes_shows_all_published_rows_with_links_to_their_sources(
    tmp_path: Path,
) -> None:
    (tmp_path / "records.jsonl").write_text("", encoding="utf-8")
    page = Page(report(read_suite("transfer").outline(), tmp_path))
    tables = read_published(ROOT / "results" / "published")
    shown = [page.tables[f"published{number}"] for number in range(1, 5)]
    names = ("imagenet", "coco", "ade20k", "classification")
    assert [len(rows) - 1 for rows in shown] == [len(tables[name]) for name in names]
    out = [address for address in page.addresses if not address.startswith(("data:", "#"))]
    assert out == [row.source.url for name in names for row in tables[name] if row.source]


def test_the_same_records_give_the_same_file(suite: Outline, written: Path, tmp_path: Path) -> None:
    again = write_report(suite, DIGITS, tmp_path / "a" / "r.html")
    assert again.read_bytes() == written.read_bytes()
    assert list(again.parent.iterdir()) == [again]


def test_names_are_text_not_markup(suite: Outline, tmp_path: Path) -> None:
    for r in read_records(DIGITS / "records.jsonl")[0]:
        hostile = r.method if r.method != "mixmae" else HOSTILE
        append_record(tmp_path / "records.jsonl", replace(r, method=hostile, config=f"{HOSTILE}.py"))
    text = report(suite, tmp_path)
    assert "<script>alert" not in text
    page = Page(text)
    assert page.scripts == 1
    assert HOSTILE in [row[0] for row in page.tables["sort"]]


def test_broken_lines_missing_runs_and_other_suites_are_told(
    suite: Outline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, second, *_) = read_records(DIGITS / "records.jsonl")[0]
    append_record(tmp_path / "records.jsonl", first)
    append_record(tmp_path / "records.jsonl", replace(second, suite_version=first.suite_version - 1))
    with open(tmp_path / "records.jsonl", "a") as file:
        file.write('{"schema": <b>\n')
    text = report(suite, tmp_path)
    assert "records.jsonl line 3 is skipped" in text
    assert "1 records of another suite, or of another version of it, are not shown." in text
    assert "14 of the suite's 15 runs have no record" in text
    assert "<li>mixmae/seed0/detection</li>" in text
    assert "<b>" not in text
    assert main(["report", "configs/suites/digits.yaml", "--work-dir", str(tmp_path)]) == 0
    broken, others = capsys.readouterr().err.splitlines()
    assert "records.jsonl line 3 is skipped" in broken
    assert others.startswith("1 records of another suite")


def test_the_last_picture_of_a_pretraining_is_shown(suite: Outline, tmp_path: Path) -> None:
    assert "There are no pictures of reconstructions" in report(suite, tmp_path)
    folder = tmp_path / "mixmae/seed0/pretraining/vis_data/vis_image"
    folder.mkdir(parents=True)
    for name in ("reconstruction_1.png", "reconstruction_2.png", "reconstruction_10.png"):
        (folder / name).write_bytes(name.encode())
    text = report(suite, tmp_path)
    assert "mixmae, seed 0: reconstruction_10.png" in text
    assert "reconstruction_2.png" not in text


def test_the_summary_says_which_methods_the_best_one_is_better_than() -> None:
    records = [r for r in read_records(DIGITS / "records.jsonl")[0] if r.task == "classification"]
    values = {"scratch": (80.0, 81.0, 80.5), "mixmae": (91.0, 92.5, 90.5), "simmim": (92.0, 91.0, 91.5)}
    chosen = [
        replace(r, metrics={"top1": values[r.method][r.seed]}, outcomes=None, seconds=60.0)
        for r in records
        if r.method in values and r.seed < 3
    ]
    top1, took = summary(matrices(chosen, [])[0], chosen)
    assert top1 == (
        "top-1, classification on digits: simmim has the best mean, 91.50. "
        "It is better than scratch (80.50). It is not distinguishable from mixmae (91.33)."
    )
    assert took.startswith("9 runs took 9 min")
    alone = [r for r in chosen if r.seed == 0]
    (top1, _) = summary(matrices(alone, [])[0], alone)
    assert "No verdict with fewer than two seeds: mixmae (91.00) and scratch (80.00)." in top1
    assert summary([], []) == ["Nothing has been recorded yet."]


def test_durations() -> None:
    assert [duration(s) for s in (45, 600, 3 * 3600 + 300)] == ["45 s", "10 min", "3 h 05 min"]


def test_the_committed_plots_are_those_of_the_committed_records(suite: Outline, tmp_path: Path) -> None:
    command = ["report", "configs/suites/digits.yaml", "--work-dir", "results/measured/digits"]
    assert main([*command, "--out", str(tmp_path / "r.html"), "--plots", str(tmp_path)]) == 0
    assert (tmp_path / "cost.png").is_file()
    assert (DIGITS / "transfer.svg").read_text() == (tmp_path / "transfer.svg").read_text(), "write it again"


def test_a_folder_without_records_is_the_users_mistake(
    suite: Outline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "configs/suites/digits.yaml", "--work-dir", str(tmp_path)]) == 2
    assert "has no records.jsonl; give --work-dir" in capsys.readouterr().err


CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def chromium(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={folder / 'profile'}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@needs_chromium
@pytest.mark.parametrize(
    ("fragment", "methods"),
    [
        ("", ["scratch", "mixmae", "simmim", "um-mae"]),
        ("#sort=top1", ["mixmae", "simmim", "um-mae", "scratch"]),
        ("#sort=top1:up", ["scratch", "um-mae", "simmim", "mixmae"]),
        ("#sort=pretrainings", ["um-mae", "simmim", "mixmae", "scratch"]),  # no value is last
    ],
)
def test_the_fragment_sorts(written: Path, tmp_path: Path, fragment: str, methods: list[str]) -> None:
    shown = chromium(tmp_path, "--dump-dom", f"{written.as_uri()}{fragment}")
    assert [row[0] for row in Page(shown.stdout).tables["sort"][1:]] == methods
    assert "CONSOLE" not in shown.stderr
    assert ('aria-sort="descending"' in shown.stdout) == (fragment == "#sort=top1")


@needs_chromium
def test_clicks_sort_and_words_filter(written: Path, tmp_path: Path) -> None:
    script = """<script>
      document.querySelector('#sort th[data-key=method] button').click();
      document.querySelector('#sort th[data-key=method] button').click();
      const filter = document.querySelector('input[data-table=outcomes]');
      filter.value = 'simmim detection'; filter.dispatchEvent(new Event('input'));
      const shown = document.querySelectorAll('#outcomes tbody tr:not([hidden])');
      document.title = location.hash + ' ' + shown.length;
    </script></body>"""
    file = tmp_path / "r.html"
    file.write_text(written.read_text().replace("</body>", script))
    shown = chromium(tmp_path, "--dump-dom", file.as_uri())
    assert "<title>#sort=method%3Adown 5</title>" in shown.stdout
    assert Page(shown.stdout).tables["sort"][1][0] == "um-mae"
    assert "CONSOLE" not in shown.stderr


@needs_chromium
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_the_print_holds_every_row(written: Path, tmp_path: Path) -> None:
    chromium(tmp_path, f"--print-to-pdf={tmp_path / 'r.pdf'}", written.as_uri())
    text = subprocess.run(["pdftotext", "-layout", tmp_path / "r.pdf", "-"], capture_output=True, text=True)
    page = Page(written.read_text())
    for cells in page.tables["outcomes"][1:]:
        seconds, started = cells[-4], cells[-1]
        assert re.search(rf"\b{re.escape(seconds)} .*{re.escape(started)}", text.stdout), cells
    assert len(re.findall("images/s +memory", text.stdout)) > 1  # the head of the table, on each of its pages
    assert "Show only" not in text.stdout
