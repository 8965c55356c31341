"""Probabilities as rows of the submission's form, and back."""

from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.competition.competition import Competition
from gap_ensemble.messages.errors import UserError, listed

PROBABILITY_FORMS = ("probability", "probabilities")
# Probabilities that are looked at together; of more, evenly spread rows are taken.
MAX_NUMBERS = 20_000_000


def rows_of_submission(competition: Competition, ids: list[str], proba: np.ndarray) -> pd.DataFrame:
    """Turn probabilities into rows of the submission's form.

    Parameters
    ----------
    competition : Competition
        Says the form.
    ids : list of str
        Id of every row.
    proba : ndarray of shape (n, n_classes)
        Probabilities in the order of `competition.class_names`.

    Returns
    -------
    DataFrame
        With the sample's columns.
    """
    form, names = competition.submission, competition.class_names
    index_of = {name: index for index, name in enumerate(names)}
    values: dict[str, object] = {form.columns[0]: ids}
    proba = proba.astype(np.float32)  # Seven digits are plenty, and 0.005 is written as 0.005.
    if form.kind == "probability":
        values[form.columns[1]] = proba[:, index_of[form.positive_class or ""]]
    elif form.kind == "probabilities":
        values |= {name: proba[:, index_of[name]] for name in form.columns[1:]}
    else:
        best = proba.argmax(axis=1)
        values[form.columns[1]] = [names[i] for i in best]
        if form.kind == "class_confidence":
            values[form.columns[1]] = [f"{names[i]} {row[i]:.6f}" for i, row in zip(best, proba, strict=True)]
    return pd.DataFrame(values)


def proba_of_rows(competition: Competition, rows: pd.DataFrame) -> np.ndarray:
    """Turn rows of the submission's form back into probabilities, shape (n, n_classes), float64.

    Only for the forms in `PROBABILITY_FORMS`: the others keep no more than the most probable class.
    """
    form = competition.submission
    if form.kind == "probabilities":
        return rows[competition.class_names].to_numpy(np.float64)
    positive = rows[form.columns[1]].to_numpy(np.float64)
    both = [1 - positive, positive] if positive_index(competition) == 1 else [positive, 1 - positive]
    return np.stack(both, axis=1)


def positive_index(competition: Competition) -> int | None:
    """Return the index of the class whose probability a single column means; None for other forms."""
    positive = competition.submission.positive_class
    return None if positive is None else competition.class_names.index(positive)


def read_rows(path: Path, id_column: str, max_numbers: int | None = None) -> pd.DataFrame:
    """Read a table that the pipeline wrote: ids and classes as text, numbers as they were written.

    Parameters
    ----------
    path : Path
        A CSV file.
    id_column : str
        The column whose values are text even where they look like numbers.
    max_numbers : int, optional
        Of a table with more values than this, evenly spread rows are read.

    Raises
    ------
    UserError
        If there is no such file, or it has no such column.
    """
    try:
        chunks = pd.read_csv(
            path,
            dtype={id_column: str, "class": str, "predicted": str},
            keep_default_na=False,
            chunksize=10_000,
        )
        n_columns = len(pd.read_csv(path, nrows=0).columns)
        with open(path, "rb") as file:
            n_rows = sum(1 for _ in file) if max_numbers else 0
        every = -(-n_rows * n_columns // max_numbers) if max_numbers else 1
        rows = pd.concat([chunk[chunk.index % every == 0] for chunk in chunks])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    if id_column not in rows:
        raise UserError(f"{path}: no column {id_column!r}; found {listed(rows.columns)}; run `dvc repro`")
    return rows
