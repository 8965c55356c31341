"""Feature files: HDF5 that explains itself.

`features/gap/<name>.h5`, the features of pictures by one network:

    train          (n_train, n_features)  float32   features of the training pictures
    train_file     (n_train,)             UTF-8     file of every row, relative to data.raw
    test           (n_test, n_features)   float32   features of the test pictures
    test_file      (n_test,)              UTF-8     file of every row, relative to data.raw
    fine_tuned_on  (n_train,)             bool      only of a network that was fine-tuned: the pictures whose labels it
                                                    knows, which must not validate

`features/ensemble.h5`, the features of rows by all networks, has `train_row` and `test_row` (rows of data/rows.csv) in
place of the files, and its training rows are shuffled.
"""

import os
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.storage.files import require_room
from gap_ensemble.storage.hdf5 import atomic_hdf5, block_slices
from gap_ensemble.storage.store import StoredRows

# What a row stands for: a picture, or a row of data/rows.csv.
Named = Literal["file", "row"]


def open_features(path: str | Path, named: Named = "file") -> h5py.File:
    """Open a feature file for reading.

    Parameters
    ----------
    path : str or Path
    named : "file" or "row"
        What its rows stand for: `file` for features/gap, `row` for features/ensemble.h5.

    Raises
    ------
    UserError
        If there is no such file, or it is truncated, or it is not a feature file.
    """
    path = Path(path)
    again = f"run `dvc repro`; if it says that nothing changed, `dvc checkout {path}`"
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except OSError as error:
        if error.errno is not None:  # The system's refusal, which says nothing against the file.
            raise UserError(f"{path}: can't be read: {os.strerror(error.errno)}; the file itself may be good") from None
        raise UserError(f"{path}: not a whole HDF5 file ({one_line(error, 120)}); {again}") from None
    problem = _what_is_wrong(file, named)
    if problem:
        file.close()
        raise UserError(f"{path}: not a feature file: {problem}; {again}")
    return file


def _what_is_wrong(file: h5py.File, named: Named) -> str:
    for split in ("train", "test"):
        features, names = file.get(split), file.get(f"{split}_{named}")
        for name, dataset, n_dimensions in ((split, features, 2), (f"{split}_{named}", names, 1)):
            if not isinstance(dataset, h5py.Dataset):
                return f"it has no dataset {name!r}"
            if dataset.ndim != n_dimensions:
                return f"{name!r} has {dataset.ndim} dimensions"
        if len(features) != len(names):
            return f"{len(features):,} rows of {split!r} and {len(names):,} of '{split}_{named}'"
    if "fine_tuned_on" in file and file["fine_tuned_on"].shape != file["train"].shape[:1]:
        return f"{len(file['fine_tuned_on']):,} rows of 'fine_tuned_on' and {len(file['train']):,} of 'train'"
    if file["train"].shape[1] != file["test"].shape[1]:
        return f"{file['train'].shape[1]:,} columns of 'train' and {file['test'].shape[1]:,} of 'test'"
    return ""


def create_features(
    file: h5py.File, n_features: int, rows: dict[str, np.ndarray], attributes: dict[str, str], named: Named = "file"
) -> None:
    """Lay out an empty feature file.

    Parameters
    ----------
    file : h5py.File
        A new file, open for writing.
    n_features : int
        Features of one row.
    rows : dict of str to ndarray
        The datasets other than `train` and `test`, whole.
    attributes : dict of str to str
        What made the file.
    named : "file" or "row"
        What its rows stand for.
    """
    for split in ("train", "test"):
        file.create_dataset(split, (len(rows[f"{split}_{named}"]), n_features), np.float32)
    for name, values in rows.items():
        file.create_dataset(name, data=values)
    file.attrs.update(attributes)


def write_features(
    path: str | Path, features: StoredRows, rows: dict[str, np.ndarray], attributes: dict[str, str]
) -> None:
    """Write a feature file from the rows of the training pictures followed by those of the test pictures.

    Parameters
    ----------
    path : str or Path
        The file to write, whole or not at all.
    features : StoredRows
        All of them.
    rows, attributes
        As for `create_features`.
    """
    n_train = len(rows["train_file"])
    require_room(path, features.n_rows * features.n_columns * 4 + sum(array.nbytes for array in rows.values()))
    with atomic_hdf5(path) as file:
        create_features(file, features.n_columns, rows, attributes)
        for name, first, n_rows in (("train", 0, n_train), ("test", n_train, features.n_rows - n_train)):
            for block in block_slices(n_rows, features.n_columns * 4):
                file[name][block] = features.read(first + block.start, first + block.stop)
