"""Copies of the repository, in which DVC runs experiments of its queue: they hold only what git and DVC know."""

from pathlib import Path

from gap_ensemble.paths import COPIES


def advice_in_copy(key: str = "data.raw") -> str:
    """Return what to do about files that a copy of the repository lacks; nothing in the repository itself.

    Parameters
    ----------
    key : str
        The parameter that names the files.
    """
    if COPIES not in f"{Path.cwd().as_posix()}/":
        return ""
    return (
        "this is a copy of the repository, made by `dvc exp run --queue` or `--temp`, which holds only what git and "
        f"DVC know; in the repository itself set {key} in params.yaml to an absolute path, run dvc repro, commit, and "
        "queue again"
    )
