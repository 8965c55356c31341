"""Pictures of the manifest, read and decoded: one at a time, or by processes that read whole batches.

Decoding holds Python's lock for about a quarter of its time, so that the threads of one process decode on four cores at
most. A GPU takes more than that.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.images.decoding import read_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.images.problems import BadPicture
from gap_ensemble.messages.errors import UserError


class Picture(NamedTuple):
    """A picture of the manifest."""

    file: str  # relative to the raw folder
    md5: str  # of its content, in hexadecimal


def read_known(path: Path, md5: str, size: int, scale: Scale | None) -> np.ndarray:
    """Read a picture that stage link has found whole, as `read_picture` does.

    Raises
    ------
    UserError
        If it can't be read any more, or is another picture by now: its features would be kept under a wrong name.
    """
    try:
        content = path.read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{path}: is not the picture that stage link has checked; run `dvc repro` again")
        return read_picture(content, size, scale)
    except (BadPicture, OSError) as error:
        raise UserError(f"{path}: {error}; it was whole in stage link: run `dvc repro` again") from None


def read_batch(raw: Path, pictures: Sequence[Picture], size: int, scale: Scale | None) -> np.ndarray:
    """Read pictures as `read_known` does, one after the other: shape (n, size, size, 3), uint8."""
    return np.stack([read_known(raw / picture.file, picture.md5, size, scale) for picture in pictures])


class Readers:
    """Processes that read batches, one for every core that this process may use. They end with it, however it ends."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn"), _end_with_parent)

    def __call__(self, raw: Path, pictures: Sequence[Picture], size: int, scale: Scale | None) -> np.ndarray:
        """Read a batch in one of the processes, as `read_batch` does. May be called from several threads."""
        return self.pool.submit(read_batch, raw, pictures, size, scale).result()

    def close(self) -> None:
        """Begin nothing more."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it has ended, also by `kill -9`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
