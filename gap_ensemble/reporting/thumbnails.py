"""Small pictures for the report, also on a machine that lacks the competition's pictures."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gap_ensemble.images.decoding import read_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.images.problems import BadPicture
from gap_ensemble.messages.errors import one_line

SIZE = 160  # pixels
GREY = (221, 221, 221)


def thumbnail(path: Path, scale: Scale | None = None) -> bytes:
    """Return a picture as a small JPEG.

    Parameters
    ----------
    path : Path
        The picture. Where it is gone, or not what it was, the result is a grey square that says so: the report needs
        no picture.
    scale : Scale, optional
        The data set's, for pictures of more than 8 bits.

    Returns
    -------
    bytes
        A JPEG of 160 pixels a side.
    """
    return to_jpeg(small_picture(path, SIZE, scale)[0])


def small_picture(path: Path, size: int, scale: Scale | None = None) -> tuple[np.ndarray, bool]:
    """Return a picture as (size, size, 3) uint8, and whether it is there; if not, a grey square that says so."""
    try:
        return read_picture(path.read_bytes(), size, scale), True
    except (FileNotFoundError, NotADirectoryError):
        return _placeholder("not on this machine", size), False
    except (OSError, BadPicture) as error:
        return _placeholder(one_line(error, 24), size), False


def to_jpeg(pixels: np.ndarray, quality: int = 80) -> bytes:
    """Return pixels (height, width, 3) uint8 as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _placeholder(text: str, size: int) -> np.ndarray:
    image = Image.new("RGB", (size, size), GREY)
    if size >= SIZE:  # In a smaller one it can't be read.
        ImageDraw.Draw(image).text((size // 2, size // 2), text, fill=(90, 90, 90), anchor="mm")
    return np.asarray(image)
