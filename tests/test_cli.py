"""The commands as a user meets them: a mistake is one line with its remedy, before anything is written."""

import argparse
import errno
import os
import re
import runpy
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import mixmae_bench.engine.doctor
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.cli import exits_on_user_error, main, tools
from mixmae_bench.engine.config import find_data, load_config
from mixmae_bench.engine.prepare import build, dead_loaders_named
from mixmae_bench.errors import ProcessDied, UserError

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests" / "smoke"
COMMAND = Path(sysconfig.get_path("scripts")) / "mixmae-bench"
HEAVY = {"torch", "torchvision", "timm", "numpy", "mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain", "rich"}


class EvilCode:
    """What a pickle of this does when it is loaded as one."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.file}'",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a command that must refuse its arguments in one line and write nothing; return that line."""

    def call(*args: str, entry: Callable[[list[str]], int] = main) -> str:
        before = tree(folder)
        status = entry([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return check_mistake(status, out, err, before, folder)

    return call


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[list[str]], int]]:
    """Return a tool's main as a function of its arguments, in this process."""

    def load(name: str) -> Callable[[list[str]], int]:
        path = str(ROOT / "tools" / name)
        function = runpy.run_path(path)["main"]

        def call(args: list[str]) -> int:
            monkeypatch.setattr(sys, "argv", [path, *map(str, args)])
            return function()

        return call

    monkeypatch.setenv("LOCAL_RANK", "0")  # the tools set it: undone afterwards
    return load


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def check_mistake(status: int, out: str, err: str, before: dict[str, bytes], folder: Path) -> str:
    assert status == 2, err
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert out == ""
    assert "Traceback" not in err
    assert tree(folder) == before, "something was written"
    return err


def process_mistake(folder: Path, *command: object) -> str:
    """Run a real process that must refuse its arguments; return its one line."""
    before = tree(folder)
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    return check_mistake(done.returncode, done.stdout, done.stderr, before, folder)


def write_config(folder: Path, extra: str = "") -> Path:
    path = folder / "config.py"
    path.write_text(f"_base_ = {str(SMOKE / 'classification.py')!r}\n{extra}\n")
    return path


def write_suite(folder: Path, methods: str = "{scratch: }", config: str = "config.py") -> Path:
    path = folder / "suite.yaml"
    path.write_text(
        f"name: test\nversion: 1\ndataset: digits\nmethods: {methods}\ntasks: {{classification: {config}}}\n"
        "seeds: [0]\nminutes: {pretraining: 1, classification: 1}\n"
    )
    return path


def write_checkpoint_of_another_architecture(path: Path) -> Path:
    other = MixMAESwin(dict(embed_dim=32, depths=(1, 1), num_heads=(2, 2), window_size=(4, 4)), img_size=32)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in other.state_dict().items()}}, path)
    return path


# The four mistakes of the project's promise, three of them as real processes.


def test_a_wrong_config_path_in_the_suite_is_one_line_with_the_right_one(folder: Path) -> None:
    write_config(folder)
    suite = write_suite(folder, config="confg.py")
    line = process_mistake(folder, COMMAND, "run", suite, "--work-dir", folder / "work")
    assert "task 'classification'" in line
    assert "confg.py does not exist" in line
    assert "Did you mean 'config.py'?" in line


def test_an_unknown_method_is_one_line_with_the_known_ones(folder: Path) -> None:
    write_config(folder)
    suite = write_suite(folder)
    line = process_mistake(folder, COMMAND, "run", suite, "--methods", "scratsh")
    assert "unknown method 'scratsh'" in line
    assert "Did you mean 'scratch'?" in line


def test_a_checkpoint_of_another_architecture_is_one_line_with_the_first_misfit(folder: Path) -> None:
    write_config(folder)
    checkpoint = write_checkpoint_of_another_architecture(folder / "other.pth")
    suite = write_suite(folder, methods="{scratch: , theirs: {checkpoint: other.pth}}")
    line = process_mistake(folder, COMMAND, "run", suite, "--work-dir", folder / "work")
    assert f"checkpoint {checkpoint} fills " in line
    assert "at least 99% is needed" in line
    assert "the model's has (" in line
    assert "use a checkpoint of this architecture, or convert it first" in line


