"""Errors that a user can fix: one line each, exit status 1, no traceback."""

import difflib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable

from gap_ensemble.messages.interrupts import end_undisturbed, interrupts_are_caught

MAX_LISTED = 20

# What the system says of a disk or a folder, and a user can fix.
REFUSALS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
}
# What it says of a network drive that is gone, or of a file system that cannot do what is asked.
UNFIT = {
    errno.ENAMETOOLONG,
    errno.EILSEQ,
    errno.ELOOP,
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBUSY,
    errno.ENODEV,
    errno.ENXIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNRESET,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    524,  # ENOTSUPP, which NFS lets through and no table of Python's has
}


class UserError(Exception):
    """Something in the input or the parameters is wrong, and the user can fix it.

    Parameters
    ----------
    problems : str or iterable of str
        One line for each problem: the file or parameter, what was found, what is accepted, what to do.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def listed(names: Iterable[object], n_shown: int = 5) -> str:
    """Join names for a message: the first few, then how many more there are."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - n_shown:,} more" if len(shown) > n_shown else ""
    return ", ".join(shown[:n_shown]) + more


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the one of some names that is most like a mistyped one, or nothing."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), "")


def did_you_mean(near: str) -> str:
    """Return the question for a message, or nothing where there is no name to ask for."""
    return f" (did you mean {near}?)" if near else ""


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return the text of a foreign exception on one line, cut to `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def run(main: Callable[[], None]) -> None:
    """Call a program's `main` and turn errors that a user can fix into single lines and an exit status."""
    is_program = interrupts_are_caught()
    try:
        main()
        sys.stdout.flush()
        if is_program:
            end_undisturbed()
    except BrokenPipeError:  # As with `| head`: what comes after is not wanted, nor is Python's complaint at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UserError as error:
        for problem in error.problems[:MAX_LISTED]:
            print(f"ERROR: {problem}", file=sys.stderr)
        if len(error.problems) > MAX_LISTED:
            print(f"ERROR: … and {len(error.problems) - MAX_LISTED:,} more problems like these", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        # A stage that keeps more than its finished outputs says how much.
        kept = str(interrupt) or "nothing half-written is left; the same command begins this step again."
        print(f"Interrupted: {kept}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        # The system's own refusals (full disk, read-only folder) say everything in one line already.
        if error.errno not in REFUSALS | UNFIT:
            raise
        where = error.filename2 or error.filename or os.getcwd()
        fix = "make room or make it writable" if error.errno in REFUSALS else "check that disk, or use another"
        # The number's own words: HDF5 puts several lines of its own there.
        print(f"ERROR: {where}: {os.strerror(error.errno)}; {fix}, then run it again", file=sys.stderr)
        sys.exit(1)
