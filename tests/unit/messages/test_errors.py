"""What a program says when it stops: one line for each problem, an exit status, no traceback."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from gap_ensemble.messages.errors import UserError, run


def said_by(main: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[object, list[str]]:
    """Return exit status and lines of a program."""
    with pytest.raises(SystemExit) as stopped:
        run(main)
    return stopped.value.code, capsys.readouterr().err.splitlines()


def raises(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_a_line_for_each_problem_and_a_count_of_those_beyond_twenty(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = said_by(raises(UserError(f"problem {i}" for i in range(30))), capsys)
    assert status == 1
    assert lines == [*(f"ERROR: problem {i}" for i in range(20)), "ERROR: … and 10 more problems like these"]


def test_an_interrupted_program_says_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by(raises(KeyboardInterrupt("3 pictures are kept")), capsys) == (
        130,
        ["Interrupted: 3 pictures are kept"],
    )
    status, (line,) = said_by(raises(KeyboardInterrupt()), capsys)
    assert status == 130
    assert line.startswith("Interrupted: nothing half-written is left")


def test_a_refusal_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "several\nlines of a library's", "results/a.csv")
    fix = "make room or make it writable, then run it again"
    assert said_by(raises(full), capsys) == (1, [f"ERROR: results/a.csv: No space left on device; {fix}"])


def test_a_programs_own_fault_keeps_its_traceback() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "gone", "x"), ValueError("a bug")):
        with pytest.raises(type(error)):
            run(raises(error))


@pytest.mark.parametrize("n_lines", [1, 100_000])
def test_a_reader_that_has_gone_gets_no_traceback(n_lines: int) -> None:
    code = f"from gap_ensemble.messages.errors import run; run(lambda: print('line\\n' * {n_lines}))"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run([sys.executable, "-c", code], stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
