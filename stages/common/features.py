"""Feature files: HDF5 that explains itself, and the rows of an extraction that was interrupted.

Every feature file holds

    train       (n_train, n_features)  float32   features of the training pictures
    label       (n_train,)             int32     index of the class in `class_names`
    train_file  (n_train,)             UTF-8     file of every row, seen from data.raw
    test        (n_test, n_features)   float32   features of the test pictures
    test_file   (n_test,)              UTF-8     file of every row, seen from data.raw
    class_names (n_classes,)           UTF-8
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from stages.common.errors import UserError, one_line
from stages.common.files import atomic_path, require_room, write_text

# Rows are read and written in blocks of about this many bytes, so that memory does not grow with their number.
BLOCK_BYTES = 64 * 2**20

DATASETS = ("train", "label", "train_file", "test", "test_file", "class_names")


def text_array(texts: Iterable[str]) -> np.ndarray:
    """Return texts as UTF-8 bytes of one fixed length: HDF5 stores them compactly and always alike."""
    encoded = [text.encode() for text in texts]
    length = max(map(len, encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length))


def texts(dataset: h5py.Dataset) -> list[str]:
    """Return the texts of a dataset that `text_array` made."""
    return [value.decode() for value in dataset[:]]


def block_slices(n_rows: int, row_bytes: int) -> Iterator[slice]:
    """Cut `n_rows` rows into slices of about `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def open_features(path: str | Path) -> h5py.File:
    """Open a feature file for reading.

    Raises
    ------
    UserError
        If there is no such file, or it is truncated, or it is not a feature file.
    """
    path = Path(path)
    again = "run `dvc repro`; if it says that nothing changed, delete the file first"
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except OSError as error:
        raise UserError(f"{path}: not a whole HDF5 file ({one_line(error, 120)}); {again}") from None
    missing = [name for name in DATASETS if name not in file]
    if missing:
        file.close()
        raise UserError(f"{path}: not a feature file: it has no dataset {missing[0]!r}; {again}")
    return file


def create_features(file: h5py.File, n_features: int, rows: dict[str, np.ndarray], attributes: dict[str, str]) -> None:
    """Lay out an empty feature file.

    Parameters
    ----------
    file : h5py.File
        A new file, open for writing.
    n_features : int
        Features of one picture.
    rows : dict of str to ndarray
        The datasets other than `train` and `test`, whole.
    attributes : dict of str to str
        What made the file.
    """
    for name in DATASETS:
        if name in rows:
            file.create_dataset(name, data=rows[name])
        else:
            file.create_dataset(name, (len(rows[f"{name}_file"]), n_features), np.float32)
    file.attrs.update(attributes)


class PartialRows:
    """Rows of float32 on the disk, kept when a run is interrupted and taken up by the next.

    The rows lie in one plain file and their count in another, which is replaced only after the rows are safely on the
    disk: a kill or a power cut in the middle of a write loses what was added since the last `save`, nothing else.
    Rows of another fingerprint are thrown away.

    Parameters
    ----------
    path : str or Path
        Where the rows lie. Outside the outputs that DVC knows, because DVC deletes those before a stage runs.
    n_columns : int
        Numbers in a row.
    fingerprint : str
        Identifies everything that the rows depend on.

    Attributes
    ----------
    n_rows : int
        Rows that are there.
    """

    def __init__(self, path: str | Path, n_columns: int, fingerprint: str):
        self.path, self.n_columns, self.fingerprint = Path(path), n_columns, fingerprint
        self.state_path = self.path.with_suffix(".json")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.n_rows = self._saved_rows()
        self.file = open(  # noqa: SIM115 - closed by close() or remove()
            self.path, "r+b" if self.path.exists() else "w+b"
        )
        self.file.truncate(self.n_rows * n_columns * 4)
        self.file.seek(0, os.SEEK_END)

    def _saved_rows(self) -> int:
        try:
            state = json.loads(self.state_path.read_text())
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return 0
        if state.get("fingerprint") != self.fingerprint or size < state["n_rows"] * self.n_columns * 4:
            return 0
        return int(state["n_rows"])

    def append(self, rows: np.ndarray) -> None:
        """Add rows of shape (n, n_columns), float32."""
        self.file.write(np.ascontiguousarray(rows, dtype="<f4").data)
        self.n_rows += len(rows)

    def save(self) -> None:
        """Make every row added so far survive a kill or a power cut."""
        self.file.flush()
        os.fsync(self.file.fileno())
        write_text(self.state_path, json.dumps({"fingerprint": self.fingerprint, "n_rows": self.n_rows}))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start` to `stop`, of shape (stop - start, n_columns), float32."""
        self.file.seek(start * self.n_columns * 4)
        rows = np.fromfile(self.file, dtype="<f4", count=(stop - start) * self.n_columns)
        return rows.reshape(stop - start, self.n_columns)

    def close(self) -> None:
        """Close the file and keep it."""
        self.file.close()

    def remove(self) -> None:
        """Close the file and delete it: its rows are needed no more."""
        self.close()
        self.state_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def write_features(
    path: str | Path, partial: PartialRows, rows: dict[str, np.ndarray], attributes: dict[str, str]
) -> None:
    """Write a feature file from the rows of the training pictures followed by those of the test pictures.

    Parameters
    ----------
    path : str or Path
        The file to write, whole or not at all.
    partial : PartialRows
        All rows.
    rows, attributes
        As for `create_features`.
    """
    n_train = len(rows["label"])
    require_room(path, partial.n_rows * partial.n_columns * 4 + sum(array.nbytes for array in rows.values()))
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        create_features(file, partial.n_columns, rows, attributes)
        for name, first, n_rows in (("train", 0, n_train), ("test", n_train, partial.n_rows - n_train)):
            for block in block_slices(n_rows, partial.n_columns * 4):
                file[name][block] = partial.read(first + block.start, first + block.stop)
