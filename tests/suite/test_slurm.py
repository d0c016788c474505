"""What Slurm is asked for: parameters as given, a run's share of GPUs, and the script of a dry run."""

from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.errors import UserError
from mixmae_bench.suite.slurm import KNOWN, read_parameters, resources

ROOT = Path(__file__).parents[2]


def test_parameters_come_from_options_and_files_and_the_later_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text(
        "partition: gpu\ntime: 600\nmem: 64G\nsetup: [module load cuda, ulimit -c 0]\n"
        "additional_parameters: {licenses: a}\n"
    )
    assert read_parameters(["partition=cpu", str(file), "time=30", "setup=hostname"]) == {
        "partition": "gpu",
        "time": 30,
        "mem": "64G",
        "setup": ["hostname"],
        "additional_parameters": {"licenses": "a"},
    }


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read_parameters(["setup=export A=1"]) == {"setup": ["export A=1"]}


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("partion=gpu", ["unknown parameter 'partion'", "Did you mean 'partition'?"]),
        ("time=1:00:00", ["time must be a whole number of minutes, such as 1440, not '1:00:00'"]),
        ("gpus_per_node=0", ["gpus_per_node must be a whole number, not '0'"]),
        ("nodes=2", ["requires gpus_per_node="]),
        ("none.yaml", ["none.yaml: no such file"]),
        ("additional_parameters=a", ["mapping, in a YAML file"]),
    ],
)
def test_a_wrong_parameter_is_named(given: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        read_parameters([given])
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("text", ["time: 1:00:00", "time: [1]", "partition: {a: 1}", "- a", "a: [", "tim: 1"])
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"--slurm {file}"):
        read_parameters([str(file)])


@pytest.mark.parametrize(
    ("parameters", "gpus", "nodes", "tasks"),
    [
        ({}, 8, 1, 1),
        ({"gpus_per_node": 8}, 8, 1, 8),
        ({"gpus_per_node": 8}, 1, 1, 1),
        ({"gpus_per_node": 8}, 32, 4, 8),
        ({"gpus_per_node": 4}, 8, 2, 4),
        ({"gpus_per_node": 4, "nodes": 1}, 16, 1, 4),
    ],
)
def test_a_run_takes_the_gpus_of_its_config_on_as_many_nodes_as_they_need(
    parameters: dict[str, int], gpus: int, nodes: int, tasks: int
) -> None:
    share = resources(parameters, gpus, "c.py")
    assert (share["nodes"], share["ntasks_per_node"]) == (nodes, tasks)
    assert share.get("gpus_per_node") == (tasks if parameters else None)


def test_gpus_that_do_not_fill_nodes_are_refused() -> None:
    with pytest.raises(UserError, match=r"c.py is written for 16 GPUs, not a multiple of gpus_per_node=6"):
        resources({"gpus_per_node": 6}, 16, "c.py")


def run(suite: str, *options: str) -> int:
    return main(["run", str(ROOT / "configs" / "suites" / suite), *options])


def test_a_dry_run_prints_the_script_of_every_kind_of_run_without_slurm_or_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    options = ["--methods", "mixmae-swin-b-300e", "--executor", "slurm", "--dry-run"]
    slurm = ("partition=gpu", "gpus_per_node=8", "cpus_per_task=12", "mem=500G", "setup=module load cuda")
    assert run("imagenet.yaml", *options, *(part for value in slurm for part in ("--slurm", value))) == 0
    assert list(tmp_path.iterdir()) == []
    estimate, pretraining, transfer = capsys.readouterr().out.split("#!/bin/bash")
    assert "GPU hours on" in estimate
    assert "runs with nodes 2, ntasks_per_node 8, gpus_per_node 8: 1, of which 0 are" in estimate
    assert "runs with nodes 1, ntasks_per_node 8, gpus_per_node 8: 1, of which 1 are" in pretraining
    folder = tmp_path / "work_dirs/imagenet/jobs/mixmae-swin-b-300e/seed0"
    for script, name, nodes in ((pretraining, "pretraining", 2), (transfer, "in1k", 1)):
        lines = script.splitlines()
        for line in (
            f"#SBATCH --job-name=mixmae-swin-b-300e/seed0/{name}",
            f"#SBATCH --nodes={nodes}",
            "#SBATCH --ntasks-per-node=8",
            "#SBATCH --gpus-per-node=8",
            "#SBATCH --cpus-per-task=12",
            "#SBATCH --partition=gpu",
            "#SBATCH --mem=500G",
            "#SBATCH --time=1440",
            "#SBATCH --requeue",
            "#SBATCH --signal=USR2@90",
            "module load cuda",
        ):
            assert line in lines
        (command,) = [line for line in lines if line.startswith("srun ")]
        assert "--kill-on-bad-exit=1 --cpus-per-task=12 " in command
        assert f"--output {folder / name}/%j_%t_log.out" in command


def test_submitit_takes_every_known_parameter(capsys: pytest.CaptureFixture) -> None:
    given = [f"{key}=7" for key in KNOWN if key != "additional_parameters"]
    options = [part for value in given for part in ("--slurm", value)]
    assert run("digits.yaml", "--methods", "scratch", "--executor", "slurm", "--dry-run", *options) == 0
    out = capsys.readouterr().out
    for key in ("account", "qos", "constraint", "mem-per-cpu", "exclude", "nodelist", "mail-user", "wckey"):
        assert f"#SBATCH --{key}=7\n" in out
    assert "#SBATCH --signal=USR2@7\n" in out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--slurm", "time=60"], "--slurm requires --executor slurm"),
        (["--executor", "slurm", "--slurm", "tim=60"], "Did you mean 'time'?"),
        (["--executor", "slurm"], "command sbatch not found"),
    ],
)
def test_what_cannot_be_submitted_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    options: list[str],
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert run("digits.yaml", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line
    assert list(tmp_path.iterdir()) == []
