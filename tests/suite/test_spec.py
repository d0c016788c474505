"""Reading a suite file: what it means, and one line for everything that can be wrong with it."""

from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.suite.spec import PRETRAINING, Method, Run, Suite, Task, read_suite

SUITES = Path(__file__).parents[2] / "configs" / "suites"
DIGITS = SUITES / "digits.yaml"

CONTENT = {
    "name": "name: test",
    "version": "version: 3",
    "dataset": "dataset: digits",
    "methods": "methods: {scratch: , mixmae: {pretrain: pretrain.py}, theirs: {checkpoint: theirs.pth}}",
    "tasks": "tasks: {classification: classify.py, detection: more/detect.py}",
    "seeds": "seeds: [4, 1]",
    "minutes": "minutes: {pretraining: 2.5, classification: 1, detection: 3}",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite's files; the working directory is another one."""
    folder = tmp_path / "suites"
    (folder / "more").mkdir(parents=True)
    for name in ("pretrain.py", "classify.py", "more/detect.py", "theirs.pth"):
        (folder / name).touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def write(folder: Path, **changes: str | None) -> Path:
    """Write the suite with some lines changed, or left out where they are None."""
    path = folder / "suite.yaml"
    path.write_text("".join(f"{line}\n" for line in {**CONTENT, **changes}.values() if line is not None))
    return path


def message(path: Path, *args: object) -> str:
    with pytest.raises(UserError) as caught:
        read_suite(path, *args)
    return str(caught.value)


def test_a_suite_is_read_as_written_with_files_relative_to_its_own_folder(folder: Path) -> None:
    path = write(folder)
    tasks = (Task("classification", folder / "classify.py"), Task("detection", folder / "more" / "detect.py"))
    assert read_suite(path) == Suite(
        path=path,
        name="test",
        version=3,
        dataset="digits",
        methods={
            "scratch": Method("scratch", tasks),
            "mixmae": Method("mixmae", tasks, pretrain=folder / "pretrain.py"),
            "theirs": Method("theirs", tasks, checkpoint=folder / "theirs.pth"),
        },
        seeds=[4, 1],
        minutes={"pretraining": 2.5, "classification": 1, "detection": 3},
        metrics={},
    )


def test_the_outline_has_families_metrics_and_the_pretraining_of_a_given_checkpoint(folder: Path) -> None:
    methods = (
        "methods: {scratch: , mixmae: {pretrain: pretrain.py, family: large}, "
        "theirs: {checkpoint: theirs.pth, pretrained_by: pretrain.py}}"
    )
    metrics = "metrics: {classification: [top1], detection: [box_ap, mask_ap]}"
    outline = read_suite(write(folder, methods=methods, metrics=metrics)).outline()
    assert [outline.family(name) for name in ("scratch", "mixmae", "theirs")] == [
        "scratch",
        "large",
        "theirs",
    ]
    made_by = {name: method.pretrained_by for name, method in outline.methods.items()}
    pretrain = folder / "pretrain.py"
    assert made_by == {"scratch": None, "mixmae": pretrain, "theirs": pretrain}
    names = {task.name: task.metrics for task in outline.methods["mixmae"].tasks}
    assert names == {"pretraining": (), "classification": ("top1",), "detection": ("box_ap", "mask_ap")}


def test_a_path_given_as_text_or_absolute_in_the_file_works(folder: Path) -> None:
    path = write(
        folder,
        tasks=f"tasks: {{classification: {folder / 'classify.py'}}}",
        minutes="minutes: {pretraining: 1, classification: 1}",
    )
    (task,) = read_suite(str(path)).methods["scratch"].tasks
    assert task == Task("classification", folder / "classify.py")


def test_runs_go_seed_by_seed_with_pretraining_before_what_starts_from_it(folder: Path) -> None:
    runs = read_suite(write(folder)).runs()
    assert [run.name for run in runs] == [
        f"{method}/seed{seed}/{task}"
        for seed in (4, 1)
        for method, task in (
            ("scratch", "classification"),
            ("scratch", "detection"),
            ("mixmae", "pretraining"),
            ("mixmae", "classification"),
            ("mixmae", "detection"),
            ("theirs", "classification"),
            ("theirs", "detection"),
        )
    ]
    assert len({run.name for run in runs}) == len(runs)


def test_the_parent_of_a_transfer_is_the_pretraining_of_its_own_method_and_seed(folder: Path) -> None:
    parents = {run.name: run.parent for run in read_suite(write(folder)).runs()}
    for name, parent in parents.items():
        method, seed, task = name.split("/")
        starts_from_pretraining = method == "mixmae" and task != PRETRAINING
        assert parent == (f"mixmae/{seed}/pretraining" if starts_from_pretraining else None)


def test_every_parent_is_a_run_that_comes_before_its_children(folder: Path) -> None:
    seen = set()
    for run in read_suite(write(folder)).runs():
        assert run.parent is None or run.parent in seen
        seen.add(run.name)


def test_every_run_runs_the_config_of_its_task(folder: Path) -> None:
    configs = {
        PRETRAINING: folder / "pretrain.py",
        "classification": folder / "classify.py",
        "detection": folder / "more" / "detect.py",
    }
    runs = read_suite(write(folder)).runs()
    assert runs
    assert all(run.config == configs[run.task] for run in runs)


def test_seeds_given_by_the_caller_replace_those_of_the_file(folder: Path) -> None:
    path = write(folder)
    assert read_suite(path, [7]).seeds == [7]
    assert read_suite(path, None).seeds == [4, 1]


def test_methods_given_by_the_caller_narrow_the_suite_and_its_runs(folder: Path) -> None:
    suite = read_suite(write(folder), None, ["theirs", "scratch"])
    assert set(suite.methods) == {"theirs", "scratch"}
    assert {run.method.name for run in suite.runs()} == {"theirs", "scratch"}
    assert all(run.task != PRETRAINING for run in suite.runs())


def test_a_method_named_twice_by_the_caller_is_run_once(folder: Path) -> None:
    suite = read_suite(write(folder), [0], ["scratch", "scratch"])
    assert [run.name for run in suite.runs()] == [
        "scratch/seed0/classification",
        "scratch/seed0/detection",
    ]


def test_a_method_of_another_name_may_start_from_a_checkpoint_in_the_file_of_a_suite(folder: Path) -> None:
    suite = read_suite(write(folder), [0], ["theirs"])
    (run, _) = suite.runs()
    assert run == Run(
        suite.methods["theirs"], "classification", 0, folder / "classify.py", "digits", "checkpoint"
    )
    assert run.parent is None


@pytest.mark.parametrize("name", ["suite.yaml", "none.yaml", "nowhere/suite.yaml"])
def test_a_suite_that_does_not_exist_is_named(tmp_path: Path, name: str) -> None:
    text = message(tmp_path / name)
    assert (
        text == f"suite {tmp_path / name} does not exist; check the path, or give a name of "
        "`mixmae-bench ls suites`."
    )


def test_a_misspelt_suite_gets_its_neighbour_proposed(folder: Path) -> None:
    write(folder)
    assert message(folder / "suit.yaml").endswith(
        "does not exist; check the path, or give a name of `mixmae-bench ls suites`. "
        "Did you mean 'suite.yaml'?"
    )


def test_a_folder_in_place_of_a_suite_is_refused(folder: Path) -> None:
    assert str(folder) in message(folder)


@pytest.mark.parametrize(
    "content",
    [b"name: [1", b"a: b: c", b"a:\n\t- 1", b"'unclosed", b"\xff\xfe\x00name", b"? [a]\n: 1", b"a: \x00"],
)
def test_a_file_that_is_not_yaml_is_called_so_in_one_line(folder: Path, content: bytes) -> None:
    path = folder / "suite.yaml"
    path.write_bytes(content)
    text = message(path)
    assert text.startswith(f"suite {path} is not YAML: ")
    assert "\n" not in text


@pytest.mark.parametrize("content", ["", "- name", "3", "digits", "# only a comment\n"])
def test_a_file_that_is_no_mapping_is_told_which_keys_it_needs(folder: Path, content: str) -> None:
    path = folder / "suite.yaml"
    path.write_text(content)
    assert message(path) == (f"suite {path} must be a mapping with the keys name, version, methods, seeds")


@pytest.mark.parametrize("key", ["name", "version", "methods", "seeds"])
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    path = write(folder, **{key: None})
    assert message(path) == f"suite {path}: key '{key}' is missing"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"more": "method: 1"}, ["unknown key 'method'.", "Did you mean 'methods'?"]),
        ({"more": "1: 1"}, ["unknown key '1'."]),
        ({"more": "zzz: 1"}, ["unknown key 'zzz'."]),
        # What the suite itself is called.
        ({"name": "name: 3"}, ["name must be a string"]),
        ({"name": "name: "}, ["name must be a string"]),
        ({"name": "name: ../up"}, ["a suite's name may have letters, digits", "not '../up'"]),
        ({"name": "name: ''"}, ["a suite's name may have letters, digits"]),
        ({"version": "version: 2026-13-01"}, ["is not YAML", "month"]),
        pytest.param({"more": "a: " + "[" * 5000}, ["is not YAML"], id="deep"),
        ({"version": "version: 1.5"}, ["version an integer"]),
        ({"version": "version: one"}, ["version an integer"]),
        ({"version": "version: true"}, ["version an integer"]),
        # Seeds.
        ({"seeds": "seeds: 0"}, ["seeds must be a list of non-negative integers", "not 0"]),
        ({"seeds": "seeds: '0,1'"}, ["seeds must be a list", "not '0,1'"]),
        ({"seeds": "seeds: []"}, ["seeds must be a list", "[0, 1, 2]", "not []"]),
        ({"seeds": "seeds: "}, ["seeds must be a list", "not None"]),
        ({"seeds": "seeds: [0, -1]"}, ["non-negative", "not [0, -1]"]),
        ({"seeds": f"seeds: [{2**32}]"}, ["below 2^32"]),
        ({"seeds": "seeds: [0.5]"}, ["integers", "not [0.5]"]),
        ({"seeds": "seeds: [one]"}, ["integers", "not ['one']"]),
        ({"seeds": "seeds: [[0]]"}, ["integers", "not [[0]]"]),
        ({"seeds": "seeds: [true]"}, ["integers", "not [True]"]),
        ({"seeds": "seeds: [3, 1, 3]"}, ["a seed is named twice in [3, 1, 3]"]),
        # Methods.
        ({"methods": "methods: {}"}, ["'methods' must be a mapping with at least one entry"]),
        ({"methods": "methods: "}, ["'methods' must be a mapping"]),
        ({"methods": "methods: [scratch]"}, ["'methods' must be a mapping"]),
        ({"methods": "methods: {mixmae: }"}, ["unknown method 'mixmae'", "pretrain: CONFIG", "'scratch'"]),
        ({"methods": "methods: {scratsh: {}}"}, ["unknown method 'scratsh'", "only 'scratch'"]),
        (
            {"methods": "methods: {mixmae: pretrain.py}"},
            ["method 'mixmae'", "pretrain: CONFIG", "'pretrain.py'"],
        ),
        ({"methods": "methods: {mixmae: [pretrain.py]}"}, ["method 'mixmae'", "pretrain: CONFIG"]),
        (
            {"methods": "methods: {mixmae: {pretrian: pretrain.py}}"},
            ["method 'mixmae'", "unknown key 'pretrian'", "Did you mean 'pretrain'?"],
        ),
        ({"methods": "methods: {mixmae: {1: pretrain.py}}"}, ["method 'mixmae'", "unknown key '1'"]),
        (
            {"methods": "methods: {m: {pretrain: pretrain.py, checkpoint: theirs.pth}}"},
            ["method 'm'", "give `pretrain` or `checkpoint`, not both"],
        ),
        (
            {"methods": "methods: {m: {pretrain: pretrian.py}}"},
            ["method 'm'", "pretrian.py does not exist", "Did you mean 'pretrain.py'?"],
        ),
        (
            {"methods": "methods: {m: {checkpoint: their.pth}}"},
            ["method 'm'", "their.pth does not exist", "Did you mean 'theirs.pth'?"],
        ),
        (
            {"methods": "methods: {scratch: {checkpoint: }}"},
            ["method 'scratch'", "None is not a path", "relative to the suite"],
        ),
        # Tasks.
        ({"tasks": "tasks: {}"}, ["'tasks' must be a mapping with at least one entry"]),
        ({"tasks": "tasks: [classification]"}, ["'tasks' must be a mapping"]),
        ({"tasks": None}, ["method 'scratch' has no tasks", "give `tasks`"]),
        ({"tasks": "tasks: {pretraining: classify.py}"}, ["task 'pretraining'", "choose another"]),
        ({"tasks": "tasks: {random: classify.py}"}, ["task 'random'", "choose another"]),
        ({"tasks": "tasks: {1: classify.py}"}, ["a task's name may have letters, digits", "not 1"]),
        ({"tasks": "tasks: {../up: classify.py}"}, ["a task's name may have letters, digits", "not '../up'"]),
        ({"tasks": "tasks: {a: {from: pretraining}}"}, ["task 'a'", "key 'config' is missing"]),
        (
            {"tasks": "tasks: {a: {config: classify.py, form: b}}"},
            ["task 'a'", "unknown key 'form'", "Did you mean 'from'?"],
        ),
        (
            {"tasks": "tasks: {clss: classify.py, a: {config: classify.py, from: class}}"},
            ["task 'a'", "`from` is 'class'", "'pretraining' or a task above it", "Did you mean 'clss'?"],
        ),
        (
            {"tasks": "tasks: {a: {config: classify.py, from: b}, b: classify.py}"},
            ["task 'a'", "`from` is 'b'", "a task above it"],
        ),
        ({"tasks": "tasks: {a: {config: classify.py, from: a}}"}, ["`from` is 'a'", "a task above it"]),
        ({"tasks": "tasks: {a: {config: classify.py, from: [b]}}"}, ["task 'a'", "`from` is"]),
        (
            {"methods": "methods: {scratch: {tasks: {a: no.py}}}"},
            ["method 'scratch', task 'a'", "no.py does not exist"],
        ),
        ({"methods": "methods: {scratch: {tasks: }}"}, ["method 'scratch'", "'tasks' must be a mapping"]),
        ({"dataset": "dataset: 3"}, ["dataset must be a string, not 3"]),
        ({"dataset": "dataset: "}, ["dataset must be a string, not None"]),
        (
            {"tasks": "tasks: {classification: clasify.py}"},
            ["task 'classification'", "clasify.py does not exist", "Did you mean 'classify.py'?"],
        ),
        (
            {"tasks": "tasks: {detection: nowhere/detect.py}"},
            ["task 'detection'", "nowhere/detect.py does not exist"],
        ),
        ({"tasks": "tasks: {detection: more}"}, ["task 'detection'", "more"]),
        ({"tasks": "tasks: {detection: }"}, ["task 'detection'"]),
        (
            {"methods": "methods: {mixmae: {pretrain: pretrain.py, pretrained_by: pretrain.py}}"},
            ["`pretrained_by` says what made a `checkpoint`"],
        ),
        ({"metrics": "metrics: {detecton: [box_ap]}"}, ["'detecton'", "Did you mean 'detection'?"]),
        ({"metrics": "metrics: {detection: box_ap}"}, ["metrics must map tasks to lists of metrics"]),
        # Minutes.
        ({"minutes": "minutes: 3"}, ["minutes must hold one number for each of pretraining, classification"]),
        ({"minutes": "minutes: {pretraining: 1, classification: 1}"}, ["minutes must hold", "detection"]),
        (
            {"minutes": "minutes: {pretraining: 1, classification: 1, detection: 1, segmentation: 1}"},
            ["minutes must hold"],
        ),
        ({"minutes": "minutes: {pretraining: soon, classification: 1, detection: 1}"}, ["minutes", "number"]),
        ({"minutes": "minutes: {pretraining: , classification: 1, detection: 1}"}, ["minutes", "number"]),
        ({"minutes": "minutes: {pretraining: 0, classification: 0, detection: 0}"}, ["minutes"]),
        ({"minutes": "minutes: {pretraining: 1, classification: -1, detection: 1}"}, ["minutes"]),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_with_the_file_the_place_and_the_remedy(
    folder: Path, changes: dict[str, str], parts: list[str]
) -> None:
    path = write(folder, **changes)
    text = message(path)
    assert "\n" not in text
    for part in (str(path), *parts):
        assert part in text


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", ".."])
def test_a_method_whose_name_would_leave_the_work_folder_is_refused(folder: Path, name: str) -> None:
    # A run's folder is removed before it is run anew: it must not be any folder of the user's.
    path = write(folder, methods=f"methods: {{{name}: {{pretrain: pretrain.py}}}}")
    assert repr(name) in message(path)


