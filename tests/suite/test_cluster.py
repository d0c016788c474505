"""Jobs of submitit in the place of worker processes: run, killed, failing, found again, requeued."""

import dataclasses
import os
import pickle
import re
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest
import submitit

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.suite import cluster
from mixmae_bench.suite.cluster import SlurmJobs, SlurmTask, Submitted
from mixmae_bench.suite.job import Job, RunFailed, reason
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import note_failure, try_lock
from mixmae_bench.suite.run import _job as job_of_run
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.spec import read_suite

SLOT = Slot(0, 9)
SUITE = Path(__file__).parents[1] / "smoke" / "suite.yaml"


class Light:
    """In the place of a run: what a job does that needs no framework. The folder holds what to do."""

    def __init__(self, job: SimpleNamespace) -> None:
        self.job = job

    def __call__(self) -> object:
        folder = self.job.folder
        folder.mkdir(parents=True, exist_ok=True)
        action = (folder / "action").read_text() if (folder / "action").is_file() else ""
        if action == "die":
            (folder / "action").unlink()
            print("no memory left", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "fail":
            raise ValueError("no such thing")
        if action == "fail and note":
            (folder / "failed").write_text("OSError: disk is full")
            raise OSError
        return "done"


@pytest.fixture
def light() -> Iterator[None]:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # a job cannot import this file
    yield
    cloudpickle.unregister_pickle_by_value(module)


def job_of(work: Path, name: str, action: str | None = None) -> SimpleNamespace:
    if action:
        (work / name).mkdir(parents=True)
        (work / name / "action").write_text(action)
    return SimpleNamespace(
        folder=work / name,
        records=work / "records.jsonl",
        plan=SimpleNamespace(key="k", run=SimpleNamespace(name=name)),
    )


def submit(job: SimpleNamespace) -> Submitted:
    """Submit a job by submitit's own executor for this machine, in the place of Slurm's."""
    executor = submitit.LocalExecutor(job.records.parent / "jobs" / job.plan.run.name)
    executor.update_parameters(timeout_min=10, stderr_to_stdout=True)
    return Submitted(job, executor.submit(Light(job)).task(0), 0.05)


def wait(*submitted: Submitted) -> None:
    limit = time.monotonic() + 120
    while not all(one.done() for one in submitted):
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


@pytest.mark.usefixtures("light")
def test_a_killed_job_is_told_with_the_end_of_its_log_and_can_be_submitted_again(tmp_path: Path) -> None:
    job = job_of(tmp_path, "m/seed0/a", "die")
    first = submit(job)
    wait(first)
    with pytest.raises(ProcessDied, match=f"^its job {first.task.job_id} ended without a result"):
        first.result()
    log = (job.folder / "log.txt").read_text()
    assert f"job {first.task.job_id} ended without a result; the end of {tmp_path / 'jobs/m/seed0/a'}" in log
    assert "no memory left" in log
    again = submit(job)
    wait(again)
    assert again.result() == "done"


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    ("action", "expected", "logged"),
    [
        ("fail", "failed before the run began", "ValueError: no such thing"),
        ("fail and note", "OSError: disk is full", None),
    ],
)
def test_a_failing_job_gives_its_reason(
    tmp_path: Path, action: str, expected: str, logged: str | None
) -> None:
    job = job_of(tmp_path, "m/seed0/a", action)
    submitted = submit(job)
    wait(submitted)
    with pytest.raises(RunFailed) as error:
        submitted.result()
    assert reason(error.value).endswith(expected)
    log = job.folder / "log.txt"
    assert logged in log.read_text() if logged else not log.exists()


