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


def interrupts_are_caught() -> bool:
    """Give Ctrl-C back its meaning: from now on KeyboardInterrupt is caught. Return whether it had another."""
    is_program = signal.getsignal(signal.SIGINT) is _end
    if is_program:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return is_program


def end_undisturbed() -> None:
    """Ignore Ctrl-C: all is done, and a step that fails while Python shuts down would have to be done again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted: nothing had begun; the same command starts again.\n")
    os._exit(130)
