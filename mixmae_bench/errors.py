"""Mistakes of a user, as opposed to faults of this package, and what other processes tell of."""

import difflib
import pickle
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that its message explains in one line: what, where, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """

    def __str__(self) -> str:
        # From a worker of a DataLoader it comes with that process's traceback in front.
        return super().__str__().rpartition("mixmae_bench.errors.UserError: ")[2].strip()


class ProcessDied(Exception):
    """A process ended without having returned or raised; the message says which and how."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def portable(error: Exception) -> Exception:
    """Return an exception to send to another process: itself, or one of its text where pickle cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # many exceptions cannot be made again from their arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
