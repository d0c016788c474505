"""Exit status of commands: user errors are printed in one line, errors of this package with a traceback."""

import errno
import functools
import os
import sys
from collections.abc import Callable

from mixmae_bench.errors import ProcessDied, UserError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""Error numbers of a full disk, or of missing permissions."""


def exits_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Print user errors, and errors of disk space or permissions, in one line on stderr; exit with status 2.

    ProcessDied is printed in one line too, with exit status 1.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> int:
        try:
            status = main(*args)
            sys.stdout.flush()  # a closed pipe is noticed here
            return status
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except ProcessDied as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # the reader of the output has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2

    return wrapped