@pytest.mark.parametrize(
    ("seeds", "part"),
    [([], "not []"), ([-1], "not [-1]"), ([0, 0], "twice"), ("0", "not '0'")],
)
def test_bad_seeds_of_the_caller_are_refused_as_those_of_the_file_are(
    folder: Path, seeds: object, part: str
) -> None:
    assert part in message(write(folder), seeds)


def test_an_unknown_method_of_the_caller_is_refused_with_the_known_ones(folder: Path) -> None:
    path = write(folder)
    text = message(path, None, ["scratch", "mixmea"])
    assert text == (
        f"unknown method 'mixmea': suite {path} has scratch, mixmae, theirs. Did you mean 'mixmae'?"
    )


def test_a_broken_method_is_refused_even_where_another_one_is_chosen(folder: Path) -> None:
    path = write(folder, methods="methods: {scratch: , mixmae: {pretrain: no.py}}")
    assert "no.py does not exist" in message(path, None, ["scratch"])


def test_the_digits_suite_compares_scratch_and_three_methods_on_all_tasks() -> None:
    suite = read_suite(DIGITS)
    assert suite.name == "digits"
    assert list(suite.methods) == ["scratch", "mixmae", "simmim", "um-mae"]
    assert suite.tasks == ["classification", "detection", "segmentation"]
    assert len(suite.runs()) == 15 * len(suite.seeds)
    assert all(run.config.is_file() for run in suite.runs())