def test_a_missing_data_folder_is_one_line_with_its_key(folder: Path, mistake: Callable[..., str]) -> None:
    config = write_config(folder, "train_dataloader = dict(dataset=dict(data_root='data/imagenet'))")
    line = mistake("run", write_suite(folder), "--work-dir", folder / "work")
    assert "data: data/imagenet does not exist" in line
    assert f"train_dataloader.dataset of {config}" in line
    assert "put the data there" in line


def test_a_wrong_config_of_the_training_tool_is_one_line_of_a_real_process(folder: Path) -> None:
    line = process_mistake(folder, sys.executable, ROOT / "tools" / "train.py", SMOKE / "clasification.py")
    assert "Did you mean 'classification.py'?" in line


# The rest in this process.


def test_missing_data_does_not_propose_an_option_that_the_command_lacks(
    folder: Path, mistake: Callable[..., str]
) -> None:
    write_config(folder, "train_dataloader = dict(dataset=dict(data_root='data/imagenet'))")
    assert "--cfg-options" not in mistake("run", write_suite(folder))


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--jobs", "0"], "--jobs is 0; give 1 or more"),
        (["--jobs", "-3"], "--jobs is -3"),
        (["--seeds", "one"], "--seeds is 'one'; give integers"),
        (["--seeds", "0,"], "--seeds is '0,'"),
        (["--seeds", ""], "--seeds is ''"),
        (["--seeds", "0,0"], "a seed is named twice"),
        (["--seeds", "-1"], "non-negative"),
        (["--methods", "scratch,"], "unknown method ''"),
        (["--methods", "mixmae"], "unknown method 'mixmae'"),
    ],
)
def test_a_bad_option_is_one_line(
    folder: Path, mistake: Callable[..., str], args: list[str], part: str
) -> None:
    write_config(folder)
    assert part in mistake("run", write_suite(folder), *args)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("model = dict(backbone=dict(type='mixmae_bench.MixMAESwim'))", ["MixMAESwim", "mean 'MixMAESwin'?"]),
        ("model = dict(type='mixmae_bench.MixMEA')", ["mixmae_bench.MixMEA", "known: "]),
        ("model = (", ["config.py", "SyntaxError"]),
        (
            "val_dataloader = dict(dataset=dict(data_prefix='none'))",
            ["/none does not exist", "val_dataloader"],
        ),
    ],
)
def test_a_mistake_in_a_config_of_the_suite_is_one_line_before_anything_runs(
    folder: Path, mistake: Callable[..., str], config: str, parts: list[str]
) -> None:
    write_config(folder, config)
    line = mistake("run", write_suite(folder), "--work-dir", folder / "work")
    for part in parts:
        assert part in line


def test_a_backbone_that_cannot_be_built_for_a_checkpoint_is_one_line(
    folder: Path, mistake: Callable[..., str]
) -> None:
    write_config(folder, "model = dict(backbone=dict(arch='smal'))")
    write_checkpoint_of_another_architecture(folder / "other.pth")
    line = mistake("run", write_suite(folder, "{theirs: {checkpoint: other.pth}}"))
    assert "config.py" in line
    assert "unknown arch 'smal'" in line


def test_a_config_that_is_no_training_is_one_line(folder: Path, mistake: Callable[..., str]) -> None:
    (folder / "config.py").write_text("a = 1\n")
    line = mistake("run", write_suite(folder))
    assert "config.py" in line
    assert "model" in line


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"unrelated": torch.zeros(1)}},
        {"epoch": 3},
        [1, 2],
        {"state_dict": {}},
        b"",
        b"PK\x03\x04 and no more",
    ],
)
def test_a_checkpoint_that_is_no_backbone_is_one_line(
    folder: Path, mistake: Callable[..., str], content: object
) -> None:
    write_config(folder)
    path = folder / "other.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    line = mistake("run", write_suite(folder, "{theirs: {checkpoint: other.pth}}"))
    assert f"checkpoint {path}" in line


def test_a_checkpoint_with_code_is_refused_without_running_it_or_telling_how_to(
    folder: Path, mistake: Callable[..., str]
) -> None:
    write_config(folder)
    torch.save({"state_dict": EvilCode(folder / "it_ran")}, folder / "other.pth")
    line = mistake("run", write_suite(folder, "{theirs: {checkpoint: other.pth}}"))
    assert "other.pth" in line
    # torch's own message proposes `weights_only=False`, which would run the code.
    assert "weights_only" not in line