# What a job calls.


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a run would find in its environment."""
    found: dict[str, str] = {}
    with quiet():
        from mixmae_bench.suite import execute
    monkeypatch.setattr(execute, "run_job", lambda job: found.update(os.environ) or job)
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[07-08]")
    return found


def test_tasks_of_a_job_find_torchrun_s_variables(
    asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(NTASKS=16, JOB_NUM_NODES=2, NODEID=1, PROCID=11, LOCALID=3)
    for name, value in settings.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    assert SlurmTask("job")() == "job"
    assert (asked["RANK"], asked["WORLD_SIZE"]) == ("11", "16")
    assert (asked["LOCAL_RANK"], asked["LOCAL_WORLD_SIZE"]) == ("3", "8")
    assert asked["MASTER_ADDR"] == "node07"
    assert 1024 < int(asked["MASTER_PORT"]) < 65536
    assert asked["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"


def test_a_single_task_trains_as_any_single_process(asked: dict[str, str]) -> None:
    SlurmTask("job")()
    assert "RANK" not in asked
    assert "WORLD_SIZE" not in asked


@pytest.mark.usefixtures("asked")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_preemption_is_left_to_the_task_by_the_processes_that_it_forks() -> None:
    SlurmTask("job")()
    pid = os.fork()
    if not pid:
        os._exit(0 if signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_preempted_run_is_submitted_as_it_was() -> None:
    run = SlurmTask("job")
    again = run.checkpoint()
    assert again.function is run
    assert (again.args, again.kwargs) == ((), {})


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds processes in /proc")
def test_a_preempted_job_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """A real run in a real job of submitit, which is told what Slurm tells before it takes a node away."""
    epochs = 20
    (tmp_path / "pretraining.py").write_text(
        f"_base_ = {str(SUITE.parent / 'pretraining.py')!r}\ntrain_cfg = dict(max_epochs={epochs})\n"
        "default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))\n"
    )
    (tmp_path / "suite.yaml").write_text(
        "name: jobs\nversion: 1\ndataset: digits\nseeds: [3]\n"
        "methods: {mixmae: {pretrain: pretraining.py}}\n"
        f"tasks: {{classification: {SUITE.parent / 'classification.py'}}}\n"
    )
    suite = read_suite(tmp_path / "suite.yaml")
    planned = plan(suite)["mixmae/seed3/pretraining"]
    job = job_of_run(suite, planned, tmp_path / "work", 1, False, ())
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=10, stderr_to_stdout=True)
    submitted = Submitted(job, executor.submit(SlurmTask(job)).task(0), 0.05)
    try:
        limit = time.monotonic() + 120
        while not (job.folder / "last_checkpoint").is_file():
            assert time.monotonic() < limit
            assert not submitted.done()
            time.sleep(0.1)
        (task,) = children_of(int(submitted.task.job_id))
        os.kill(task, signal.SIGUSR2)
        wait(submitted)
    finally:
        submitted.task.cancel()
    record = submitted.result()
    assert (record.task, record.epochs, len(record.losses)) == ("pretraining", epochs, epochs)
    log = (job.folder / "log.txt").read_text()
    assert "Load checkpoint from" in log
    assert len(re.findall(r"Epoch\(train\)\s+\[1\]\[1/2\]", log)) == 1  # it did not begin anew
    assert str(tmp_path) not in job.records.read_text()


def children_of(parent: int) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = file.read_text().partition(" ")
        except OSError:
            continue
        if int(rest.rpartition(")")[2].split()[1]) == parent:
            found.append(int(pid))
    return found


# Slurm, by commands that only note what they are asked.


@dataclasses.dataclass
class FakeSlurm:
    """Commands sbatch, srun and sacct whose answers are files of a folder."""

    folder: Path

    def set_state(self, job_id: str, state: str) -> None:
        (self.folder / "states").write_text(f"JobID|State|NodeList\n{job_id}|{state}|\n")
        submitit.SlurmJob.watcher.clear()

    def scripts(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("script_*"))]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    folder = tmp_path / "slurm"
    folder.mkdir()
    commands = {
        "sbatch": f"env > {folder}/environment\n"
        f"n=$(ls {folder} | grep -c script_); n=$((n + 101)); cp $1 {folder}/script_$n\n"
        f"[ -e {folder}/refusal ] && cat {folder}/refusal >&2 && exit 1; echo Submitted batch job $n",
        "srun": "",
        "sacct": f"cat {folder}/states",
    }
    for name, text in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(SlurmJobs, "seconds_between_looks", 0.0)
    return FakeSlurm(folder)


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(read_suite(SUITE))["mixmae/seed0/pretraining"]


@pytest.fixture
def job(tmp_path: Path, planned: Plan) -> Job:
    work = tmp_path / "work"
    return Job(
        *("smoke", SUITE, 1, "digits", planned, work / planned.run.name, work / "records.jsonl"),
        *(None, 9, False, ()),
    )


def finish(submitted: Submitted, outcome: tuple[str, object]) -> None:
    submitted.task.paths.result_pickle.write_bytes(pickle.dumps(outcome))


def test_a_run_goes_through_sbatch_and_its_result_comes_back(
    slurm: FakeSlurm, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")  # where the suite is a job itself
    jobs = SlurmJobs({"partition": "cpu", "cpus_per_task": 3})
    assert jobs.slots(2) == [Slot(0, 3), Slot(1, 3)]
    assert len(jobs.slots(None)) == 16
    submitted = jobs.submit(job, SLOT)
    (script,) = slurm.scripts()
    assert "#SBATCH --partition=cpu\n" in script
    assert "gpus" not in script
    assert "SLURM_" not in (slurm.folder / "environment").read_text()
    sent = submitted.task.submission().function
    assert sent.job == job
    slurm.set_state("101", "PENDING")
    assert not submitted.done()
    finish(submitted, ("success", "record"))
    assert submitted.done()
    assert submitted.result() == "record"


def test_a_run_that_another_process_is_at_is_not_submitted(slurm: FakeSlurm, job: Job) -> None:
    with try_lock(job.folder):
        submitted = SlurmJobs({}).submit(job, SLOT)
    assert submitted.done()
    assert submitted.result() is None
    assert slurm.scripts() == []


def test_a_job_in_the_queue_is_found_by_the_next_process_and_one_that_ended_is_not(
    slurm: FakeSlurm, job: Job
) -> None:
    SlurmJobs({}).submit(job, SLOT)
    for state in ("PENDING", "RUNNING"):
        slurm.set_state("101", state)
        with try_lock(job.folder) if state == "RUNNING" else nullcontext():
            assert SlurmJobs({}).submit(job, SLOT).task.job_id == "101"
    slurm.set_state("101", "NODE_FAIL")
    again = SlurmJobs({}).submit(job, SLOT)
    assert again.task.job_id == "102"
    slurm.set_state("102", "RUNNING")
    other = dataclasses.replace(job, plan=dataclasses.replace(job.plan, key="other"))
    assert SlurmJobs({}).submit(other, SLOT).task.job_id == "103"
    assert len(slurm.scripts()) == 3


@pytest.mark.parametrize(
    ("state", "kind", "why"),
    [
        ("OUT_OF_MEMORY", ProcessDied, "its job 101 ended without a result (state OUT_OF_MEMORY)"),
        ("CANCELLED by 0", RunFailed, "job 101 was cancelled"),
    ],
)
def test_a_job_without_a_result_died_unless_somebody_cancelled_it(
    slurm: FakeSlurm, job: Job, state: str, kind: type, why: str
) -> None:
    submitted = SlurmJobs({}).submit(job, SLOT)
    submitted.task.paths.stdout.write_text("slurmstepd: error: Detected 1 oom_kill event\n")
    slurm.set_state("101", state)
    assert not submitted.done()  # its result may be late
    assert submitted.done()
    with pytest.raises(kind) as error:
        submitted.result()
    assert reason(error.value) == why
    assert "oom_kill" in (job.folder / "log.txt").read_text()


def test_a_failure_of_an_earlier_job_is_not_taken_for_one_of_this(slurm: FakeSlurm, job: Job) -> None:
    job.folder.mkdir(parents=True)
    note_failure(job.folder, "ValueError: old")
    submitted = SlurmJobs({}).submit(job, SLOT)
    slurm.set_state("101", "NODE_FAIL")
    wait(submitted)
    with pytest.raises(ProcessDied):
        submitted.result()


def test_what_sbatch_refuses_is_one_line(slurm: FakeSlurm, job: Job, capsys: pytest.CaptureFixture) -> None:
    (slurm.folder / "refusal").write_text("sbatch: error: invalid partition specified: gpu\n")
    with pytest.raises(UserError, match=r"sbatch rejected mixmae/seed0/pretraining: .*invalid partition"):
        SlurmJobs({"partition": "gpu"}).submit(job, SLOT)


def test_jobs_go_on_when_the_suite_stops_and_are_named(slurm: FakeSlurm, job: Job) -> None:
    jobs = SlurmJobs({})
    assert "scancel" not in jobs.after_stop
    jobs.submit(job, SLOT)
    slurm.set_state("101", "RUNNING")
    jobs.stop()  # there is no scancel that it could call
    assert jobs.after_stop.endswith("scancel 101")


def test_processes_are_those_that_the_run_gets(slurm: FakeSlurm, job: Job) -> None:
    cfg = cluster.load_config(job.plan.run.config)
    cfg.auto_scale_lr.base_batch_size = 32  # four times the batch
    assert SlurmJobs({}).processes(cfg) == 1
    assert SlurmJobs({"gpus_per_node": 2}).processes(cfg) == 4
    assert SlurmJobs({"gpus_per_node": 2, "nodes": 1}).processes(cfg) == 2
