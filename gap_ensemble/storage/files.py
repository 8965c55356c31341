"""Files that are either whole or not there."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gap_ensemble.messages.errors import UserError, one_line


@contextmanager
def blamed_on(path: str | Path) -> Iterator[None]:
    """Give this file's name to refusals of the system that name none, as those of a write to an open file do.

    Raises
    ------
    UserError
        In place of an OSError without a number: a library's, such as HDF5's.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise UserError(f"{path}: not written: {one_line(error)}; fix that, then run it again") from None
        error.filename = error.filename or str(path)
        raise


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to `path` only when the block succeeds.

    The temporary file lies in the same folder (a rename is atomic only within one file system) and starts with a
    dot. An exception removes it; a kill leaves it behind, where no stage looks and the next run overwrites it.

    Parameters
    ----------
    path : str or Path
        Where the finished file belongs. Its folder is made.

    Yields
    ------
    Path
        Write here. The file is flushed to the disk before it is renamed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with blamed_on(path):
            yield partial
            with open(partial, "rb+") as file:
                sync(file)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sync(file: IO[Any]) -> None:
    """Have a flushed file written to the disk itself, where the file system can: some network drives cannot."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def require_room(path: str | Path, n_bytes: int) -> None:
    """Refuse to begin a file that the disk can't hold, before minutes go into it.

    Raises
    ------
    UserError
        If fewer bytes are free than `n_bytes` and what lies around them.
    """
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    n_bytes, free = int(n_bytes * 1.02) + 2**16, shutil.disk_usage(folder).free
    if free < n_bytes:
        raise UserError(f"{path}: takes {n_bytes / 1e6:,.1f} MB, but {free / 1e6:,.1f} MB are free; make room there")


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file with Unix line ends, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
