"""Processes that call functions: what comes back, and how one that died is told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import light
import pytest

from mixmae_bench.errors import ProcessDied
from mixmae_bench.system.worker import Worker, python_call

pytestmark = pytest.mark.new_processes


@pytest.fixture
def worker() -> Iterator[Worker]:
    process = Worker({"CUDA_VISIBLE_DEVICES": "GPU-a"})
    yield process
    process.stop()


def test_a_worker_lives_on_from_call_to_call_and_ctrl_c_is_kept_from_it(worker: Worker) -> None:
    pid, blocked = worker.submit(light.process_and_interrupts).result()
    assert pid != os.getpid()
    assert blocked
    assert worker.submit(light.process_and_interrupts).result() == (pid, True)
    assert worker.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "GPU-a"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", ValueError, "^no such thing$"),
        ("unpicklable", RuntimeError, "^Unpicklable: this and that$"),
    ],
)
def test_what_a_function_raises_comes_back_and_the_worker_lives_on(
    how: str, kind: type, said: str, worker: Worker
) -> None:
    with pytest.raises(kind, match=said):
        worker.submit(light.fail, how).result()
    assert worker.alive
    assert worker.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "^its process ended with exit status 3$"),
        ("kill", r"^its process was killed by signal 9 \(out of memory\?\)$"),
    ],
)
def test_a_worker_that_dies_says_how(how: str, said: str, worker: Worker) -> None:
    with pytest.raises(ProcessDied, match=said):
        worker.submit(light.fail, how).result()
    assert not worker.alive
    with pytest.raises(ProcessDied, match=said):
        worker.submit(abs, -1).result()


def test_workers_that_were_killed_or_stopped_leave_no_word_and_no_process() -> None:
    code = """
        import light
        from mixmae_bench.system.worker import Worker
        workers = [Worker() for _ in range(3)]
        calls = [worker.submit(light.process_and_interrupts) for worker in workers]
        print(*(call.result()[0] for call in calls), flush=True)
        workers[0].submit(light.fail, "kill")
        workers[1].submit(light.time.sleep, 600)
        {end}
    """
    for end in ("[worker.stop() for worker in workers]", "light.fail('kill')"):  # or this process dies itself
        text = "\n".join(line.strip() for line in code.format(end=end).splitlines())
        python = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{text}"]
        done = subprocess.run(python, capture_output=True, text=True, timeout=120, check=False)
        assert done.stderr == ""
        limit = time.monotonic() + 10
        for pid in map(int, done.stdout.split()):
            while lives(pid):
                assert time.monotonic() < limit, f"process {pid} lives on"
                time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_new_python_imports_from_where_this_one_does_not_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('of the current folder')")
    command = python_call("json", "dumps", "x")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
