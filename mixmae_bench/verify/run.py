"""The command `mixmae-bench verify`."""

from fnmatch import fnmatch
from pathlib import Path

import torch
from rich.console import Console

from mixmae_bench.errors import UserError
from mixmae_bench.verify.case import read_cases
from mixmae_bench.verify.checks import check_case
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
    failed = 0
    for case in cases:
        try:
            checks = [*check_case(case, device), *check_groups(case)]
        except UserError as error:
            console.print(f"[red]FAIL[/] {error}", soft_wrap=True)
            failed += 1
            continue
        good = bool(checks) and all(check.passed for check in checks)
        failed += not good
        for check in checks:
            mark = "[green]pass[/]" if check.passed else "[red]FAIL[/]"
            console.print(
                f"{mark} {case.name:18} {check.tensor:58} {check.error:9.2e} (at most {check.tolerance:.2e})",
                soft_wrap=True,
                highlight=False,
            )
    console.print(f"{len(cases) - failed} of {len(cases)} cases pass on {device}")
    return failed