def test_a_file_in_place_of_the_work_folder_is_one_line(folder: Path, mistake: Callable[..., str]) -> None:
    write_config(folder)
    (folder / "work").write_text("precious")
    assert str(folder / "work") in mistake("run", write_suite(folder), "--work-dir", folder / "work")


@pytest.mark.parametrize("args", [[], ["run"], ["runn"], ["run", "suite.yaml", "--nonsense"]])
def test_wrong_usage_ends_with_status_2_and_the_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: mixmae-bench")


def test_help_and_mistakes_in_the_suite_file_import_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\n"
        "from mixmae_bench.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print('imported', sorted({HEAVY!r} & sys.modules.keys()))"
    )
    for args, words in ((["--help"], "doctor"), (["run", "--help"], "--work-dir")):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
        assert words in done.stdout
        assert done.stdout.splitlines()[-1] == "imported []"
    done = subprocess.run([sys.executable, "-c", code, "run", "no.yaml"], capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1]
    assert "torch" not in loaded
    assert "mmengine" not in loaded


def test_help_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "run a suite" in out
    assert "doctor" in out


# tools/train.py and tools/test.py


@pytest.mark.parametrize("name", ["train.py", "test.py"])
def test_a_tool_explains_itself(tool: Callable, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        tool(name)(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for word in ("config", "--work-dir", "--cfg-options", "--launcher", "classification"):
        assert word in text
    assert ("--resume" in text) == ("--amp" in text) == (name == "train.py")
    assert ("checkpoint of the whole model" in text) == (name == "test.py")


@pytest.mark.parametrize("name", ["train.py", "test.py"])
@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["clasification.py"], ["clasification.py does not exist"]),
        (["config.py", "--cfg-options", "foo"], ["--cfg-options takes KEY=VALUE, such as "]),
        (["config.py", "--cfg-options", "model.backbone.arch.x=1"], ["config.py", "arch"]),
        (
            ["config.py", "--cfg-options", "train_dataloader.dataset.data_root=none"],
            ["data: none does not exist", "--cfg-options train_dataloader.dataset.data_root=FOLDER"],
        ),
    ],
    ids=lambda value: " ".join(value[-1:]) if isinstance(value, list) else "",
)
def test_a_mistake_at_a_tool_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable, name: str, args: list[str], parts: list[str]
) -> None:
    write_config(folder)
    args = args if name == "train.py" else [args[0], "checkpoint.pth", *args[1:]]
    line = mistake(*args, entry=tool(name))
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("model.mask_ratio=1.5", "mask_ratio of MixMAE is 1.5; give a number between 0 and 1"),
        ("model.mask_ratio=half", "pretraining.py, model cannot be built: "),
        ("model.maskratio=0.5", "unexpected keyword argument 'maskratio'"),
        ("model.decoder.num_heads=5", "dim should be divisible by num_heads"),
        ("model.backbone.img_size=33", "img_size 33 is not a multiple of 8"),
        ("model.type=mixmae_bench.MixMEA", "unknown type 'mixmae_bench.MixMEA'"),
    ],
)
def test_an_argument_that_a_method_refuses_is_one_line_before_anything_is_written(
    mistake: Callable[..., str], tool: Callable, option: str, part: str
) -> None:
    line = mistake(SMOKE / "pretraining.py", "--cfg-options", option, entry=tool("train.py"))
    assert part in line


def test_an_argument_that_a_method_refuses_ends_the_suite_before_anything_runs(
    folder: Path, mistake: Callable[..., str]
) -> None:
    write_config(folder)
    pretrain = folder / "pretrain.py"
    pretrain.write_text(f"_base_ = {str(SMOKE / 'pretraining.py')!r}\nmodel = dict(mask_ratio=1.5)\n")
    suite = write_suite(folder, "{mixmae: {pretrain: pretrain.py}}")
    assert "mask_ratio of MixMAE is 1.5" in mistake("run", suite, "--work-dir", folder / "work")


