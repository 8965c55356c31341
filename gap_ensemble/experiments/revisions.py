"""Files of experiments, branches and commits, also where the project is a folder of a larger git repository."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import dvc.api
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError
from scmrepo.git import Git

from gap_ensemble.messages.errors import UserError, did_you_mean, nearest, one_line

WORKSPACE = "workspace"


def fetch(revision: str, path: Path, folder: Path) -> Path:
    """Return where a file of a revision can be read: a copy in `folder`, or of the workspace the file itself.

    Parameters
    ----------
    revision : str
        An experiment's name, a branch, a commit, or `workspace`.
    path : Path
        Relative to the current folder, which is the project's root.
    folder : Path
        Where copies go.

    Raises
    ------
    UserError
        If the revision is not known, or has no such file.
    """
    if revision == WORKSPACE:
        if not path.is_file():
            raise UserError(f"{path}: no such file; run `dvc repro`, or `dvc checkout` if it has run before")
        return path
    copy = folder / revision.replace("/", "_") / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    with open_at(revision, path, "rb") as source, open(copy, "wb") as target:
        shutil.copyfileobj(source, target)
    return copy


@contextmanager
def open_at(revision: str, path: Path, mode: str = "r") -> Iterator[IO[Any]]:
    """Open a file as it was in a revision: from git, from DVC's cache, or from DVC's remote.

    Parameters
    ----------
    revision : str
        An experiment's name, a branch, a commit, or `workspace`.
    path : Path
        Relative to the current folder, which is the project's root.
    mode : {"r", "rb"}
        Text or bytes.

    Raises
    ------
    UserError
        If the revision is not known, or has no such file.
    """
    try:
        if revision == WORKSPACE:
            opened = dvc.api.open(path.as_posix(), mode=mode)
        else:
            # Relative to the root of the git repository: the project may be a folder in it.
            opened = dvc.api.open((_folder_in_git() / path).as_posix(), rev=revision, mode=mode)
        with opened as file:
            yield file
    except (DvcException, SCMError, OSError) as error:
        names = set() if revision == WORKSPACE else {*_names()} - {revision}
        hint = did_you_mean(nearest(revision, names))
        raise UserError(
            f"{revision}{hint}: {path} can't be read ({one_line(error, 120)}); accepted: an experiment's name from "
            "`dvc exp show`, a branch or a commit in which the pipeline has run, or workspace; its files must be in "
            "DVC's cache here, or in its remote"
        ) from None


def _names() -> list[str]:
    """Return the names of all experiments, branches and tags."""
    git = Git(os.curdir, search_parent_directories=True)
    names = [
        name.rpartition("/")[2] if base == "refs/exps" else name.removeprefix(f"{base}/")
        for base in ("refs/exps", "refs/heads", "refs/tags")
        for name in git.iter_refs(base)
    ]
    git.close()
    return names


def _folder_in_git() -> Path:
    try:
        git = Git(os.curdir, search_parent_directories=True)
    except SCMError:
        raise UserError(
            "no git repository here, and without one DVC keeps no experiments; accepted: workspace; run git init, and "
            "dvc init again, to have more"
        ) from None
    root = os.path.realpath(git.root_dir)
    git.close()
    return Path(os.path.relpath(os.path.realpath(os.curdir), root))
