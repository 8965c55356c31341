"""The table of submissions, `submissions/leaderboard.csv`: what each scored out of fold, and on the leaderboard.

date          when it was sent, UTC
competition   as Kaggle names it
experiment    its name, a commit, or the parts of a blend
metric        the competition's
out_of_fold   its score on what is submitted, out of fold
n_val         rows that this score is of
public        Kaggle's score of a part of the test rows; empty until there is one
private       Kaggle's score of the others, after the competition's end
ref           Kaggle's number of the submission
"""

from pathlib import Path

import pandas as pd

from gap_ensemble.messages.errors import UserError
from gap_ensemble.storage.tables import read_any_table, write_table

LEADERBOARD = Path("submissions/leaderboard.csv")
COLUMNS = ["date", "competition", "experiment", "metric", "out_of_fold", "n_val", "public", "private", "ref"]


def read_leaderboard(path: Path = LEADERBOARD) -> pd.DataFrame:
    """Read the table, every value as text; without a file it has no rows.

    Raises
    ------
    UserError
        If its columns are others.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    table = read_any_table(path)
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: found the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}")
    return table


def add_submission(row: dict[str, str], path: Path = LEADERBOARD) -> None:
    """Add a submission to the table."""
    write_table(path, pd.concat([read_leaderboard(path), pd.DataFrame([row], columns=COLUMNS)], ignore_index=True))


def set_scores(scores: dict[str, tuple[str, str]], path: Path = LEADERBOARD) -> int:
    """Fill in public and private scores.

    Parameters
    ----------
    scores : dict of str to tuple of str
        Public and private score, or empty texts, by `ref`.

    Returns
    -------
    int
        Rows that changed.
    """
    table = read_leaderboard(path)
    before = table.copy()
    for i, ref in enumerate(table["ref"]):
        for column, score in zip(("public", "private"), scores.get(ref, ("", "")), strict=True):
            if score:
                table.loc[i, column] = score
    write_table(path, table)
    return int((table != before).any(axis=1).sum())
