"""HDF5 files: arrays of pictures with columns beside them, or one picture file under each name, as ISIC's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gap_ensemble.converting.record import Record
from gap_ensemble.messages.errors import UserError, one_line


def read(path: Path) -> Iterator[Record]:
    """Yield each picture.

    Raises
    ------
    UserError
        If the file is damaged, or holds neither an array of pictures nor picture files.
    """
    try:
        with h5py.File(path) as file:
            yield from _records(path, file)
    except OSError as error:
        raise UserError(f"{path}: not a whole HDF5 file ({one_line(error, 80)}); get the file again") from None


def _records(path: Path, file: Any) -> Iterator[Record]:
    datasets: dict[str, Any] = {}
    file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    size = path.stat().st_size
    files = {name: item for name, item in datasets.items() if item.shape == () and item.dtype.kind in "VSO"}
    arrays = {name: item for name, item in datasets.items() if item.ndim in (3, 4) and item.dtype.kind in "uifb"}
    if files and not arrays:
        for i, (name, item) in enumerate(files.items()):
            value = item[()]
            yield Record(_content(value), {}, size * (i + 1) // len(files), name.replace("/", "_"))
        return
    if len(arrays) != 1:
        raise UserError(
            f"{path}: found {len(arrays)} arrays that may be pictures ({', '.join(arrays)[:80]}); expected one of "
            "shape (pictures, height, width) or (pictures, height, width, channels), or a picture file under each name"
        )
    name, pictures = next(iter(arrays.items()))
    columns = {
        key.rpartition("/")[2]: item
        for key, item in datasets.items()
        if key != name and item.ndim in (1, 2) and item.shape[0] == pictures.shape[0] and item.size == pictures.shape[0]
    }
    for i in range(pictures.shape[0]):
        picture = np.asarray(pictures[i])
        if picture.ndim == 3 and picture.shape[2] in (1, 2):
            picture = np.moveaxis(picture, -1, 0)
        if picture.ndim == 3 and picture.shape[2] not in (3,) and picture.shape[0] > 16:
            raise UserError(f"{path}: {name}: found pictures of shape {picture.shape}; expected 1, 2 or 3 channels")
        values = {key: _text(np.asarray(item[i]).ravel()[0]) for key, item in columns.items()}
        yield Record(picture, values, size * (i + 1) // pictures.shape[0])


def _content(value: Any) -> bytes:
    return value.tobytes() if hasattr(value, "tobytes") else value if isinstance(value, bytes) else bytes(value)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
