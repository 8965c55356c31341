"""Ctrl-C while libraries are imported."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tools.workspace import ROOT


def test_ctrl_c_during_an_import_is_one_line(tmp_path: Path) -> None:
    package = tmp_path / "program"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell in the background ignores it.\n"
        "from gap_ensemble.messages.interrupts import end_quietly_until_main\n"
        "end_quietly_until_main()\n"
    )
    # As a library that turns an interrupt into an error of its own.
    (package / "main.py").write_text(
        "import time\n"
        "print('importing', flush=True)\n"
        "try:\n    time.sleep(60)\n"
        "except BaseException as error:\n    raise ImportError('no symbol') from error\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "program.main"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "Interrupted: nothing had begun; the same command starts again.\n"


def test_later_on_it_is_caught_as_ever() -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv[0] = '-m'\n"
        "from gap_ensemble.messages.interrupts import end_quietly_until_main\n"
        "from gap_ensemble.messages.errors import run\n"
        "end_quietly_until_main()\n"
        "def main():\n"
        "    try:\n        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n        raise KeyboardInterrupt('it keeps 7 rows') from None\n"
        "run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "Interrupted: it keeps 7 rows\n"


def test_when_all_is_done_it_does_no_harm() -> None:
    code = (
        "import atexit, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv[0] = '-m'\n"
        "from gap_ensemble.messages.interrupts import end_quietly_until_main\n"
        "from gap_ensemble.messages.errors import run\n"
        "end_quietly_until_main()\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\n"
        "run(lambda: print('done'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
