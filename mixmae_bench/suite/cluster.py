"""Runs as jobs of Slurm, by submitit.

The suite's process stays and submits a run when what it starts from is done, not all at once with
`--dependency=afterok`: so both executors share one way, a run whose job died is submitted again instead of
leaving others behind that can never start, and the process may end at any time, as jobs go on without it.

submitit writes pickles into `jobs/` of the work folder: a user's own jobs, written and read by the same code,
and no checkpoints.
"""

import json
import os
import shutil
import signal
import time
from collections import deque
from pathlib import Path

import submitit
from mmengine.config import Config
from submitit.core.utils import FailedJobError

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.results.record import Record
from mixmae_bench.suite.estimate import gpus_of
from mixmae_bench.suite.job import Job, RunFailed
from mixmae_bench.suite.progress import failure, is_running, note_failure
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.slurm import DEFAULTS, resources
from mixmae_bench.suite.spec import Run, Suite
from mixmae_bench.system.files import write_atomically

TIMEOUTS = 100
"""How often a run goes on after its job reached its time limit."""

NOTE = "submitted.json"
"""In the folder of a run's jobs: which Slurm job was submitted last, for a process that looks for it."""

SLURM_JOBS = 16
"""Jobs to have waiting or running at a time where nobody says how many."""


class SlurmTask:
    """What every task of a job calls; after a preemption or timeout it is called again and goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Record | None:
        """Run the run (see `execute.run_job`), together with the job's other tasks if it has any."""
        # Workers of a DataLoader would inherit submitit's handler and requeue the job once more each.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        if submitit.JobEnvironment().num_tasks > 1:
            # All GPUs of the node stay visible: LOCAL_RANK is the number of this task's.
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        with quiet():
            from mixmae_bench.suite.execute import run_job

        return run_job(self.job)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return what to submit anew; how far the run is, its own checkpoints say."""
        return submitit.helpers.DelayedSubmission(self)


class Submitted:
    """A run that was submitted; its job's first task speaks for all. An `executor.Submitted`.

    Args:
        job: The run.
        task: The first task of its job, or None where another process is at the run already.
        seconds: Between looks at it.
    """

    def __init__(self, job: Job, task: submitit.Job | None, seconds: float) -> None:
        self.job = job
        self.task = task
        self._seconds = seconds
        self._next_look = 0.0
        self._gone = False
        self._done = task is None

    def done(self) -> bool:
        """Whether the job has ended."""
        now = time.monotonic()
        if not self._done and now >= self._next_look:
            self._next_look = now + self._seconds
            # A job that is gone gets one more look: on a network file system its result may come late.
            self._done = self._has_result() or self._gone
            self._gone = self.task.done()
        return self._done

    def result(self) -> Record | None:
        """Return the record, or None where another process is at the run.

        Raises:
            ProcessDied: Where the job ended without saying how, and nobody cancelled it.
            RunFailed: Why the run failed.
        """
        if self.task is None:
            return None
        if self._has_result() and self.task.exception() is None:
            return self.task.result()
        if reason := failure(self.job.folder):
            raise RunFailed(reason)
        self._tell()
        if self._has_result():
            raise RunFailed(f"job {self.task.job_id} failed before the run began")
        state = self.task.state
        if state.startswith("CANCELLED"):
            raise RunFailed(f"job {self.task.job_id} was cancelled")
        raise ProcessDied(f"its job {self.task.job_id} ended without a result (state {state})")

    def _tell(self) -> None:
        """Add to the run's log what its job's own log says, where the run itself could say nothing."""
        log = self.task.paths.stdout
        end = deque(log.open(errors="replace"), 20) if log.is_file() else ()
        self.job.folder.mkdir(parents=True, exist_ok=True)
        with open(self.job.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"\njob {self.task.job_id} ended without a result; the end of {log}:\n{''.join(end)}")

    def _has_result(self) -> bool:
        return self.task.paths.result_pickle.is_file()


class SlurmJobs:
    """Runs as jobs of Slurm, one task per GPU (see `slurm.resources`), which outlive the suite's process.

    An `executor.Executor`.

    Args:
        parameters: As of `slurm.read_parameters`.

    Raises:
        UserError: Where there is no Slurm.
    """

    seconds_between_looks = 5.0

    def __init__(self, parameters: dict[str, object]) -> None:
        for command in ("sbatch", "srun", "sacct"):
            if shutil.which(command) is None:
                raise UserError(
                    f"--executor slurm: there is no {command} here; run it where jobs are submitted, "
                    "or add --dry-run to see the script"
                )
        self._parameters = parameters
        self._submitted: list[Submitted] = []

    @property
    def after_stop(self) -> str:
        ids = " ".join(own.task.job_id for own in self._submitted if own.task and not own.done())
        if not ids:
            return "the same command goes on where it was"
        return f"submitted jobs go on and the same command finds them; to end them: scancel {ids}"

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return slots without GPUs, which Slurm gives to each job."""
        threads = self._parameters.get("cpus_per_task", 1)
        return [Slot(number, threads) for number in range(jobs or SLURM_JOBS)]

    def processes(self, cfg: Config) -> int:
        share = resources(self._parameters, gpus_of(cfg), cfg.filename)
        return share["nodes"] * share["ntasks_per_node"]

    def submit(self, job: Job, slot: Slot) -> Submitted:
        """Submit a run, unless some process is at it."""
        task = self._found(job)
        if task is None and not is_running(job.folder):
            note_failure(job.folder, None)
            task = self._submit(job)
        self._submitted.append(Submitted(job, task, self.seconds_between_looks))
        return self._submitted[-1]

    def stop(self) -> None:
        """Leave the jobs alone."""

    def _found(self, job: Job) -> submitit.Job | None:
        """Return the job that an earlier process submitted for the same run, if it lives."""
        folder = _jobs_folder(job.records.parent, job.plan.run)
        try:
            noted = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        task = submitit.SlurmJob(folder, noted["id"])
        lives = noted["key"] == job.plan.key and not task.done(force_check=True) and task.state != "UNKNOWN"
        return task if lives else None

    def _submit(self, job: Job) -> submitit.Job:
        executor = _slurm_executor(job.plan.run, job.records.parent, self._parameters)
        try:
            with submitit.helpers.clean_env():  # this process may be a job itself
                task = executor.submit(SlurmTask(job)).task(0)
        except FailedJobError as error:
            raise UserError(f"sbatch refuses {job.plan.run.name}: {' '.join(str(error).split())}") from error
        write_atomically(executor.folder / NOTE, json.dumps({"id": task.job_id, "key": job.plan.key}))
        return task


