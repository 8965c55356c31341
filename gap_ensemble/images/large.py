"""Pictures that are too large to be decoded whole (optional: `pip install pyvips[binary]`).

libvips reads them strip by strip and averages blocks of 2, 4, 8 … pixels a side on the way, so that memory follows the
result and not the picture.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gap_ensemble.images.grey import WidePixels
from gap_ensemble.images.problems import BadPicture

try:
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # libvips's own warnings of odd metadata.
    import pyvips
except (ImportError, OSError):  # The package without the library raises the second.
    pyvips = None
else:
    pyvips.cache_set_max(0)  # It would keep the last hundred pictures.

# Formats that can be read strip by strip; of the others, the first step would be the whole picture.
LOADERS = {"PNG": "pngload", "TIFF": "tiffload"}
# A file of some megabytes can claim as many as it likes; the largest scans of tissue have five thousand million.
MAX_LARGE_PIXELS = 10_000_000_000
# The most bytes that these can make of one (LZW: codes of 12 bits, for strings of 2,048 bytes on average at best).
MAX_RATIO = 1_500
RATIO_HOLDS: dict[str, set[object]] = {
    "PNG": {None},
    "TIFF": {"raw", "packbits", "jpeg", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"},
}


def read_large(source: bytes | Path, file: Image.Image, size: int, max_pixels: int) -> Image.Image | WidePixels:
    """Read a picture at a half, a quarter, an eighth … of its size: `max_pixels` at most.

    Parameters
    ----------
    source : bytes or Path
        The content of the file, or where it lies.
    file : Image
        The same, opened by Pillow: for its format and size.
    size : int
        Side of the square that it will become; as long as both sides stay at least twice as long, it is read smaller.
    max_pixels : int
        The most pixels that the result may have.

    Raises
    ------
    BadPicture
        If its format can't be read in strips, or pyvips is not installed, or it is damaged.
    """
    n_pixels = file.width * file.height
    found = f"is too large ({n_pixels / 1e6:,.0f} million pixels"
    if file.format not in LOADERS or file.info.get("interlace") or n_pixels > MAX_LARGE_PIXELS:
        raise BadPicture(f"{found})")
    n_packed = len(source) if isinstance(source, bytes) else source.stat().st_size
    n_bytes = n_pixels * (3 if len(file.getbands()) >= 3 else 1 / 8)
    if n_bytes > MAX_RATIO * n_packed and file.info.get("compression") in RATIO_HOLDS[str(file.format)]:
        raise BadPicture(f"is truncated ({n_packed:,} bytes can't hold {n_pixels / 1e6:,.0f} million pixels)")
    if pyvips is None:
        raise BadPicture(f"{found}; with pyvips it is read at a smaller scale: pip install 'pyvips[binary]')")
    try:
        options = {"access": "sequential", "fail_on": "truncated"}
        if isinstance(source, bytes):
            picture = getattr(pyvips.Image, f"{LOADERS[str(file.format)]}_buffer")(source, **options)
        else:
            picture = getattr(pyvips.Image, LOADERS[str(file.format)])(str(source), **options)
        wide = picture.format not in ("uchar", "char")
        factor = 1
        while n_pixels / factor**2 > max_pixels or (
            # The range of wide values must not depend on the network, and averages have a smaller one.
            not wide and min(file.width, file.height) >= 4 * factor * size
        ):
            factor *= 2
        return _pixels(picture, factor)
    except pyvips.Error as error:
        reason = str(error.detail or error.message).strip().splitlines()
        raise BadPicture(f"is damaged ({reason[-1][:100] if reason else 'libvips'})") from None


def _pixels(picture: Any, factor: int) -> Image.Image | WidePixels:
    """Shrink a picture by averaging blocks, and convert it to what `decoding` goes on with."""
    n_colours = 4 if picture.interpretation == "cmyk" else 3 if picture.bands >= 3 else 1
    if picture.bands > n_colours and picture.hasalpha():
        white = 65535 if picture.format == "ushort" else 255
        picture = picture.flatten(background=[white] * n_colours)
    picture = picture.extract_band(0, n=n_colours)
    values = np.asarray(picture.shrink(factor, factor, ceil=True).numpy())
    if values.dtype == np.uint8:
        return Image.fromarray(values, "CMYK") if n_colours == 4 else Image.fromarray(values)
    if n_colours == 4:
        raise BadPicture(f"is too large for CMYK of {values.dtype}")
    return WidePixels(values, "float" if values.dtype.kind == "f" else "integer")
