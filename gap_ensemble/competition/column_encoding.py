"""Columns of a table as features: numbers as they are, everything else one column of 0 and 1 a value."""

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import FEATURE
from gap_ensemble.messages.errors import UserError

# A column of words with more values than this is a name or an address, not a property.
MAX_VALUES = 100


def column_features(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Turn the columns `feature:NAME` of rows into numbers.

    A column of numbers is standardised by the training rows; a missing number is the mean, and columns with missing
    numbers get one more column that says so. Other columns are one-hot encoded by the values of the training rows.

    Parameters
    ----------
    train, test : DataFrame
        Rows of `data/rows.csv`.

    Returns
    -------
    train, test : ndarray of shape (n_rows, n_features), float32
        With no columns where there are no such columns.

    Raises
    ------
    UserError
        If a column has too many values to be one-hot encoded.
    """
    blocks = [(np.empty((len(train), 0)), np.empty((len(test), 0)))]
    for name in (name for name in train.columns if name.startswith(FEATURE)):
        numbers = [pd.to_numeric(rows[name].replace("", None), errors="coerce") for rows in (train, test)]
        is_word = (numbers[0].isna() & (train[name] != "")).any()
        blocks.append(_one_hot(name, train[name], test[name]) if is_word else _standardised(*numbers))
    train_blocks, test_blocks = zip(*blocks, strict=True)
    return np.hstack(train_blocks).astype(np.float32), np.hstack(test_blocks).astype(np.float32)


def _standardised(train: pd.Series, test: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    mean = float(train.mean()) if train.notna().any() else 0.0
    scale = float(train.std(ddof=0)) if train.notna().any() else 0.0
    has_gaps = bool(train.isna().any())

    def block(values: pd.Series) -> np.ndarray:
        scaled = (values.fillna(mean).to_numpy(np.float64) - mean) / (scale or 1.0)
        columns = [scaled, values.isna().to_numpy(np.float64)] if has_gaps else [scaled]
        return np.stack(columns, axis=1)

    return block(train), block(test)


def _one_hot(name: str, train: pd.Series, test: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    values = sorted(set(train) - {""})
    if len(values) > MAX_VALUES:
        raise UserError(
            f"params.yaml: data.columns: {name.removeprefix(FEATURE)!r} holds {len(values):,} different words; "
            f"accepted: columns of numbers, or of at most {MAX_VALUES} words; leave it out"
        )
    columns = np.array(values, object)
    return (train.to_numpy()[:, None] == columns).astype(float), (test.to_numpy()[:, None] == columns).astype(float)
