"""Runs that meet or end early: two `dvc repro` at once, and one that is killed. Afterwards all is as without them."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.paths import METRICS, SUBMISSION
from tools.sample import draw_competition
from tools.workspace import lay_out

pytestmark = [pytest.mark.long]
DVC = Path(sys.executable).with_name("dvc")
OUTPUTS = (Path("data/manifest.csv"), Path("features/gap/MobileNet.h5"), Path("features/ensemble.h5"))


def use_one_quick_network(params: Any) -> None:
    params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 32}}
    params["train"] |= {"head": "logistic", "folds": 2}


def new_project(folder: Path) -> Path:
    lay_out(folder, use_one_quick_network)
    draw_competition(folder / "data/raw", 400, 40)
    return folder


def begin(folder: Path) -> subprocess.Popen[str]:
    """Begin `dvc repro` in a process group of its own."""
    environment = {**os.environ, "PATH": f"{DVC.parent}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "true"}
    return subprocess.Popen(
        [DVC, "repro"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def outputs(folder: Path) -> list[bytes]:
    return [(folder / path).read_bytes() for path in (*OUTPUTS, METRICS, SUBMISSION)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], float]:
    """Return the outputs of a run that nothing disturbs, and its seconds."""
    folder = new_project(tmp_path_factory.mktemp("undisturbed"))
    start = time.perf_counter()
    process = begin(folder)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return outputs(folder), time.perf_counter() - start


@pytest.mark.parametrize("attempt", range(3))
def test_a_run_that_is_killed_at_any_moment_is_made_good_by_the_next(
    attempt: int,  # noqa: ARG001
    tmp_path: Path,
    expected: tuple[list[bytes], float],
    moments: random.Random,
) -> None:
    whole, seconds = expected
    folder = new_project(tmp_path)
    process = begin(folder)
    moment = moments.uniform(0.1, 0.95) * seconds
    print(f"killed after {moment:.1f} s")
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = begin(folder)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert outputs(folder) == whole


def test_two_runs_at_once(tmp_path: Path, expected: tuple[list[bytes], float], moments: random.Random) -> None:
    """DVC lets the second wait, or refuses it in a line; either way the outputs are those of one run."""
    whole, seconds = expected
    folder = new_project(tmp_path)
    first = begin(folder)
    time.sleep(moments.uniform(0, 0.8) * seconds)
    second = begin(folder)
    said = {process.pid: process.communicate()[0] for process in (second, first)}
    assert first.returncode == 0, said[first.pid]
    assert second.returncode == 0 or "Traceback" not in said[second.pid]
    assert outputs(folder) == whole
