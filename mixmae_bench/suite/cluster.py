"""Slurm executor: submit runs as Slurm jobs with submitit.

The suite's process keeps running and submits a run once its parent run is done, instead of submitting all
runs at once with `--dependency=afterok`. Both executors then share the same scheduler, and a run is submitted
again if its job died, so that dependent runs are never blocked forever. The process may end at any time: jobs
continue without it.

submitit writes pickles into `jobs/` of the work folder. They contain the user's own jobs, are written and
read by the same code, and contain no checkpoints.
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
"""How often a run is requeued after its job reached its time limit."""

NOTE = "submitted.json"
"""File in the folder of a run's jobs with the ID of the Slurm job that was submitted last."""

SLURM_JOBS = 16
"""Default number of jobs that are pending or running at a time."""


class SlurmTask:
    """Callable of every task of a job; called again after a preemption or timeout, it resumes the run."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Record | None:
        """Train and evaluate the run (see `execute.run_job`), together with the job's other tasks if any."""
        # DataLoader workers would inherit submitit's signal handler, and each would requeue the job again.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        if submitit.JobEnvironment().num_tasks > 1:
            # All GPUs of the node stay visible: LOCAL_RANK is the index of this task's GPU.
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        with quiet():
            from mixmae_bench.suite.execute import run_job

        return run_job(self.job)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return the submission for a requeued job; the run resumes from its own checkpoints."""
        return submitit.helpers.DelayedSubmission(self)


class Submitted:
    """A submitted run, followed by the first task of its Slurm job. An `executor.Submitted`.

    Args:
        job: The run.
        task: The first task of its Slurm job, or None if another process already works on the run.
        seconds: Interval between checks of the task's state.
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
            # Check an ended job once more: on a network file system its result file may appear late.
            self._done = self._has_result() or self._gone
            self._gone = self.task.done()
        return self._done

    def result(self) -> Record | None:
        """Return the record, or None if another process works on the run.

        Raises:
            ProcessDied: If the job ended without a result and was not cancelled.
            RunFailed: If the run failed; the message is the reason.
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
        """Append the end of the job's log to the run's log, for a job that ended before it could log."""
        log = self.task.paths.stdout
        end = deque(log.open(errors="replace"), 20) if log.is_file() else ()
        self.job.folder.mkdir(parents=True, exist_ok=True)
        with open(self.job.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"\njob {self.task.job_id} ended without a result; the end of {log}:\n{''.join(end)}")

    def _has_result(self) -> bool:
        return self.task.paths.result_pickle.is_file()


class SlurmJobs:
    """Submits runs as Slurm jobs with one task per GPU (see `slurm.resources`). An `executor.Executor`.

    The jobs outlive the suite's process.

    Args:
        parameters: Result of `slurm.read_parameters`.

    Raises:
        UserError: If Slurm is not installed.
    """

    seconds_between_looks = 5.0

    def __init__(self, parameters: dict[str, object]) -> None:
        for command in ("sbatch", "srun", "sacct"):
            if shutil.which(command) is None:
                raise UserError(
                    f"--executor slurm: command {command} not found; run it where jobs are submitted, "
                    "or add --dry-run to print the script"
                )
        self._parameters = parameters
        self._submitted: list[Submitted] = []

    @property
    def after_stop(self) -> str:
        ids = " ".join(own.task.job_id for own in self._submitted if own.task and not own.done())
        if not ids:
            return "repeat the command to resume"
        return f"submitted jobs continue; repeat the command to follow them, or cancel them: scancel {ids}"

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return slots without GPUs: Slurm assigns the GPUs of each job."""
        threads = self._parameters.get("cpus_per_task", 1)
        return [Slot(number, threads) for number in range(jobs or SLURM_JOBS)]

    def processes(self, cfg: Config) -> int:
        share = resources(self._parameters, gpus_of(cfg), cfg.filename)
        return share["nodes"] * share["ntasks_per_node"]

    def submit(self, job: Job, slot: Slot) -> Submitted:
        """Submit a run, unless another process works on it."""
        task = self._found(job)
        if task is None and not is_running(job.folder):
            note_failure(job.folder, None)
            task = self._submit(job)
        self._submitted.append(Submitted(job, task, self.seconds_between_looks))
        return self._submitted[-1]

    def stop(self) -> None:
        """Do nothing: submitted jobs continue."""

    def _found(self, job: Job) -> submitit.Job | None:
        """Return the job that an earlier process submitted for the same run, if it has not ended."""
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
            with submitit.helpers.clean_env():  # this process may itself be a Slurm job
                task = executor.submit(SlurmTask(job)).task(0)
        except FailedJobError as error:
            raise UserError(f"sbatch rejected {job.plan.run.name}: {' '.join(str(error).split())}") from error
        write_atomically(executor.folder / NOTE, json.dumps({"id": task.job_id, "key": job.plan.key}))
        return task


class _SlurmExecutor(submitit.SlurmExecutor):
    """submitit's executor, which can also show its script on a machine without Slurm."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self) -> str:
        return self._make_submission_file_text(self._submitit_command_str, "")


def show_scripts(suite: Suite, work_dir: Path, parameters: dict[str, object]) -> None:
    """Print the sbatch scripts: one for each group of runs with the same resources."""
    kinds: dict[tuple, list[Run]] = {}
    for run in suite.all_runs():
        share = resources(parameters, gpus_of(load_config(run.config)), str(run.config))
        kinds.setdefault(tuple(share.items()), []).append(run)
    for share, runs in kinds.items():
        later = sum(run.parent is not None for run in runs)
        print(
            f"\nruns with {', '.join(f'{name} {value}' for name, value in share)}: {len(runs)}, of which "
            f"{later} are submitted once their parent run is done; the script of {runs[0].name}:\n"
        )
        print(_slurm_executor(runs[0], work_dir, parameters).script())


def _slurm_executor(run: Run, work_dir: Path, parameters: dict[str, object]) -> _SlurmExecutor:
    cfg = load_config(run.config)
    executor = _SlurmExecutor(_jobs_folder(work_dir, run), max_num_timeout=TIMEOUTS)
    # Since Slurm 22.05, srun does not inherit --cpus-per-task from sbatch.
    cpus = [f"--cpus-per-task={parameters['cpus_per_task']}"] if "cpus_per_task" in parameters else []
    own = {
        **DEFAULTS,
        **parameters,
        **resources(parameters, gpus_of(cfg), cfg.filename),
        "job_name": run.name,
        "additional_parameters": {"requeue": True, **parameters.get("additional_parameters", {})},
        # If one task fails, the others would otherwise wait for it.
        "srun_args": ["--kill-on-bad-exit=1", *cpus, *parameters.get("srun_args", [])],
    }
    executor.update_parameters(**own)
    return executor


def _jobs_folder(work_dir: Path, run: Run) -> Path:
    return work_dir / "jobs" / run.name  # not in the run's folder, which is renamed if the run is stale
