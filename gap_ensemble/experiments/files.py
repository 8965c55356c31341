"""Files of an experiment: what `dvc exp show` lists, a branch, a commit, or the workspace."""

import shutil
import subprocess
from pathlib import Path

import dvc.api
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from gap_ensemble.messages.errors import UserError, one_line

WORKSPACE = "workspace"


def fetch(experiment: str, path: Path, folder: Path) -> Path:
    """Return where a file of an experiment can be read: a copy in `folder`, or of the workspace the file itself.

    Parameters
    ----------
    experiment : str
        A name that DVC knows as a revision, or `workspace`.
    path : Path
        Of an output, seen from the project's folder.
    folder : Path
        Where copies go.

    Raises
    ------
    UserError
        If there is no such experiment, or it has no such file.
    """
    if experiment == WORKSPACE:
        if not path.is_file():
            raise UserError(f"{path}: no such file; run `dvc repro`, or `dvc checkout` if it has run before")
        return path
    copy = folder / experiment.replace("/", "_") / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with dvc.api.open(_seen_from_git_root(path), rev=experiment, mode="rb") as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target)
    except (DvcException, SCMError, OSError) as error:
        raise UserError(
            f"{experiment}: {path} can't be read ({one_line(error, 120)}); accepted: an experiment's name from `dvc "
            "exp show`, a branch or a commit in which the pipeline has run, or workspace"
        ) from None
    return copy


def _seen_from_git_root(path: Path) -> str:
    """Return a path as DVC's API wants it: the project may be a folder of a larger git repository."""
    command = ["git", "rev-parse", "--show-prefix"]
    try:
        prefix = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise UserError(
            f"without a git repository there are no experiments to read {path} from; accepted: {WORKSPACE}"
        ) from None
    return (Path(prefix) / path).as_posix()
