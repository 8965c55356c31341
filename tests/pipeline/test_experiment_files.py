"""Files of an experiment, read in a project that is a folder of a larger git repository, and in a worktree of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gap_ensemble.experiments.files import fetch
from gap_ensemble.messages.errors import UserError
from tools.workspace import dvc, git


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git repository whose folder kaggle/dogs is a DVC project with an output in two versions."""
    top = tmp_path_factory.mktemp("mono")
    project = top / "kaggle/dogs"
    (project / "results").mkdir(parents=True)
    git("init", "-q", ".", cwd=top)
    dvc("init", "-q", "--subdir", cwd=project)
    (project / "dvc.yaml").write_text(
        f"stages:\n  one:\n    cmd: {sys.executable} -c \"open('results/oof.h5', 'w').write(open('in').read())\"\n"
        "    deps: [in]\n    outs: [results/oof.h5]\n"
    )
    for version in ("first", "second"):
        (project / "in").write_text(version)
        dvc("repro", "-q", cwd=project)
        git("add", "-A", cwd=top)
        git("commit", "-qm", version, cwd=top)
        git("tag", version, cwd=top)
    return project


def test_a_project_in_a_folder_of_a_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert fetch("first", Path("results/oof.h5"), tmp_path).read_text() == "first"
    assert fetch("workspace", Path("results/oof.h5"), tmp_path).read_text() == "second"
    with pytest.raises(UserError, match=r"nobody: results/oof\.h5 can't be read"):
        fetch("nobody", Path("results/oof.h5"), tmp_path)


def test_a_worktree(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "worktree", "add", "-q", tmp_path / "tree", "first"], cwd=repository, check=True)
    cache = tmp_path / "tree/kaggle/dogs/.dvc/config.local"
    cache.write_text(f"[cache]\n    dir = {repository / '.dvc/cache'}\n")
    monkeypatch.chdir(tmp_path / "tree/kaggle/dogs")
    assert fetch("second", Path("results/oof.h5"), tmp_path).read_text() == "second"