def test_the_digits_suite_takes_three_seeds() -> None:
    assert len(read_suite(DIGITS, [0, 1, 2]).runs()) == 45


@pytest.fixture
def chained(folder: Path) -> Suite:
    """Two methods with tasks of their own, one with the suite's; no data set and no minutes are given."""
    (folder / "b1_in1k.py").touch()
    (folder / "b2_coco.py").touch()
    path = write(
        folder,
        dataset=None,
        minutes=None,
        methods="methods: {"
        "scratch-b: {tasks: {in1k: b1_in1k.py, coco: {config: b2_coco.py, from: pretraining}}}, "
        "mixmae-b: {pretrain: pretrain.py, tasks: "
        "{in1k: b1_in1k.py, coco: {config: b2_coco.py, from: in1k}, "
        "again: {config: b2_coco.py, from: coco}}}, "
        "theirs: {checkpoint: theirs.pth}}",
    )
    return read_suite(path, [0])


def test_a_method_with_tasks_of_its_own_runs_those_instead_of_the_suites(chained: Suite) -> None:
    configs = {run.name: run.config.name for run in chained.runs()}
    assert configs == {
        "scratch-b/seed0/in1k": "b1_in1k.py",
        "scratch-b/seed0/coco": "b2_coco.py",
        "mixmae-b/seed0/pretraining": "pretrain.py",
        "mixmae-b/seed0/in1k": "b1_in1k.py",
        "mixmae-b/seed0/coco": "b2_coco.py",
        "mixmae-b/seed0/again": "b2_coco.py",
        "theirs/seed0/classification": "classify.py",
        "theirs/seed0/detection": "detect.py",
    }
    assert chained.tasks == ["in1k", "coco", "again", "classification", "detection"]


def test_a_task_may_start_from_the_result_of_a_task_above_it(chained: Suite) -> None:
    starts = {run.name: (run.initialisation, run.parent) for run in chained.runs()}
    assert starts == {
        "scratch-b/seed0/in1k": ("random", None),
        "scratch-b/seed0/coco": ("random", None),
        "mixmae-b/seed0/pretraining": ("random", None),
        "mixmae-b/seed0/in1k": ("pretraining", "mixmae-b/seed0/pretraining"),
        "mixmae-b/seed0/coco": ("in1k", "mixmae-b/seed0/in1k"),
        "mixmae-b/seed0/again": ("coco", "mixmae-b/seed0/coco"),
        "theirs/seed0/classification": ("checkpoint", None),
        "theirs/seed0/detection": ("checkpoint", None),
    }


def test_without_a_data_set_in_the_suite_the_configs_names_tell_it(chained: Suite, folder: Path) -> None:
    data = {run.task: run.dataset for run in chained.runs()}
    assert (data["in1k"], data["coco"]) == ("in1k", "coco")
    assert {run.dataset for run in read_suite(write(folder)).runs()} == {"digits"}


def test_minutes_may_be_left_out(chained: Suite) -> None:
    assert chained.minutes == {}
