"""The command `mixmae-bench verify`."""

from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from mixmae_bench.backbones.layers.forms import forms_used
from mixmae_bench.errors import UserError
from mixmae_bench.verify.case import Case, NotBuilt, read_cases
from mixmae_bench.verify.checks import check_case, not_compared
from mixmae_bench.verify.groups import check_groups


def verify(folder: Path, device: str, only: str, console: Console, compiled: bool = False) -> int:
    """Check all cases of a folder with names that match the pattern `only`; return the number of failures.

    Raises:
        UserError: If the folder has no manifest, no case matches, or the device is not available.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device is {device}, but torch finds no GPU; see mixmae-bench doctor")
    cases = [case for case in read_cases(folder) if fnmatch(case.name, only)]
    if not cases:
        raise UserError(f"no case of {folder} matches --only '{only}'")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    failed = sum(not _verify_case(case, device, compiled, console) for case in cases)
    console.print(f"{len(cases) - failed} of {len(cases)} cases pass on {device}")
    return failed


def _verify_case(case: Case, device: str, compiled: bool, console: Console) -> bool:
    """Check one case and print a row per check; errors are printed as a row as well."""
    good, compared = True, set()
    try:
        with forms_used() as forms:
            for check in chain(check_case(case, device, compiled), check_groups(case)):
                good &= check.passed
                compared.add(check.tensor.split(" ")[0])
                numbers = f"{check.error:9.2e} (at most {check.tolerance:.2e})"
                _row(console, PASS if check.passed else FAIL, case, f"{check.tensor:58} {numbers}")
        if forms:
            _row(console, NOTE, case, f"window attention was computed as {', '.join(sorted(forms))}")
        for name in not_compared(case, compared):
            _row(console, NOTE, case, f"{name} is not compared: this package does not compute it")
    except NotBuilt as error:
        good = _row(console, FAIL, case, f"cannot be built: {error}")
    except UserError as error:
        good = _row(console, FAIL, case, f"cannot be compared: {error}")
    except Exception as error:  # manifests and files may contain anything
        good = _row(console, FAIL, case, f"cannot be compared: {type(error).__name__}: {error}")
    return good and bool(compared)


PASS, FAIL, NOTE = ("pass", "green"), ("FAIL", "red"), ("note", "yellow")


def _row(console: Console, mark: tuple[str, str], case: Case, text: str) -> bool:
    """Print one line, with line breaks and invalid characters escaped; return whether it is not a failure."""
    words = " ".join(f"{case.name:18} {text}".splitlines())
    words = words if len(words) <= 600 else f"{words[:600]} ..."
    words = words.encode("utf-8", "backslashreplace").decode()
    console.print(Text.assemble(mark, " ", words), soft_wrap=True, highlight=False)
    return mark is not FAIL
