"""From test features to the submission, a block at a time."""

import csv
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from gap_ensemble.heads.ensemble import Ensemble
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.messages.progress import Progress
from gap_ensemble.scoring.decisions import Decision
from gap_ensemble.storage.files import atomic_path
from gap_ensemble.storage.hdf5 import block_slices, texts
from gap_ensemble.storage.predictions import PredictionFile, prediction_writer
from gap_ensemble.storage.tables import read_any_table
from gap_ensemble.tasks.task import Encoding, Task

# Of more classes some are always rare, and of fewer test rows a class some are missing by chance.
MAX_CLASSES = 20
MIN_ROWS_A_CLASS = 10


@dataclass
class TestRows:
    """The test rows, in the order of the sample submission.

    Attributes
    ----------
    file : h5py.File
        `features/ensemble.h5`.
    names : list of str
        Of all test rows, also of those without features.
    prior : ndarray of shape (n_outputs,)
        Predictions for rows without features: their pictures can't be decoded.
    """

    file: h5py.File
    names: list[str]
    prior: np.ndarray


def predict_test(path: Path, test: TestRows, encoding: Encoding, models: list[Ensemble]) -> None:
    """Write the mean of the models' predictions for every test row.

    Parameters
    ----------
    path : Path
        A file of predictions.
    test : TestRows
    encoding : Encoding
        What the models predict.
    models : list of Ensemble
        One a fold.
    """
    place = pd.Index(texts(test.file["test_row"])).get_indexer(test.names)
    without = [name for name, row in zip(test.names, place, strict=True) if row < 0]
    if without:
        print(
            f"WARNING: {len(without):,} test rows have no picture that can be decoded, and get the frequencies of the "
            f"training rows: {listed(without)}"
        )
    n_features = test.file["test"].shape[1]
    fold = np.zeros(len(test.names), np.int32)
    with (
        prediction_writer(path, test.names, fold, len(test.prior)) as writer,
        Progress(len(test.names), "Predicting test", unit="rows") as progress,
    ):
        for block in block_slices(len(test.names), max(n_features, len(test.prior), encoding.outputs.n) * 4):
            rows = place[block]
            values = np.tile(test.prior, (len(rows), 1))
            if (rows >= 0).any():
                features = np.stack([test.file["test"][row] for row in rows if row >= 0])
                predictions = sum(encoding.decode(model.predict(features)) for model in models) / len(models)
                values[rows >= 0] = predictions
            writer.add(values)
            progress.add(len(rows))


def write_submission(path: Path, sample_path: Path, task: Task, decision: Decision, test: PredictionFile) -> int:
    """Write the submission in the sample's order, and return its number of rows: none without test pictures.

    Parameters
    ----------
    path : Path
        What Kaggle gets.
    sample_path : Path
        `data/sample_submission.csv`.
    task : Task
    decision : Decision
        Fitted.
    test : PredictionFile
        Predictions of the test rows.

    Raises
    ------
    UserError
        If the sample has an id for which there is no row.
    """
    id_column = read_any_table(sample_path).iloc[:, 0]
    blocks = list(test.blocks()) or [(slice(0, 0), np.empty((0, test.n_outputs), np.float32))]
    table = pd.concat([task.render(test.row[block], decision.apply(values)) for block, values in blocks])
    if not test.row:  # No test pictures yet.
        id_column = id_column.head(0)
    place = pd.Index(table.iloc[:, 0]).get_indexer(id_column)
    if (place < 0).any():
        missing = id_column[place < 0]
        raise UserError(f"{sample_path}: no test row for {id_column.name} {listed(missing)}; run `dvc repro`")
    with atomic_path(path) as partial:
        table.iloc[place].to_csv(partial, index=False, encoding="utf-8", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    return len(place)


def never_submitted(
    task: Task, decision: Decision, y: np.ndarray, test: PredictionFile, out_of_fold: PredictionFile
) -> dict[str, int]:
    """Return the classes or grades that a decision for one class a row gives to no row, and how often each is true.

    Parameters
    ----------
    task : Task
    decision : Decision
        Fitted.
    y : ndarray
        The truth of all training rows.
    test, out_of_fold : PredictionFile

    Returns
    -------
    dict of str to int
        The number of training rows of each. Empty for other forms, many classes, and few test rows.
    """
    n_classes = len(task.names)
    if y.ndim > 1 or n_classes > MAX_CLASSES or len(test.row) < MIN_ROWS_A_CLASS * n_classes:
        return {}
    left = set(np.unique(y).tolist())
    for predictions in (test, out_of_fold):
        for _, values in predictions.blocks():
            submitted = decision.apply(values)
            if submitted.ndim > 1 or not np.issubdtype(submitted.dtype, np.integer):
                return {}
            left -= set(np.unique(submitted).tolist())
    return {task.names[number]: int((y == number).sum()) for number in sorted(left)}