class _SlurmExecutor(submitit.SlurmExecutor):
    """submitit's, which can show its script where there is no Slurm too."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self) -> str:
        return self._make_submission_file_text(self._submitit_command_str, "")


def show_scripts(suite: Suite, work_dir: Path, parameters: dict[str, object]) -> None:
    """Print what would be sent to sbatch: a script for all runs that ask for the same."""
    kinds: dict[tuple, list[Run]] = {}
    for run in suite.runs():
        share = resources(parameters, gpus_of(load_config(run.config)), str(run.config))
        kinds.setdefault(tuple(share.items()), []).append(run)
    for share, runs in kinds.items():
        later = sum(run.parent is not None for run in runs)
        print(
            f"\nruns with {', '.join(f'{name} {value}' for name, value in share)}: {len(runs)}, of which "
            f"{later} are submitted once what they start from is done; the script of {runs[0].name}:\n"
        )
        print(_slurm_executor(runs[0], work_dir, parameters).script())


def _slurm_executor(run: Run, work_dir: Path, parameters: dict[str, object]) -> _SlurmExecutor:
    cfg = load_config(run.config)
    executor = _SlurmExecutor(_jobs_folder(work_dir, run), max_num_timeout=TIMEOUTS)
    # Since Slurm 22.05 srun does not take it over from sbatch.
    cpus = [f"--cpus-per-task={parameters['cpus_per_task']}"] if "cpus_per_task" in parameters else []
    own = {
        **DEFAULTS,
        **parameters,
        **resources(parameters, gpus_of(cfg), cfg.filename),
        "job_name": run.name,
        "additional_parameters": {"requeue": True, **parameters.get("additional_parameters", {})},
        # Where one task fails, the others would wait for it.
        "srun_args": ["--kill-on-bad-exit=1", *cpus, *parameters.get("srun_args", [])],
    }
    executor.update_parameters(**own)
    return executor


def _jobs_folder(work_dir: Path, run: Run) -> Path:
    return work_dir / "jobs" / run.name  # not in the run's folder, which is renamed when its run is stale
