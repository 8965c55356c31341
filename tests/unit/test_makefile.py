"""`make experiments`: the command of the table, and the columns that it leaves out. `make back`: it goes back."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.workspace import ROOT


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_the_table_of_experiments_has_what_is_read_and_makes_no_environment() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "experiments", "EXTRA=cuda", "VENV=none", "ARGS=-n 3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(done.stdout)
    assert words[:5] == ["dvc", "exp", "show", "--only-changed", "--drop"]
    assert words[6:] == ["-n", "3"]
    shown = ["submission_log_loss", "val_accuracy", "n_val", "seed", "train.head", "predict.clip", "data.raw"]
    left_out = ["data/rows.csv", "models", "params.yaml", "n_train", "val_accuracy_std", "clip_low", "cut_1", "Created"]
    # DVC, too, looks from the beginning of a name.
    assert [name for name in shown + left_out if not re.match(words[5], name)] == shown


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_back_restores_what_git_takes_for_unchanged(tmp_path: Path) -> None:
    """A file that is as long as it was, written at the time at which git last looked at it."""
    params = tmp_path / "params.yaml"
    (tmp_path / "dvc").write_text("#!/bin/sh\n")
    (tmp_path / "dvc").chmod(0o755)
    params.write_text("folds: 5\n")
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)

    run("git", "init", "--quiet", ".")
    run("git", "config", "core.trustctime", "false")
    run("git", "add", "params.yaml")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "First")
    past = params.stat().st_mtime_ns - 10**10
    os.utime(params, ns=(past, past))
    run("git", "update-index", "--refresh")
    with params.open("r+") as file:
        file.write("folds: 4\n")
    os.utime(params, ns=(past, past))
    run("git", "restore", "--staged", "--worktree", ".")
    assert params.read_text() == "folds: 4\n"  # What is to be helped.
    run("make", "-f", str(ROOT / "Makefile"), "back", "VENV=none")
    assert params.read_text() == "folds: 5\n"
