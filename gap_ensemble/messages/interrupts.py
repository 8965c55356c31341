"""Ctrl-C while a program is still importing its libraries: one line, as later on."""

import os
import signal
import sys
from types import FrameType


def end_quietly_until_main() -> None:
    """Let Ctrl-C end the process at once, with one line, until `messages.errors.run` has begun.

    Nothing is written before, so that nothing can be left half-done. A traceback out of TensorFlow's import says
    nothing, and some libraries turn the interrupt into an error of theirs. Only for `python -m PACKAGE.MODULE`: there
    Python calls the program "-m" while it imports the package.
    """
    if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupts_are_caught() -> None:
    """Give Ctrl-C back its meaning: from now on KeyboardInterrupt is caught."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted: nothing had begun; the same command starts again.\n")
    os._exit(130)
