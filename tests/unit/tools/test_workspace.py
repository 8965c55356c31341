"""A repository that tools make for themselves, where git is missing or refuses."""

from pathlib import Path

import pytest

from gap_ensemble.messages.errors import UserError
from tools.workspace import git


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^git: not found; install it"):
        git("init", cwd=tmp_path)


def test_git_refuses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^git commit --quiet: failed in .*/ with exit status 128; see above$"):
        git("commit", "--quiet", cwd=tmp_path)
