"""Exceptions for user errors and for processes that died, and helpers for error messages."""

import difflib
import pickle
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user; the message states in one line what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """

    def __str__(self) -> str:
        # A DataLoader worker prepends its traceback to the message.
        return super().__str__().rpartition("mixmae_bench.errors.UserError: ")[2].strip()


class ProcessDied(Exception):
    """A process ended without returning or raising; the message states which one and how it ended."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the known name closest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def portable(error: Exception) -> Exception:
    """Return an exception that can be pickled: itself, or a RuntimeError with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # many exceptions cannot be unpickled from their arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
