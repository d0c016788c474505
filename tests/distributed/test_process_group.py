"""Starting several processes wrongly is told in one line, before anything is trained."""

from pathlib import Path

import pytest
import torch

from mixmae_bench.cli import main
from mixmae_bench.engine.distributed import init_process_group
from mixmae_bench.errors import UserError

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU they are right")


@pytest.mark.parametrize(
    ("launcher", "variable", "starter"),
    [
        ("pytorch", "WORLD_SIZE", "torchrun"),
        ("slurm", "SLURM_NTASKS", "srun"),
        ("mpi", "OMPI_COMM_WORLD_SIZE", "mpirun"),
    ],
)
def test_a_launcher_that_did_not_start_the_process_is_named(
    launcher: str, variable: str, starter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(
        UserError, match=f"--launcher {launcher}, but {variable} is .*with {starter}, or omit"
    ):
        init_process_group(launcher)


@NO_GPU
def test_slurm_without_gpus_is_refused_with_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UserError, match="--launcher slurm needs GPUs; without them: torchrun"):
        init_process_group("slurm")


def test_one_process_joins_nothing() -> None:
    init_process_group("none")
    assert not torch.distributed.is_initialized()


SMOKE = str(Path(__file__).parents[1] / "smoke/suite.yaml")


@pytest.mark.parametrize(
    ("rank", "arguments", "text"),
    [
        (None, ["--processes", "0"], "--processes is 0; give 1 or more"),
        ("0", [], "mixmae-bench run starts its own processes; do not use torchrun, give --processes N"),
    ],
)
def test_a_suite_that_is_started_wrongly_says_how_in_one_line(
    rank: str | None,
    arguments: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if rank:
        monkeypatch.setenv("RANK", rank)
    assert main(["run", SMOKE, *arguments]) == 2
    assert capsys.readouterr().err == f"error: {text}\n"


@NO_GPU
def test_the_batch_of_all_processes_is_checked_before_anything_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", SMOKE, "--processes", "2"]) == 2
    assert "the effective batch is 16 (8 images x 2 processes x 1 accumulated)" in capsys.readouterr().err
