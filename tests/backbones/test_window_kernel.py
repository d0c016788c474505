"""The Triton kernels, on a GPU where there is one, else in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from mixmae_bench.backbones.layers.window_kernel import kernel_supports

CASES = [Path(__file__).with_name(f"{name}_cases.py") for name in ("window_kernel", "residual_norm")]


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_cases_pass_in_a_process_that_may_interpret_kernels() -> None:
    """Triton reads TRITON_INTERPRET when it is imported. Other tests import it too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["TRITON_INTERPRET"] = "0" if torch.cuda.is_available() else "1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *CASES],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


def test_without_the_interpreter_cpus_are_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not kernel_supports(torch.device("cpu"), 32, 49, torch.float32)
