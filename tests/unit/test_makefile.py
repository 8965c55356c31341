"""`make experiments`: the command of the table, and the columns that it leaves out. `make back`: it goes back."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
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
    shown = [
        "submission_log_loss",
        "val_accuracy",
        "val_n_samples",
        "seed",
        "train.head",
        "predict.clip",
        "data.raw",
        "State",
    ]
    left_out = [
        "data/rows.csv",
        "models",
        "params.yaml",
        "train_n_samples",
        "val_accuracy_std",
        "submitted_cut_1",
        "Created",
    ]
    # DVC, too, looks from the beginning of a name.
    assert [name for name in shown + left_out if not re.match(words[5], name)] == shown


@dataclass
class Folder:
    """A git repository with params.yaml, in which `dvc` does nothing."""

    path: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **identity, "PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, check=check)

    def commit(self, *names: str) -> None:
        self.run("git", "add", *names)
        self.run("git", "commit", "--quiet", "--message", "First")

    def back(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("make", "-f", str(ROOT / "Makefile"), "back", "VENV=none", check=check)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    if not shutil.which("make"):
        pytest.skip("needs make")
    (tmp_path / "dvc").write_text("#!/bin/sh\n")
    (tmp_path / "dvc").chmod(0o755)
    (tmp_path / "params.yaml").write_text("folds: 5\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    folder = Folder(tmp_path)
    folder.run("git", "init", "--quiet", ".")
    folder.run("git", "config", "core.trustctime", "false")
    return folder


def test_back_restores_what_git_takes_for_unchanged(folder: Folder) -> None:
    """A file that is as long as it was, written at the time at which git last looked at it."""
    params = folder.path / "params.yaml"
    folder.commit("params.yaml", "dvc.lock")
    past = params.stat().st_mtime_ns - 10**10
    os.utime(params, ns=(past, past))
    folder.run("git", "update-index", "--refresh")
    with params.open("r+") as file:
        file.write("folds: 4\n")
    os.utime(params, ns=(past, past))
    folder.run("git", "restore", ".")
    assert params.read_text() == "folds: 4\n"  # What is to be helped.
    folder.back()
    assert params.read_text() == "folds: 5\n"


def test_back_keeps_new_files(folder: Folder) -> None:
    folder.commit("params.yaml", "dvc.lock")
    (folder.path / "mine.txt").write_text("mine")
    folder.run("git", "add", "mine.txt")
    folder.back()
    assert (folder.path / "mine.txt").read_text() == "mine"


def test_back_without_a_committed_run_loses_nothing(folder: Folder) -> None:
    folder.commit("params.yaml")
    (folder.path / "params.yaml").write_text("folds: 4\n")
    done = folder.back(check=False)
    assert done.returncode
    assert "ERROR: no run is committed (dvc.lock), so there is nothing to go back to" in done.stderr
    assert (folder.path / "params.yaml").read_text() == "folds: 4\n"


def test_back_leaves_no_link_to_a_network_that_has_gone(folder: Folder) -> None:
    """DVC stops at such a link: weights of a fine-tuning that is no more in params.yaml."""
    folder.commit("params.yaml", "dvc.lock")
    kept, gone = (folder.path / "data/networks" / name / "file" for name in ("Kept", "Tuned"))
    for link in (kept, gone):
        link.parent.mkdir(parents=True)
    kept.symlink_to(folder.path / "params.yaml")
    gone.symlink_to(folder.path / "weights/tuned/Tuned.weights.h5")
    folder.back()
    assert kept.is_symlink()
    assert not gone.is_symlink()


def test_back_says_where_no_branch_is_checked_out(folder: Folder) -> None:
    """A killed `dvc exp run` leaves that, and commits made there are easily lost."""
    folder.commit("params.yaml", "dvc.lock")
    assert "no branch is checked out" not in folder.back().stderr
    folder.run("git", "checkout", "--quiet", "--detach")
    assert "WARNING: no branch is checked out" in folder.back().stderr
