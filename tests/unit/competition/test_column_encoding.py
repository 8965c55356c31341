"""Columns of a table as features: numbers standardised, words one-hot, gaps said."""

import numpy as np
import pandas as pd
import pytest

from gap_ensemble.competition.column_encoding import column_features
from gap_ensemble.messages.errors import UserError


def test_numbers_are_standardised_by_the_training_rows_and_gaps_are_a_column() -> None:
    train = pd.DataFrame({"feature:age": ["10", "20", "", "30"]})
    test = pd.DataFrame({"feature:age": ["", "40"]})
    on_train, on_test = column_features(train, test)
    assert on_train[:, 0] == pytest.approx([-1.2247, 0, 0, 1.2247], abs=1e-3)
    assert on_train[:, 1].tolist() == [0, 0, 1, 0]
    assert on_test == pytest.approx(np.array([[0, 1], [2.4495, 0]]), abs=1e-3)


def test_words_are_one_hot_by_the_values_of_the_training_rows() -> None:
    train = pd.DataFrame({"feature:sex": ["male", "female", ""]})
    test = pd.DataFrame({"feature:sex": ["unknown", "male"]})
    on_train, on_test = column_features(train, test)
    assert on_train.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert on_test.tolist() == [[0, 0], [0, 1]]


def test_a_column_that_never_changes_says_nothing_and_breaks_nothing() -> None:
    rows = pd.DataFrame({"feature:site": ["2", "2"]})
    assert column_features(rows, rows)[0].tolist() == [[0], [0]]


def test_names_and_addresses_are_refused() -> None:
    rows = pd.DataFrame({"feature:url": [f"http://localhost/{i}" for i in range(200)]})
    with pytest.raises(
        UserError, match=r"data\.columns: 'url' holds 200 different words; accepted: columns of numbers"
    ):
        column_features(rows, rows)


def test_without_columns_there_is_no_feature() -> None:
    rows = pd.DataFrame({"row": ["a", "b"]})
    assert column_features(rows, rows)[0].shape == (2, 0)
