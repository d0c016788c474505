"""A change of what the results of a suite depend on needs a new version of the suite."""

import copy
import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mixmae_bench.errors import UserError
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.suite.versions import read_versions
from mixmae_bench.system.shipped import names

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "suite_versions.py"))
unraised, depends_on = TOOL["unraised"], TOOL["depends_on"]


def test_no_suite_has_changed_without_a_new_version() -> None:
    before = read_versions()
    now = TOOL["current"](before)
    assert unraised(before, now) == []
    assert before == now, "run: python tools/suite_versions.py"


@pytest.mark.parametrize("path", names("suites").values(), ids=lambda path: path.stem)
def test_every_version_of_a_suite_says_what_changed(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sorted(content["changes"]) == list(range(1, content["version"] + 1))


def test_changes_that_end_with_another_version_are_one_line(tmp_path: Path) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "name: a\nversion: 2\nseeds: [0]\nchanges: {1: first}\nmethods: {scratch: }\n"
        f"tasks: {{t: {ROOT}/tests/smoke/classification.py}}\n"
    )
    with pytest.raises(UserError, match=r"changes end with version 1, not 2$"):
        read_suite(suite)


def test_a_changed_suite_needs_a_new_version_and_an_added_run_does_not() -> None:
    before = {"a": {"version": 1, "runs": {"m/t": "0", "m/u": "0"}}}
    now = copy.deepcopy(before)
    now["a"]["runs"] |= {"new/t": "1"}
    now["b"] = {"version": 1, "runs": {"m/t": "0"}}
    assert unraised(before, now) == []
    now["a"]["runs"]["m/u"] = "1"
    (line,) = unraised(before, now)
    assert line.startswith("suite a: what its results depend on has changed (m/u); undo it, or raise")
    now["a"]["version"] = 2
    assert unraised(before, now) == []


def test_a_run_has_the_version_since_which_it_is_unchanged() -> None:
    known = {"m/t": {"hash": "0", "since": 1}, "m/u": {"hash": "0", "since": 2}}
    assert TOOL["dated"](known, {"m/t": "0", "m/u": "1", "m/v": "0"}, 3) == {
        "m/t": {"hash": "0", "since": 1},
        "m/u": {"hash": "1", "since": 3},
        "m/v": {"hash": "0", "since": 3},
    }


def parts(folder: Path, config: str = "", suite: str = "") -> dict[str, str]:
    """Return what a suite depends on, made of the smoke configs, with lines added to that of pretraining."""
    folder.mkdir()
    smoke = ROOT / "tests" / "smoke"
    (folder / "pretraining.py").write_text(f"_base_ = '{smoke / 'pretraining.py'}'\n{config}\n")
    (folder / "suite.yaml").write_text(
        "name: a\nversion: 1\nseeds: [0]\ndataset: digits\nmetrics: {t: [top1]}\n"
        f"methods: {{m: {{pretrain: pretraining.py}}}}\ntasks: {{t: {smoke / 'classification.py'}}}\n{suite}"
    )
    found = read_suite(folder / "suite.yaml")
    return {run.task: json.dumps(depends_on(found, run)) for run in found.runs()}


def test_recipe_defaults_metrics_data_and_grid_are_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = parts(tmp_path / "base")

    def changed(name: str, **arguments: str) -> set[str]:
        now = parts(tmp_path / name, **arguments)
        return {task for task in base if now[task] != base[task]}

    assert changed("same", config="train_dataloader = dict(num_workers=1)") == set()
    assert changed("recipe", config="model = dict(mask_ratio=0.25)") == {"pretraining"}
    tuning = "protocol: tuned\nrecipes: r\ntuning: {share: 0.2, seed: 0, grid: {t: {lr: [1.0e-3]}}}\n"
    assert changed("grid", suite=tuning) == {"t"}
    with monkeypatch.context() as patch:
        patch.setattr(MixMAE.__init__, "__defaults__", tuple(map(str, MixMAE.__init__.__defaults__)))
        assert changed("defaults") == {"pretraining"}
    with monkeypatch.context() as patch:
        patch.setitem(METRICS, "top1", replace(METRICS["top1"], scale=2.0))
        assert changed("metrics") == {"t"}
    with monkeypatch.context() as patch:
        (tmp_path / "digits-v0-0").mkdir()
        (tmp_path / "digits-v0-0" / "splits.json").write_text('{"version": 0, "config": {}}')
        patch.setattr("mixmae_bench.engine.config.build_digits", lambda: tmp_path / "digits-v0-0")
        patch.setattr("mixmae_bench.engine.config._check_dataset", lambda *_: None)
        assert changed("data") == {"pretraining", "t"}
