"""NumPy's `.npy` files: which arrays are pictures.

| shape | read as |
| --- | --- |
| (height, width) | grey |
| (height, width, 1 or 3), (1 or 3, height, width) | grey; red, green and blue |
| (height, width, 4), 8 bits only | red, green, blue and transparency, as in a PNG |
| (2 or 4 to 16, height, width) | grey pictures, laid under each other from top to bottom, as SETI's six spectra |

An axis of at most 4 at the end counts as channels, else one of at most 16 at the beginning. 8-bit and boolean arrays
are taken as they are; all others get the data set's scale (`grey.py`), with kind float or integer.
"""

import io

import numpy as np
from PIL import Image

from gap_ensemble.images.grey import WidePixels
from gap_ensemble.images.problems import BadPicture

MAGIC = b"\x93NUMPY"
MAX_STACK = 16


def read_array(content: bytes, max_pixels: int) -> Image.Image | WidePixels:
    """Read a picture from the content of a `.npy` file.

    Raises
    ------
    BadPicture
        If it is truncated, too large, or an array that is no picture.
    """
    values = _pixels(_values(content, max_pixels))
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    if values.shape[2:] == (4,):
        raise BadPicture(f"is an array of 4 channels of {values.dtype}; expected uint8, or 1 or 3 channels")
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    return WidePixels(values, "float" if values.dtype.kind == "f" else "integer")


def _values(content: bytes, max_pixels: int) -> np.ndarray:
    """Return the array. Nothing in the file is executed, and its header can't make us take memory."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = header(file)
    except Exception:  # NumPy parses the header with Python's own parser, which raises many things.
        raise BadPicture("is damaged (its .npy header can't be read)") from None
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise BadPicture(f"is an array of {dtype}; expected integers or floats of at most 64 bits")
    n_values = int(np.prod(shape, dtype=object))
    if len(shape) not in (2, 3) or not n_values:
        raise BadPicture(f"is an array of shape {shape}; expected (height, width), or with channels last or first")
    if n_values > 4 * max_pixels:
        raise BadPicture(f"is too large ({n_values / 1e6:,.0f} million values)")
    if len(content) - file.tell() < n_values * dtype.itemsize:
        raise BadPicture("is truncated (fewer values than its header says)")
    flat = np.frombuffer(content, dtype, n_values, file.tell())
    array = flat.reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _pixels(array: np.ndarray) -> np.ndarray:
    """Return the array as (height, width) or (height, width, 3 or 4)."""
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    if array.shape[2] <= 4:
        if array.shape[2] == 2:
            raise BadPicture(f"is an array of shape {array.shape}; expected 1, 3 or 4 channels")
        return np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
    n_pictures = array.shape[0]
    if n_pictures == 3:
        return np.ascontiguousarray(array.transpose(1, 2, 0))
    if n_pictures > MAX_STACK:
        raise BadPicture(f"is an array of shape {array.shape}; expected channels last (1, 3, 4) or first (at most 16)")
    return np.ascontiguousarray(array).reshape(-1, array.shape[2])
