"""Every rule for submissions is broken, and no other, in a copy of an accepted one."""

import hashlib
import inspect
import json
import lzma
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mixmae_bench.cli import main
from mixmae_bench.results.bootstrap import top1_error
from mixmae_bench.results.outcomes import Classified, make_outcomes, read_outcomes, write_outcomes
from mixmae_bench.submissions import grid, recipe, training
from mixmae_bench.submissions.check import RULES, check
from mixmae_bench.suite.identity import key_of
from mixmae_bench.suite.progress import note_failure

PRETRAINING, TRANSFER, OTHER = (
    "mixmae/seed0/pretraining",
    "mixmae/seed0/classification",
    "mixmae/seed1/classification",
)

Change = Callable[[dict], None]


class Copy:
    """A copy of the accepted submission, to be changed."""

    def __init__(self, good: Path, folder: Path) -> None:
        self.folder = Path(shutil.copytree(good, folder))

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "records.jsonl").read_text().splitlines()]

    def write(self, lines: list[dict]) -> None:
        (self.folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def line(self, run: str) -> dict:
        return next(line for line in self.lines() if name(line) == run)

    def record(self, run: str, **values: object) -> None:
        self.write([{**line, **(values if name(line) == run else {})} for line in self.lines()])

    def json(self, run: str, file: str, change: Change) -> None:
        path = self.folder / run / file
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def log(self, run: str, change: Callable[[str], str]) -> None:
        path = self.folder / run / "log.txt.xz"
        before = lzma.decompress(path.read_bytes()).decode()
        after = change(before)
        assert after != before
        path.write_bytes(lzma.compress(after.encode()))

    def identity(self, change: Change, *runs: str) -> None:
        """Change the identity of runs, or of all, and all keys that follow from it."""
        lines = self.lines()
        keys = {line["key"]: line["key"] for line in lines}
        for line in sorted(lines, key=lambda line: line["task"] != "pretraining"):
            note = json.loads((self.folder / name(line) / "identity.json").read_text())
            own, old = note["identity"], line["key"]
            if name(line) in runs or not runs:
                change(own)
            if line["parent"]:
                line["parent"] = own["initial_weights"] = keys[line["parent"]]
            keys[old] = line["key"] = note["key"] = key_of(own)
            (self.folder / name(line) / "identity.json").write_text(json.dumps(note))
            if old != line["key"]:
                self.log(name(line), lambda text, old=old, line=line: text.replace(old, line["key"]))
            if line["outcomes"]:
                moved = f"outcomes/{line['key']}.npz"
                (self.folder / line["outcomes"]).rename(self.folder / moved)
                line["outcomes"] = moved
        self.write(lines)

    def outcomes(self, run: str, images: list[str], correct: list[bool]) -> None:
        """Replace the outcomes of a classification, and the hash of their file."""
        part = Classified(np.array(correct), np.zeros(len(images), np.float32))
        path = self.folder / self.line(run)["outcomes"]
        self.record(run, outcomes_hash=write_outcomes(path, make_outcomes(images, {"top1": part})))

    def top1(self, run: str, value: float) -> None:
        """Change a metric wherever it is stated, except in the outcomes."""
        self.record(run, metrics={"top1": value}, stderr={"top1": round(top1_error(value, 16), 4)})
        self.json(run, "curves.json", lambda content: content["curves"]["top1"][-1].__setitem__(1, value))
        self.log(run, lambda log: last_evaluation(log, value))


def last_evaluation(log: str, value: float) -> str:
    before, found, after = log.rpartition("accuracy/top1: ")
    return f"{before}{found}{value:.4f}{after[len(re.match(r'[0-9.]+', after)[0]) :]}"


def name(line: dict) -> str:
    return f"{line['method']}/seed{line['seed']}/{line['task']}"


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Copy:
    return Copy(good, tmp_path / "changed")


def link(copy: Copy) -> None:
    file = copy.folder / TRANSFER / "curves.json"
    file.rename(copy.folder.parent / "outside.json")
    file.symlink_to(copy.folder.parent / "outside.json")


def linked_folder(copy: Copy) -> None:
    folder = copy.folder / "mixmae/seed1"
    folder.rename(copy.folder.parent / "outside")
    folder.symlink_to(copy.folder.parent / "outside", target_is_directory=True)


def too_large(copy: Copy) -> None:
    (copy.folder / "mixmae/epoch_2.pth").write_bytes(bytes(2_000_001))


def torn_line(copy: Copy) -> None:
    with open(copy.folder / "records.jsonl", "a") as file:
        file.write('{"schema": 9, "suite": "li')


def lines_of_another_type(copy: Copy) -> None:
    copy.record(TRANSFER, seed="0")


def no_record(copy: Copy) -> None:
    copy.write([])


def path_outside(copy: Copy) -> None:
    shutil.move(copy.folder / copy.line(TRANSFER)["outcomes"], copy.folder.parent / "own.npz")
    copy.record(TRANSFER, outcomes="../own.npz")


def method_outside(copy: Copy) -> None:
    shutil.move(copy.folder / "mixmae", copy.folder.parent / "mixmae")
    copy.write([{**line, "method": "../mixmae"} for line in copy.lines()])


def absolute_key(copy: Copy) -> None:
    copy.record(PRETRAINING, key="/etc/passwd")


def unknown_file(copy: Copy) -> None:
    (copy.folder / "mixmae/seed0/notes.md").write_text("best epoch")


def missing_file(copy: Copy) -> None:
    (copy.folder / TRANSFER / "log.txt.xz").unlink()


def config_that_is_a_program(copy: Copy) -> None:
    (copy.folder / TRANSFER / "config.json").write_text("import os; os.mkdir('executed')")


def log_of_gigabytes(copy: Copy) -> None:
    zeros = lzma.compress(bytes(2**26 + 1), preset=0)
    (copy.folder / TRANSFER / "log.txt.xz").write_bytes(zeros)


def other_outcomes(copy: Copy) -> None:
    shutil.copy(copy.folder / copy.line(OTHER)["outcomes"], copy.folder / copy.line(TRANSFER)["outcomes"])


def pickled_outcomes(copy: Copy) -> None:
    path = copy.folder / copy.line(TRANSFER)["outcomes"]
    np.savez(path, version=np.array(1), images=np.array([Path("a")], object))
    copy.record(TRANSFER, outcomes_hash=hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def another_method(copy: Copy) -> None:
    for run in (PRETRAINING, TRANSFER):
        (copy.folder / run.replace("mixmae", "own")).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / run).rename(copy.folder / run.replace("mixmae", "own"))
        copy.record(run, method="own")


def tuning_run(copy: Copy) -> None:
    copy.record(TRANSFER, tuning_share=0.2)


def another_version(copy: Copy) -> None:
    copy.write([{**line, "suite_version": 2} for line in copy.lines()])


def unknown_method(copy: Copy) -> None:
    (copy.folder / "mixmae").rename(copy.folder / "own")
    copy.write([{**line, "method": "own"} for line in copy.lines()])


def seed_twice(copy: Copy) -> None:
    copy.write([*copy.lines(), copy.line(TRANSFER)])


def copied_seed(copy: Copy) -> None:
    copy.record(OTHER, losses=copy.line(TRANSFER)["losses"])


def missing_task(copy: Copy) -> None:
    (copy.folder / copy.line(OTHER)["outcomes"]).unlink()
    shutil.rmtree(copy.folder / OTHER)
    copy.write([line for line in copy.lines() if name(line) != OTHER])


def not_a_number(copy: Copy) -> None:
    copy.record(TRANSFER, grad_norms=[1.0, float("nan")])


def no_precision(copy: Copy) -> None:
    copy.record(TRANSFER, precision=None)


def another_key(copy: Copy) -> None:
    copy.json(TRANSFER, "identity.json", lambda note: note.update(key="0" * 16))


def another_lr(copy: Copy) -> None:
    copy.identity(lambda own: own["optim_wrapper"]["optimizer"].update(lr=0.5), TRANSFER, OTHER)


def longer_schedule(copy: Copy) -> None:
    copy.json(TRANSFER, "config.json", lambda cfg: cfg["optim_wrapper"]["optimizer"].update(lr=0.5))


def another_seed(copy: Copy) -> None:
    copy.json(TRANSFER, "config.json", lambda cfg: cfg["randomness"].update(seed=7))


def settings_without_tuning(copy: Copy) -> None:
    copy.record(TRANSFER, settings={"lr": 0.001})


def another_batch(copy: Copy) -> None:
    copy.record(TRANSFER, effective_batch=64)


def another_data_hash(copy: Copy) -> None:
    copy.record(TRANSFER, data_hash="0" * 16)


def data_of_all_seeds(copy: Copy) -> None:
    """Replace the data of classification, consistently in identities and records."""
    copy.identity(lambda own: own["val_data"].update(content="0" * 16), TRANSFER, OTHER)
    for run in (TRANSFER, OTHER):
        note = json.loads((copy.folder / run / "identity.json").read_text())
        both = f"{note['identity']['train_data']['content']} {'0' * 16}"
        copy.record(run, data_hash=hashlib.sha256(both.encode()).hexdigest()[:16])


def pretraining_of_another_seed(copy: Copy) -> None:
    copy.record(TRANSFER, parent=copy.line(OTHER)["parent"])


def another_checkpoint(copy: Copy) -> None:
    copy.record(TRANSFER, checkpoint=copy.line(OTHER)["checkpoint"])


def fewer_losses(copy: Copy) -> None:
    copy.record(TRANSFER, losses=copy.line(TRANSFER)["losses"][1:])
    copy.json(TRANSFER, "curves.json", lambda content: content["losses"].pop(0))


def another_log(copy: Copy) -> None:
    shutil.copy(copy.folder / OTHER / "log.txt.xz", copy.folder / TRANSFER)


def short_log(copy: Copy) -> None:
    copy.log(PRETRAINING, lambda text: re.sub(r".*Epoch\(train\) \[2\].*\n", "", text))


def another_loss(copy: Copy) -> None:
    copy.json(TRANSFER, "curves.json", lambda content: content["losses"].__setitem__(0, 0.5))


def best_epoch(copy: Copy) -> None:
    """The record and its outcomes are those of the first epoch, which was better than the last."""
    copy.json(TRANSFER, "curves.json", lambda content: content["curves"]["top1"][-1].__setitem__(1, 12.5))


def last_evaluation_of_the_log(copy: Copy) -> None:
    copy.log(TRANSFER, lambda text: last_evaluation(text, 12.5))


def better_top1(copy: Copy) -> None:
    own = copy.line(TRANSFER)
    copy.outcomes(TRANSFER, images_of(copy), [True] * 8 + [False] * 8)
    copy.top1(TRANSFER, 75.0)
    assert own["metrics"] != copy.line(TRANSFER)["metrics"]


def no_outcomes(copy: Copy) -> None:
    (copy.folder / copy.line(TRANSFER)["outcomes"]).unlink()
    copy.record(TRANSFER, outcomes=None, outcomes_hash=None)


def smaller_error(copy: Copy) -> None:
    copy.record(TRANSFER, stderr={"top1": 0.0123})


def an_image_twice(copy: Copy) -> None:
    images = images_of(copy)
    copy.outcomes(TRANSFER, [images[1], *images[1:]], correct_of(copy))


def fewer_images(copy: Copy) -> None:
    top1 = copy.line(TRANSFER)["metrics"]["top1"]
    copy.record(TRANSFER, num_samples=12, stderr={"top1": round(top1_error(top1, 12), 4)})


def other_images(copy: Copy) -> None:
    copy.outcomes(OTHER, [f"other/{image}" for image in images_of(copy)], correct_of(copy, OTHER))


def images_of(copy: Copy, run: str = TRANSFER) -> list[str]:
    own = copy.line(run)
    return list(read_outcomes(copy.folder / own["outcomes"], own["outcomes_hash"]).images)


def correct_of(copy: Copy, run: str = TRANSFER) -> list[bool]:
    own = copy.line(run)
    found = read_outcomes(copy.folder / own["outcomes"], own["outcomes_hash"])
    return found.parts["top1"].correct.tolist()


BROKEN: list[tuple[Callable[[Copy], None], str]] = [
    (link, f"links: {TRANSFER}/curves.json is a link or a special file; copy the file itself"),
    (linked_folder, "links: mixmae/seed1 is a link"),
    (too_large, "size: 2,.* bytes are more than 2,000,000; largest: mixmae/epoch_2.pth 2,000,001,"),
    (torn_line, r"schema: .*records.jsonl line 5 is skipped: "),
    (lines_of_another_type, r'schema: .*records.jsonl line \d is skipped: seed is "0", not of type int'),
    (no_record, "schema: records.jsonl has no record"),
    (path_outside, f"paths: {TRANSFER}: the outcomes are in '../own.npz', not outcomes/"),
    (method_outside, "paths: ../mixmae/seed0/pretraining is no METHOD/seedN/TASK of plain names"),
    (absolute_key, f"paths: {PRETRAINING}: key '/etc/passwd' is not 16 hexadecimal digits"),
    (unknown_file, "files: mixmae/seed0/notes.md belongs to no record; remove it"),
    (missing_file, f"files: {TRANSFER}/log.txt.xz is missing"),
    (config_that_is_a_program, f"readable: .*{TRANSFER}/config.json is no JSON"),
    (log_of_gigabytes, f"readable: .*{TRANSFER}/log.txt.xz has more than 67108864 bytes"),
    (other_outcomes, "outcomes: .* are not those of the record"),
    (pickled_outcomes, "outcomes: .* are not a file of outcomes: Object arrays cannot be loaded"),
    (another_method, "one_method: records of mixmae of light version 1, own of light version 1; make one"),
    (tuning_run, f"one_method: {TRANSFER} is a tuning run, evaluated on 20% of the training images"),
    (another_version, "suite: the records are of suite light, version 2; .* is light, version 1"),
    (unknown_method, "suite: suite .* has no method 'own'"),
    (seed_twice, "seeds: classification: seed 0 is recorded twice"),
    (copied_seed, "seeds: classification: seed 1 has exactly the losses of seed 0"),
    (missing_task, f"complete: {OTHER} is missing"),
    (not_a_number, f"finite: {TRANSFER}: grad_norms has a value that is NaN or infinite"),
    (no_precision, f"precision: {TRANSFER}: precision is None, not one of float32,"),
    (another_key, f"key: {TRANSFER}: the key is "),
    (another_lr, f"recipe: {TRANSFER} differs from the suite's recipe: optim_wrapper.optimizer.lr: "),
    (longer_schedule, f"config: {TRANSFER}: config.json differs .*: optim_wrapper.optimizer.lr: .* -> 0.5"),
    (another_seed, f"seed: {TRANSFER}: the config was trained with seed 7, not 0"),
    (settings_without_tuning, f"tuned: {TRANSFER} has the settings lr=0.001, not config"),
    (another_batch, f"batch: {TRANSFER}: the effective batch is 64 in the record, and 8 in the identity"),
    (another_data_hash, f"data: {TRANSFER}: data_hash is not that of the identity's data"),
    (data_of_all_seeds, f"data: {TRANSFER}: other data .* than the suite's"),
    (pretraining_of_another_seed, f"initial_weights: {TRANSFER} starts from pretraining "),
    (another_checkpoint, f"checkpoint: {TRANSFER} starts from checkpoint .* of {PRETRAINING}"),
    (fewer_losses, f"schedule: {TRANSFER}: 1 losses of 2 epochs"),
    (another_log, f"log: {TRANSFER}: the log does not name the run's key"),
    (short_log, f"log: {PRETRAINING}: the log has no line of 1 epochs, the first is 2"),
    (another_loss, f"curves: {TRANSFER}: curves.json has another curve of loss than the record"),
    (
        best_epoch,
        f"last_epoch: {TRANSFER}: top1 .* is that of epoch 1; the curve ends with 12.5",
    ),
    (
        last_evaluation_of_the_log,
        f"last_epoch: {TRANSFER}: top1 .* is not what the last evaluation",
    ),
    (better_top1, f"metrics: {TRANSFER}: top1 is 50.0000 from the outcomes of 16 images, but 75.0000 from"),
    (no_outcomes, rf"metrics: {TRANSFER}: metrics \['top1'\], but outcomes of \[\]"),
    (smaller_error, f"errors: {TRANSFER}: stderr is {{'top1': 0.0123}}, but"),
    (an_image_twice, f"images: {TRANSFER}: outcomes of 15 images, but the data set has 16"),
    (fewer_images, f"images: {TRANSFER}: 12 images, but the data set has 16"),
    (other_images, "images: mixmae/seed1/classification: outcomes of other images than seed 0"),
]


@pytest.mark.parametrize(("change", "line"), BROKEN, ids=[change.__name__ for change, _ in BROKEN])
def test_a_submission_that_breaks_one_rule_is_refused_in_one_line(
    change: Callable[[Copy], None], line: str, copy: Copy, suite_file: Path
) -> None:
    change(copy)
    (found,) = check(copy.folder, suite_file)
    assert re.match(line, found), found
    assert "\n" not in found
    assert not Path("executed").exists()


def test_a_run_of_somebody_else_with_the_same_seed_is_not_replaced_in_the_tables(
    good: Path, copy: Copy, suite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "measured_files", lambda: (copy.folder / "records.jsonl",))
    assert check(good, suite_file) == []  # the same runs: it is checked again where it was accepted
    copy.record(TRANSFER, started="2020-01-01T00:00:00+00:00")
    (line,) = check(good, suite_file)
    assert line == f"new: {TRANSFER} is in {copy.folder}/records.jsonl already; submit other seeds"


def test_data_that_is_not_embedded_is_that_of_the_records_in_the_tables(
    good: Path, copy: Copy, suite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "mentions", lambda cfg, folder: False)
    monkeypatch.setattr(recipe, "measured_files", lambda: (copy.folder / "records.jsonl",))
    assert check(good, suite_file) == []
    copy.write([{**line, "data_hash": "0" * 16, "seed": 7} for line in copy.lines()])
    (line,) = check(good, suite_file)
    assert re.fullmatch(r"data: .*: other data \(\w{16}\) than the suite's \(0{16}\) \(and 3 more\)", line)


def test_every_rule_is_broken_by_a_test() -> None:
    assert {"new", *(line.partition(":")[0] for _, line in BROKEN)} == {rule.__name__ for rule in RULES}


def test_the_command_prints_a_line_for_every_rule_that_is_broken(
    good: Path, copy: Copy, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    another_batch(copy)
    smaller_error(copy)
    copy.record(OTHER, effective_batch=64)
    assert main(["check", str(good), str(copy.folder), "--suite", str(suite_file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{good}: accepted\n"
    first, second = printed.err.splitlines()
    assert first.startswith(f"{copy.folder}: batch: {TRANSFER}: ")
    assert first.endswith(" (and 1 more)")
    assert second.startswith(f"{copy.folder}: errors: {TRANSFER}: ")


def test_unexpected_content_is_refused_without_a_traceback(copy: Copy, suite_file: Path) -> None:
    for content in ({"identity": {}}, {"identity": {"batch": 1, "train_data": []}}, {"identity": None}):
        (copy.folder / TRANSFER / "identity.json").write_text(json.dumps(content))
        for broken in check(copy.folder, suite_file):
            assert "\n" not in broken
        assert broken


def test_a_suite_that_is_not_part_of_the_package_is_asked_for(good: Path) -> None:
    (line,) = check(good)
    assert line.startswith("suite: suite 'light' is not part of this package (")


def tuned_suite(copy: Copy, suite_file: Path, points: dict[float, float]) -> Path:
    """Return the suite with a grid of learning rates, and add a tuning record of each with its top-1.

    The settings of the results are those of the config.
    """
    lr = copy.line(TRANSFER)["lr"]
    path = copy.folder.parent / "tuned.yaml"
    text = suite_file.read_text().replace("classification.py", f"{suite_file.parent / 'classification.py'}")
    grid = ", ".join(f"{factor * lr}" for factor in points)
    path.write_text(
        f"{text}protocol: tuned\nrecipes: tuned.recipes.yaml\n"
        f"tuning: {{share: 0.2, seed: 0, grid: {{classification: {{lr: [{grid}]}}}}}}\n"
    )
    for run in (TRANSFER, OTHER):
        copy.record(run, settings={"lr": lr}, protocol="tuned")
    line = {**copy.line(TRANSFER), "tuning_share": 0.2}
    (copy.folder / "tuning.jsonl").write_text(
        "".join(
            json.dumps({**line, "settings": {"lr": factor * lr}, "metrics": {"top1": top1}}) + "\n"
            for factor, top1 in points.items()
            if top1
        )
    )
    return path


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ({1.0: 80.0, 2.0: 70.0}, None),
        ({1.0: 70.0, 2.0: 80.0}, f"tuned: {TRANSFER} has the settings lr=0.002, not lr=0.004 (and 1 more)"),
        ({1.0: 70.0, 2.0: 0.0}, "tuned: classification: tuning.jsonl has no record of lr=0.004"),
    ],
)
def test_tuned_settings_are_the_best_of_the_whole_grid(
    points: dict[float, float], line: str | None, copy: Copy, suite_file: Path
) -> None:
    suite = tuned_suite(copy, suite_file, points)
    assert check(copy.folder, suite) == ([line] if line else [])


def test_a_point_of_the_grid_may_have_diverged(copy: Copy, suite_file: Path) -> None:
    suite = tuned_suite(copy, suite_file, {1.0: 70.0, 2.0: 0.0})
    folder = copy.folder / "mixmae/seed0/classification@lr=0.004"
    folder.mkdir()
    note_failure(folder, "RuntimeError: out of memory")
    assert len(check(copy.folder, suite)) == 1
    note_failure(folder, "NotFiniteError: loss is nan in iteration 3")
    assert check(copy.folder, suite) == []


def by_iterations(shown: int, interval: int = 10) -> list[str]:
    """Return what the rule says about the log of a training of 95 iterations that is shown up to one."""
    lines = [f"Iter(train) [{i:>5}/95]  loss: 1" for i in range(interval, shown + 1, interval)]
    run = SimpleNamespace(
        name="a/seed0/b",
        log="\n".join(["0123456789abcdef", *lines]),
        record=SimpleNamespace(key="0123456789abcdef", epochs=None, iterations=95, epoch_iterations=20),
        config={"default_hooks": {"logger": {"interval": interval}}},
    )
    return list(training.log(SimpleNamespace(runs=[run])))


def test_a_training_in_iterations_is_logged_up_to_its_last_interval() -> None:
    assert by_iterations(90) == []
    assert by_iterations(80, interval=20) == []
    assert by_iterations(80) == ["a/seed0/b: the log ends at iteration 80 of 95"]
    assert by_iterations(0) == ["a/seed0/b: the log ends at iteration 0 of 95"]


def test_every_rule_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "submissions.md").read_text(encoding="utf-8")
    rows = [f"| `{rule.__name__}` | {inspect.getdoc(rule)} |" for rule in RULES]
    assert [row for row in page.splitlines() if row.startswith("| `")][-len(rows) :] == rows
