"""Predictions as numbers: out of fold, and of the test rows, in files of one form.

    results/oof.h5, results/test.h5

    row      (n,)             UTF-8     a row of data/rows.csv
    fold     (n,)             int32     the fold that validated the row, from 1; 0 for test rows
    values   (n, n_outputs)   float32   a probability a class, label or grade, or a number a target

Of thousands of classes only the most probable are kept, and in place of `values` there are

    top_index (n, N_KEPT)     int32     classes, the most probable first
    top_value (n, N_KEPT)     float32   their probabilities

The form of the submission is rendered from these at the very end. What reads them sees `values` in both cases: what is
left over of a row's probability is shared by the classes that were not kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.storage.hdf5 import atomic_hdf5, block_slices, text_array, texts

# Of more outputs than this, so many are kept.
MAX_OUTPUTS = 1000
N_KEPT = 20
# Numbers that are looked at together; of more, evenly spread rows are taken.
MAX_NUMBERS = 20_000_000


def top_k(values: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the k largest values of every row, (n, at most k), the largest first; ties by column."""
    k = min(k, values.shape[1])
    if values.shape[1] <= 50 * k:
        return np.argsort(-values, axis=1, kind="stable")[:, :k]
    part = np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k], axis=1)  # Only the candidates are sorted.
    order = np.argsort(-np.take_along_axis(values, part, axis=1), axis=1, kind="stable")
    return np.take_along_axis(part, order, axis=1)


class PredictionWriter:
    """Takes predictions a block at a time, in the order of the rows."""

    def __init__(self, file: h5py.File, row: list[str], fold: np.ndarray, n_outputs: int):
        self.file, self.first, self.n_outputs = file, 0, n_outputs
        file["row"], file["fold"] = text_array(row), fold.astype(np.int32)
        file.attrs["n_outputs"] = n_outputs
        if n_outputs <= MAX_OUTPUTS:
            file.create_dataset("values", (len(row), n_outputs), np.float32)
        else:
            file.create_dataset("top_index", (len(row), N_KEPT), np.int32)
            file.create_dataset("top_value", (len(row), N_KEPT), np.float32)

    def add(self, values: np.ndarray) -> None:
        """Write the next rows: values (n, n_outputs)."""
        rows = slice(self.first, self.first + len(values))
        self.first = rows.stop
        values = values.astype(np.float32)
        if "values" in self.file:
            self.file["values"][rows] = values
            return
        top = top_k(values, N_KEPT)
        self.file["top_index"][rows] = top
        self.file["top_value"][rows] = np.take_along_axis(values, top, axis=1)


@contextmanager
def prediction_writer(path: Path, row: list[str], fold: np.ndarray, n_outputs: int) -> Iterator[PredictionWriter]:
    """Give a writer of predictions to a file that is whole or not there.

    Parameters
    ----------
    path : Path
    row : list of str
    fold : ndarray of shape (n,), integer
    n_outputs : int
        Columns of the values.
    """
    with atomic_hdf5(path) as file:
        yield PredictionWriter(file, row, fold, n_outputs)


class PredictionFile:
    """A file of predictions, open for reading.

    Attributes
    ----------
    row : list of str
    fold : ndarray of shape (n,), int32
    n_outputs : int
    """

    def __init__(self, file: h5py.File):
        self.file = file
        self.row, self.fold, self.n_outputs = texts(file["row"]), file["fold"][:], int(file.attrs["n_outputs"])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield slices of rows and their values (n, n_outputs), float32."""
        for block in block_slices(len(self.row), self.n_outputs * 4):
            yield block, self.values(np.arange(block.start, block.stop))

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Return the values of rows by their increasing numbers, shape (len(numbers), n_outputs), float32."""
        if not len(numbers):
            return np.empty((0, self.n_outputs), np.float32)
        span = slice(int(numbers[0]), int(numbers[-1]) + 1)
        chosen = numbers - span.start
        if "values" in self.file:
            return self.file["values"][span][chosen]
        index, value = self.file["top_index"][span][chosen], self.file["top_value"][span][chosen]
        rest = np.maximum(1 - value.sum(axis=1), 0) / (self.n_outputs - index.shape[1])
        values = np.repeat(rest[:, None].astype(np.float32), self.n_outputs, axis=1)
        np.put_along_axis(values, index, value, axis=1)
        return values

    def sample(self, max_numbers: int = MAX_NUMBERS) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of all rows, or of evenly spread ones if they are too many, and their values."""
        every = max(1, -(-len(self.row) * self.n_outputs // max_numbers))
        numbers = np.arange(0, len(self.row), every)
        parts = [self.values(numbers[start : start + 1000]) for start in range(0, len(numbers), 1000)]
        return numbers, np.concatenate(parts) if parts else np.empty((0, self.n_outputs), np.float32)


@contextmanager
def open_predictions(path: Path) -> Iterator[PredictionFile]:
    """Open a file of predictions.

    Raises
    ------
    UserError
        If there is none, or it is not whole.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    except OSError as error:
        raise UserError(f"{path}: not a whole HDF5 file ({one_line(error, 120)}); run `dvc checkout {path}`") from None
    with file:
        if "row" not in file or "fold" not in file:
            raise UserError(f"{path}: not a file of predictions; run `dvc repro`")
        yield PredictionFile(file)
