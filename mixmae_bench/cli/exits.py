"""How a command ends: errors of the user in one line, errors of this package with a traceback."""

import errno
import functools
import os
import sys
from collections.abc import Callable

from mixmae_bench.errors import ProcessDied, UserError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a full disk, or one that may not be written or read, says."""


def exits_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a mistake of the user, or a refusal of the disk, into one line on stderr and exit status 2.

    A process of ours that died is one line too, and exit status 1.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> int:
        try:
            return main(*args)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except ProcessDied as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # whoever reads the output has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2

    return wrapped
