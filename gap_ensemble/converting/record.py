"""What every format gives: one picture with what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gap_ensemble.messages.errors import UserError


@dataclass(frozen=True)
class Record:
    """One picture.

    Parameters
    ----------
    picture : bytes or ndarray of shape (height, width), (height, width, 3) or (n_bands, height, width)
        A picture file's content, or pixels.
    columns : mapping of str to str
        What else stands beside it, for the table.
    n_read : int
        Bytes of the input that have been read so far.
    name : str or None
        What the picture is called, where the input says so; else its number decides.
    """

    picture: bytes | np.ndarray
    columns: Mapping[str, str] = field(default_factory=dict)
    n_read: int = 0
    name: str | None = None


def pixels_of_bands(bands: np.ndarray) -> np.ndarray:
    """Turn bands of shape (n_bands, height, width) into grey or colours.

    One band is grey; two are red and green, with their mean as blue; three are red, green and blue; more are laid
    under each other from top to bottom.
    """
    if len(bands) == 1:
        return bands[0]
    if len(bands) == 2:
        bands = np.stack([*bands, bands.mean(axis=0).astype(bands.dtype)])
    return np.moveaxis(bands, 0, -1) if len(bands) == 3 else bands.reshape(-1, bands.shape[2])


def square_of(values: np.ndarray, found_in: str) -> np.ndarray:
    """Return a flat row of pixels as (height, width) or (height, width, 3).

    Raises
    ------
    UserError
        If the pixels are those of no square.
    """
    for n_channels in (1, 3):
        side = round((len(values) / n_channels) ** 0.5)
        if side and n_channels * side**2 == len(values):
            return values.reshape((side, side) if n_channels == 1 else (side, side, 3))
    raise UserError(
        f"{found_in}: found {len(values):,} pixels; expected those of a square, grey (such as 784 = 28 × 28) or in "
        "three colours (such as 3,072 = 32 × 32 × 3)"
    )
