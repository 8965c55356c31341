"""The forms of a submission: what is submitted, as rows with the sample's columns."""

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Submission


def in_columns(form: Submission, ids: list[str], submitted: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return a column a name, in the sample's order: probabilities, 0 and 1, or numbers.

    Parameters
    ----------
    form : Submission
    ids : list of str
        Of every row.
    submitted : ndarray of shape (n_samples, n_outputs)
    names : list of str
        Of the columns of `submitted`.
    """
    index_of = {name: index for index, name in enumerate(names)}
    values: dict[str, object] = {form.id_column: ids}
    values |= {name: printable(submitted[:, index_of[name]]) for name in form.value_columns}
    return pd.DataFrame(values)[form.columns]


def in_one_column(form: Submission, ids: list[str], values: object) -> pd.DataFrame:
    """Return the id and one column of values."""
    return pd.DataFrame({form.id_column: ids, form.value_columns[0]: values})[form.columns]


def in_long_rows(form: Submission, ids: list[str], submitted: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return a row for every pair of id and name, as `id_template` writes it."""
    pairs = [form.id_template.format(row=row, label=name) for row in ids for name in names]
    return in_one_column(form, pairs, printable(submitted.reshape(-1)))


def printable(values: np.ndarray) -> np.ndarray:
    """Return values as they are written: 0 and 1 of decisions; seven digits of others, so that 0.005 reads 0.005."""
    if values.dtype == bool:
        return values.astype(np.int64)
    return values if np.issubdtype(values.dtype, np.integer) else values.astype(np.float32)
