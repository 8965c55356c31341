"""Copies of the repository, in which DVC runs experiments of its queue: they hold only what git and DVC know."""

from gap_ensemble.paths import original_of_copy


def advice_in_copy(key: str = "data.raw") -> str:
    """Return what to do about files that a copy of the repository lacks; nothing in the repository itself.

    Parameters
    ----------
    key : str
        The parameter that names the files.
    """
    if original_of_copy() is None:
        return ""
    return (
        "this is a copy of the repository, made by `dvc exp run --queue` or `--temp`, which holds only what git and "
        f"DVC know; in the repository itself set {key} in params.yaml to an absolute path, run dvc repro, commit, and "
        "queue again"
    )