def test_resuming_from_a_checkpoint_that_does_not_exist_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable
) -> None:
    config = write_config(folder)
    assert "none.pth does not exist" in mistake(config, "--resume", "none.pth", entry=tool("train.py"))


def test_testing_a_checkpoint_that_does_not_exist_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable
) -> None:
    config = write_config(folder)
    assert "none.pth does not exist" in mistake(config, "none.pth", entry=tool("test.py"))


def test_testing_a_pretraining_config_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable
) -> None:
    checkpoint = write_checkpoint_of_another_architecture(folder / "other.pth")
    line = mistake(SMOKE / "pretraining.py", checkpoint, entry=tool("test.py"))
    assert "pretraining.py" in line


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Callable[..., argparse.Namespace]:
    """Parse what a tool was given."""

    def parse(*args: object) -> argparse.Namespace:
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, args)])
        return tools.parser("A tool.").parse_args()

    monkeypatch.setenv("LOCAL_RANK", "0")
    return parse


def test_options_reach_the_config_with_their_types(folder: Path, arguments: Callable) -> None:
    args = arguments(
        write_config(folder),
        "--cfg-options",
        "optim_wrapper.optimizer.lr=2e-5",
        "train_cfg.max_epochs=7",
        "model.backbone.out_indices=[0,1]",
        "new.name=text",
    )
    cfg, _ = tools.read_config(args)
    assert cfg.optim_wrapper.optimizer.lr == 2e-5
    assert cfg.train_cfg.max_epochs == 7
    assert list(cfg.model.backbone.out_indices) == [0, 1]
    assert cfg.new.name == "text"


def test_the_work_folder_is_the_option_then_the_config_then_the_name(
    folder: Path, arguments: Callable
) -> None:
    path = write_config(folder)
    assert tools.read_config(arguments(path))[1] == Path("work_dirs/config")
    with_own = write_config(folder, "work_dir = 'mine'")
    assert tools.read_config(arguments(with_own))[1] == Path("mine")
    assert tools.read_config(arguments(with_own, "--work-dir", "other"))[1] == Path("other")
    assert sorted(p.name for p in folder.iterdir()) == ["config.py"]


def test_a_config_without_env_cfg_is_made_ready_too(folder: Path, arguments: Callable) -> None:
    path = folder / "config.py"
    path.write_text("model = dict(type='X')\n")
    assert tools.read_config(arguments(path))[0].model.type == "X"


def test_amp_of_a_config_that_does_not_train_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (folder / "config.py").write_text("model = dict(type='X')\n")
    line = mistake("config.py", "--amp", entry=tool("train.py"))
    assert "config.py has no 'train_dataloader'" in line


def test_amp_without_a_gpu_is_one_line(
    folder: Path, mistake: Callable[..., str], tool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = mistake(write_config(folder), "--amp", entry=tool("train.py"))
    assert line == "error: --amp needs a GPU; remove it to train on the CPU\n"


def test_amp_is_taken_exactly_where_there_is_a_gpu() -> None:
    cfg = Config(dict(optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="AdamW"))))
    if torch.cuda.is_available():
        tools.use_amp(cfg)
        assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    else:
        with pytest.raises(UserError, match="needs a GPU"):
            tools.use_amp(cfg)
        assert cfg.optim_wrapper.type == "OptimWrapper"


def test_amp_keeps_a_loss_scale_and_refuses_other_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type="AdamW"))))
    tools.use_amp(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ("AmpOptimWrapper", "dynamic")

    cfg = Config(dict(optim_wrapper=dict(type="AmpOptimWrapper", loss_scale=512.0)))
    tools.use_amp(cfg)
    assert cfg.optim_wrapper.loss_scale == 512.0

    cfg = Config(dict(optim_wrapper=dict(type="ApexOptimWrapper")))
    with pytest.raises(UserError, match=r"optim_wrapper.type=ApexOptimWrapper"):
        tools.use_amp(cfg)


# doctor


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no line of a table is broken."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("wide")
def test_doctor_finds_nothing_wrong_here_and_names_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "mixmae-bench",
        torch.__version__.split("+")[0],
        "OpenMMLab family",
        "mmcv ops",
        "mmpretrain.models, mmdet.models, mmseg.models: ok",
        "float32 matmul",
        "Bf16OptimWrapper",
        "no problem found",
    ):
        assert word in out
    family = "onedl-* (maintained forks)" if "onedl-mmcv" in out else "original"
    assert family in out
    for name in ("mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain"):
        assert name in out.split("OpenMMLab family")[0]
    assert ("compiled" in out) != ("torchvision's kernels" in out)
    (gpu,) = [line.split(maxsplit=1)[1].strip() for line in out.splitlines() if line.startswith(" gpu")]
    assert gpu == (torch.cuda.get_device_name() if torch.cuda.is_available() else "none")


