"""What the tests share: a place to work in, and programs run as a user runs them."""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.params import PARAMS_FILE
from stages import link
from tools.sample import draw_competition
from tools.workspace import ROOT, change_params

# Of the project `linked`.
N_TRAIN, N_TEST, BATCH = 120, 40, 8


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the stages, params.yaml and weights/ of this checkout, and make it the current one."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("gap_ensemble", "stages", "tools", "weights"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "features").mkdir()
    (tmp_path / "submissions").mkdir()
    shutil.copy(ROOT / "submissions/leaderboard.csv", tmp_path / "submissions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def linked(project: Path) -> Path:
    """Return a project in which link has run on a drawn competition, with one small network."""
    draw_competition(project / "data/raw", N_TRAIN, N_TEST)

    def change(params: Any) -> None:
        params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 32}}
        params["extract"]["batch_size"] = BATCH

    change_params(project / PARAMS_FILE, change)
    link.main()
    return project


@pytest.fixture
def run_stage(
    project: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Return a function that runs `python -m stages.NAME ARGUMENTS` in this process, and returns what it printed.

    It fails the test if the stage fails.
    """

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"stages.{name}", *arguments])
        try:
            runpy.run_module(f"stages.{name}", run_name="__main__")
        except SystemExit as stopped:
            pytest.fail(f"stages.{name}: exit status {stopped.code}: {capsys.readouterr().err}")
        return capsys.readouterr().out

    return run


@pytest.fixture
def run_module(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `python -m MODULE ARGUMENTS` in the project's folder, as DVC does.

    `env` adds to the environment.
    """

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "120", **(env or {})}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
