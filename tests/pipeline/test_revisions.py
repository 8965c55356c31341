"""Files of revisions, as `tools.blend` reads them: wherever the project lies, and whoever keeps the file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gap_ensemble.experiments.revisions import open_at
from gap_ensemble.messages.errors import UserError

PROGRAMS = Path(sys.executable).parent


def run(folder: Path, *command: str | Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def git(folder: Path, *arguments: str | Path) -> None:
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git repository whose folder `kaggle/dogs` is a project; its two files have changed since the commit."""
    larger = tmp_path_factory.mktemp("larger")
    project = larger / "kaggle/dogs"
    project.mkdir(parents=True)
    git(larger, "init", "--quiet")
    run(project, PROGRAMS / "dvc", "init", "--quiet", "--subdir")
    (project / "tracked_by_git.txt").write_text("committed")
    (project / "tracked_by_dvc.txt").write_text("committed")
    run(project, PROGRAMS / "dvc", "add", "--quiet", "tracked_by_dvc.txt")
    git(larger, "add", "--all")
    git(larger, "commit", "--quiet", "--message", "first")
    for path in project.glob("tracked_by_*.txt"):
        path.write_text("changed")
    return larger


def read(revision: str, name: str) -> str:
    with open_at(revision, Path(name)) as file:
        return str(file.read())


@pytest.mark.parametrize("name", ["tracked_by_git.txt", "tracked_by_dvc.txt"])
def test_a_project_that_is_a_folder_of_a_larger_repository(
    larger: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(larger / "kaggle/dogs")
    assert read("HEAD", name) == "committed"
    assert read("workspace", name) == "changed"


def test_a_git_worktree(larger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(larger, "worktree", "add", "--quiet", "--detach", tmp_path / "worktree")
    monkeypatch.chdir(tmp_path / "worktree/kaggle/dogs")
    assert read("HEAD", "tracked_by_git.txt") == "committed"


def test_what_is_not_there_is_named(larger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(larger / "kaggle/dogs")
    for revision, name in (("no-such-name", "tracked_by_git.txt"), ("HEAD", "gone.txt"), ("workspace", "gone.txt")):
        with pytest.raises(UserError, match=f"^{revision}: {name} can't be read .*; accepted: an experiment's name"):
            read(revision, name)


@pytest.mark.parametrize(("written", "name"), [("mian", "main"), ("less-dropuot", "less-dropout")])
def test_the_nearest_name_is_shown(larger: Path, written: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(larger / "kaggle/dogs")
    git(larger, "branch", "--quiet", "--move", "main")
    git(larger, "update-ref", "refs/exps/ab/cdef/less-dropout", "HEAD")  # As DVC names an experiment.
    with pytest.raises(UserError, match=rf"^{written} \(did you mean {name}\?\): "):
        read(written, "tracked_by_git.txt")


def test_without_git(larger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(larger / "kaggle/dogs", tmp_path / "dogs")
    monkeypatch.chdir(tmp_path / "dogs")
    run(tmp_path / "dogs", PROGRAMS / "dvc", "config", "core.no_scm", "true")
    assert read("workspace", "tracked_by_dvc.txt") == "changed"
    with pytest.raises(UserError, match=r"^no git repository here, and without one DVC keeps no experiments; "):
        read("HEAD", "tracked_by_dvc.txt")