def raises(error: Exception) -> Callable:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (
            "family",
            UserError(f"{'both families are installed, ' * 5}; install one extra, [onedl] or [openmmlab]"),
        ),
        ("ops_kind", ModuleNotFoundError("mmcv is not installed")),
        ("hardware", RuntimeError("CUDA driver\ninitialization failed")),
    ],
)
def test_doctor_tells_each_problem_in_one_line_goes_on_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, error: Exception
) -> None:
    monkeypatch.setattr(mixmae_bench.engine.doctor, what, raises(error))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert " ".join(str(error).split()) in line
    assert "no problem found" not in out
    assert "torchvision" in out
    assert out.splitlines()[-1] == line


def test_doctor_names_a_framework_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mmdet.models", None)
    assert main(["doctor"]) == 1
    assert "mmdet.models" in capsys.readouterr().out.split("problem: ")[1]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"model.type": "Nonsense"}, "Nonsense is not in the mmpretrain::model registry"),
        ({"val_evaluator.type": "Nonsense"}, "Nonsense is not in the mmpretrain::metric registry"),
        ({"param_scheduler": [dict(type="Nonsense")]}, "Nonsense is not in the mmpretrain::parameter sched"),
        ({"train_dataloader.sampler.type": "Nonsense"}, "Nonsense is not in the mmpretrain::data sampler"),
    ],
)
def test_what_a_config_names_and_does_not_exist_is_one_line(folder: Path, options: dict, part: str) -> None:
    cfg = find_data(load_config(SMOKE / "classification.py", options))
    cfg.work_dir, cfg.experiment_name = "work", part
    with pytest.raises(UserError, match=r"classification.py cannot be built: KeyError: ") as error:
        build(cfg, "none", train=True)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_refusal_of_the_disk_is_one_line_and_a_fault_of_ours_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @exits_on_user_error
    def fail(code: int) -> int:
        raise OSError(code, os.strerror(code), "x.txt")

    assert fail(errno.ENOSPC) == 2
    assert capsys.readouterr().err == "error: x.txt: No space left on device\n"
    with pytest.raises(FileNotFoundError):
        fail(errno.ENOENT)


# Processes that die.


def test_a_killed_worker_of_a_dataloader_is_one_line_with_cause_and_log(folder: Path) -> None:
    (folder / "deadly.py").write_text(
        "import os, signal\n\n\ndef collate(samples):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    config = write_config(
        folder,
        "custom_imports = dict(imports=['deadly'])\n"
        "train_dataloader = dict(num_workers=1, collate_fn=dict(type='deadly.collate'))",
    )
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "train.py", config, "--work-dir", folder / "work"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    # torch tells it by its own handler of signals, or from the queue, whichever is first.
    cause = r"(\(pid \d+\) is killed by signal: Killed|\(pid\(s\) \d+\) exited unexpectedly)"
    assert re.match(rf"error: DataLoader worker {cause}; .*num_workers.*; log: ", line)
    assert "Traceback" not in done.stderr
    assert Path(line.rpartition("log: ")[2]).is_file()


def test_only_a_dead_worker_of_a_dataloader_is_told_as_one(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path)))
    told = r"^DataLoader worker \(pid\(s\) 7\) exited unexpectedly; .*log: "
    with pytest.raises(ProcessDied, match=told), dead_loaders_named(cfg):
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    with pytest.raises(RuntimeError, match="mat1 and mat2") as error, dead_loaders_named(cfg):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert error.type is RuntimeError


def test_a_process_that_died_is_one_line_and_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    @exits_on_user_error
    def command() -> int:
        raise ProcessDied("its process was killed by signal 9")

    assert command() == 1
    assert capsys.readouterr().err == "error: its process was killed by signal 9\n"
