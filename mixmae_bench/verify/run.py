"""The command `mixmae-bench verify`."""

from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from mixmae_bench.errors import UserError
from mixmae_bench.verify.case import Case, NotBuilt, read_cases
from mixmae_bench.verify.checks import check_case, not_compared
from mixmae_bench.verify.groups import check_groups


def verify(folder: Path, device: str, only: str, console: Console) -> int:
    """Compare all cases of a folder whose name fits the pattern `only`; return how many failed.

    Raises:
        UserError: Where the folder has no manifest, no case fits, or the device is not there.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device is {device}, and torch sees no GPU; see mixmae-bench doctor")
    cases = [case for case in read_cases(folder) if fnmatch(case.name, only)]
    if not cases:
        raise UserError(f"no case of {folder} fits --only '{only}'")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    failed = sum(not _verify_case(case, device, console) for case in cases)
    console.print(f"{len(cases) - failed} of {len(cases)} cases pass on {device}")
    return failed


def _verify_case(case: Case, device: str, console: Console) -> bool:
    """Compare one case, a row per check; whatever is wrong with it is a row, and the next case goes on."""

    good, compared = True, set()
    try:
        for check in chain(check_case(case, device), check_groups(case)):
            good &= check.passed
            compared.add(check.tensor.split(" ")[0])
            numbers = f"{check.error:9.2e} (at most {check.tolerance:.2e})"
            _row(console, PASS if check.passed else FAIL, case, f"{check.tensor:58} {numbers}")
        for name in not_compared(case, compared):
            _row(console, NOTE, case, f"{name} is not compared: nothing here computes it")
    except NotBuilt as error:
        good = _row(console, FAIL, case, f"cannot be built: {error}")
    except UserError as error:
        good = _row(console, FAIL, case, f"cannot be compared: {error}")
    except Exception as error:  # a manifest and its files may hold anything
        good = _row(console, FAIL, case, f"cannot be compared: {type(error).__name__}: {error}")
    return good and bool(compared)


PASS, FAIL, NOTE = ("pass", "green"), ("FAIL", "red"), ("note", "yellow")


def _row(console: Console, mark: tuple[str, str], case: Case, text: str) -> bool:
    """Print one line, whatever characters a manifest puts into it; return whether it is no failure."""
    words = " ".join(f"{case.name:18} {text}".splitlines())
    words = words if len(words) <= 600 else f"{words[:600]} ..."
    words = words.encode("utf-8", "backslashreplace").decode()
    console.print(Text.assemble(mark, " ", words), soft_wrap=True, highlight=False)
    return mark is not FAIL
