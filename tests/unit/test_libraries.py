"""Which Python runs a stage, and what is said where it lacks the project's libraries."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gap_ensemble import libraries
from tools.workspace import ROOT

MODULE_OF = {"pillow": "PIL", "scikit-learn": "sklearn", "tensorflow-cpu": "tensorflow"}
NEEDED = ("sh", "tr", "head", "sed", "readlink")  # by stages/python.sh
has_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc, which this system lacks")


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """Return a folder of programs without Python, to be a PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def run_like_dvc(path: Path, *, in_python: bool) -> subprocess.CompletedProcess[str]:
    """Run stages/python.sh as DVC does, in a shell of another folder: DVC is this Python, or a program of its own."""
    command = ["sh", "-c", "cd .. && sh stages/python.sh -c 'import sys; print(sys.executable)'"]
    if in_python:
        script = f"import subprocess, sys; sys.exit(subprocess.run({command!r}).returncode)"
        command = [sys.executable, "-c", script]
    else:
        command = [str(shutil.which("timeout")), "60", *command]
    environment = {**os.environ, "PATH": str(path)}
    return subprocess.run(command, cwd=ROOT / "weights", env=environment, capture_output=True, text=True)


def write_python(path: Path, name: str, script: str) -> None:
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


# A `python` that answers like one without libraries.
WITHOUT_LIBRARIES = '[ "$2" = "import stages" ] || echo "lacks libraries"; exit 1'


def test_every_dependency_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[>=\[;]", text)[0] for text in project["dependencies"]}
    assert sorted(libraries.MODULES) == sorted({MODULE_OF.get(name, name) for name in names})


def test_a_python_without_libraries_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.require_libraries()
    monkeypatch.setattr(libraries, "MODULES", ("h5py", "no_such_module", "no_such_package.module"))
    with pytest.raises(SystemExit) as caught:
        libraries.require_libraries()
    line = str(caught.value)
    assert line.startswith(f"ERROR: {sys.executable} (Python 3.")
    assert "lacks no_such_module and 1 more of the project's libraries; make the environment (make setup)" in line
    assert "\n" not in line


@pytest.mark.parametrize("package", ["stages", "tools", "benchmarks"])
def test_every_program_looks_for_its_libraries_first(package: str, tmp_path: Path) -> None:
    """A Python without site-packages is one without the libraries."""
    for name in ("gap_ensemble", package):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    module = {"stages": "stages.link", "tools": "tools.blend", "benchmarks": "benchmarks.heads"}[package]
    result = subprocess.run([sys.executable, "-S", "-m", module], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "of the project's libraries; make the environment" in line


@has_proc
def test_a_stage_runs_in_the_python_of_dvc_without_any_on_the_path(bare_path: Path) -> None:
    assert run_like_dvc(bare_path, in_python=True).stdout.strip() == sys.executable


@has_proc
def test_a_stage_runs_in_the_python_of_dvc_and_not_in_another(bare_path: Path) -> None:
    write_python(bare_path, "python", "echo another")
    assert run_like_dvc(bare_path, in_python=True).stdout.strip() == sys.executable


@pytest.mark.parametrize("name", ["python", "python3"])
def test_a_python_on_the_path_where_dvc_is_a_program_of_its_own(bare_path: Path, name: str) -> None:
    write_python(bare_path, name, f'exec {sys.executable} "$@"')
    assert run_like_dvc(bare_path, in_python=False).stdout.strip() == sys.executable


def test_a_python_without_libraries_says_so_itself(bare_path: Path) -> None:
    write_python(bare_path, "python", WITHOUT_LIBRARIES)
    result = run_like_dvc(bare_path, in_python=False)
    assert (result.returncode, result.stdout) == (1, "lacks libraries\n")


def test_no_python_at_all(bare_path: Path) -> None:
    result = run_like_dvc(bare_path, in_python=False)
    assert result.returncode == 1
    assert result.stderr.startswith("ERROR: no Python found; make the environment (make setup) and activate it")
