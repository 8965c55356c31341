"""HDF5 files that are whole or not there, texts in them, and blocks that keep memory flat."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gap_ensemble.storage.files import atomic_path

# Rows are read and written in blocks of about this many bytes, so that memory does not grow with their number.
BLOCK_BYTES = 64 * 2**20


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


class _Disk(io.RawIOBase):
    """A file that HDF5 writes to, and that never refuses: after a failed write or close HDF5 crashes the interpreter.

    What was refused lies in `refusal`, for whoever opened the file.
    """

    def __init__(self, file: io.FileIO):
        self.file = file
        self.refusal: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int | None:
        return self.file.readinto(buffer)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            while len(view) and self.refusal is None:
                view = view[self.file.write(view) :]
        except OSError as error:
            self.refusal = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.refusal = self.refusal or error
            return size or 0


@contextmanager
def atomic_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Give a new HDF5 file to write to, and move it to `path` only when the block succeeds.

    Raises
    ------
    OSError
        What the system refused, such as a write to a full disk, named after `path`.
    """
    with atomic_path(path) as temporary, open(temporary, "w+b", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.refusal:
                raise disk.refusal
