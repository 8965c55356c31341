"""Feature files: HDF5 that explains itself.

`features/gap/<name>.h5`, the features of pictures by one network:

    train          (n_train, n_features)  float32   features of the training pictures
    train_file     (n_train,)             UTF-8     file of every row, seen from data.raw
    test           (n_test, n_features)   float32   features of the test pictures
    test_file      (n_test,)              UTF-8     file of every row, seen from data.raw
    fine_tuned_on  (n_train,)             bool      only of a network that was fine-tuned: the pictures whose labels it
                                                    knows, which must not validate

`features/ensemble.h5`, the features of rows by all networks, has `train_row` and `test_row` (rows of data/rows.csv) in
place of the files, and its training rows are shuffled.
"""

import io
import json
import os
import zlib
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.storage.files import blamed_on, require_room, sync, write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5, block_slices

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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


class PartialRows:
    """Rows of float32 on the disk, kept when a run is interrupted and taken up by the next.

    The rows lie in one plain file and their count in another, which is replaced only after the rows are safely on the
    disk: a kill or a power cut in the middle of a write loses what was added since the last `save`, nothing else.
    Rows of another fingerprint, and rows that are not those that were counted, are thrown away. Where the system can
    lock files, one process at a time holds them.

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

    Raises
    ------
    UserError
        If another process holds the rows.
    """

    def __init__(self, path: str | Path, n_columns: int, fingerprint: str):
        self.path, self.n_columns, self.fingerprint = Path(path), n_columns, fingerprint
        self.state_path = self.path.with_suffix(".json")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self._open_alone()
        try:
            self.counted = self._saved_rows()
            with blamed_on(self.path):
                self.file.truncate(self.n_rows * n_columns * 4)
                self.file.seek(0, os.SEEK_END)
        except BaseException:
            self.file.close()
            raise

    @property
    def n_rows(self) -> int:
        """Rows that are there."""
        return self.counted[0]

    def _open_alone(self) -> io.BufferedRandom:
        while True:
            # Neither emptied nor changed before it is this process's alone.
            number = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            file = open(number, "r+b")  # noqa: SIM115 - closed by close() or remove()
            try:
                if fcntl is None:
                    return file
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            except BlockingIOError:
                file.close()
                raise UserError(
                    f"{self.path}: in use by another run; wait for it or stop it, then run this again"
                ) from None
            except FileNotFoundError:
                pass
            except OSError:  # A file system without locks.
                return file
            file.close()  # It was removed, by a process that finished, before it could be locked.

    def _saved_rows(self) -> tuple[int, int]:
        try:
            state = json.loads(self.state_path.read_text())
            if state["fingerprint"] == self.fingerprint and self._checksum(state["n_rows"]) == state["checksum"]:
                return state["n_rows"], state["checksum"]
        except (OSError, ValueError, TypeError, KeyError):
            pass  # None, torn, or not ours.
        return 0, 0

    def _checksum(self, n_rows: int) -> int:
        checksum = 0
        for block in block_slices(n_rows, self.n_columns * 4):
            checksum = zlib.crc32(self.read(block.start, block.stop).data, checksum)
        return checksum

    def append(self, rows: np.ndarray) -> None:
        """Add rows of shape (n, n_columns), float32."""
        content = np.ascontiguousarray(rows, dtype="<f4").data
        with blamed_on(self.path):
            self.file.write(content)
        n_rows, checksum = self.counted
        # In one step: a Ctrl-C between two would leave a count that belongs to other rows.
        self.counted = n_rows + len(rows), zlib.crc32(content, checksum)

    def save(self) -> None:
        """Make every row added so far survive a kill or a power cut."""
        n_rows, checksum = self.counted
        with blamed_on(self.path):
            self.file.flush()
            sync(self.file)
        state = {"fingerprint": self.fingerprint, "n_rows": n_rows, "checksum": checksum}
        write_text(self.state_path, json.dumps(state))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start` to `stop`, of shape (stop - start, n_columns), float32."""
        self.file.seek(start * self.n_columns * 4)
        rows = np.fromfile(self.file, dtype="<f4", count=(stop - start) * self.n_columns)
        return rows.reshape(stop - start, self.n_columns)

    def close(self) -> None:
        """Close the file and keep it."""
        with blamed_on(self.path):
            self.file.close()

    def remove(self) -> None:
        """Close the file and delete it: its rows are needed no more."""
        self.state_path.unlink(missing_ok=True)
        if fcntl is None:  # Windows deletes no open file.
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()


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
    n_train = len(rows["train_file"])
    require_room(path, partial.n_rows * partial.n_columns * 4 + sum(array.nbytes for array in rows.values()))
    with atomic_hdf5(path) as file:
        create_features(file, partial.n_columns, rows, attributes)
        for name, first, n_rows in (("train", 0, n_train), ("test", n_train, partial.n_rows - n_train)):
            for block in block_slices(n_rows, partial.n_columns * 4):
                file[name][block] = partial.read(first + block.start, first + block.stop)
