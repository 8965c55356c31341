"""Pictures: what counts as one, and the one definition of how it becomes a square of pixels.

The definition, the same for every network and every engine:

1. The content decides the format, not the suffix: whatever Pillow reads, `.npy` arrays (`arrays.py`) and DICOM
   (`dicom.py`); of an animation the first frame. Metadata beside the pixels can be as odd as it likes.
2. The EXIF orientation is applied. Transparency is laid on white. Everything becomes 8-bit RGB: grey and palettes by
   expansion, CMYK and YCCK by Pillow's conversion, more than 8 bits by the data set's scale (`grey.py`).
3. A picture much larger than the network's input is decoded at a half, a quarter or an eighth of its size, as long as
   both sides stay at least twice the input's, if it is a JPEG: faster, and memory follows the network's input.
4. A picture of more than `MAX_PIXELS` is decoded at the first such fraction that fits, whatever the network: a JPEG by
   its decoder, PNG and TIFF by libvips (`large.py`). So what can be read at one size can be read at every other.
5. The whole picture, without cropping, is resized to a square with Pillow's bilinear filter, whose support grows with
   the scale (antialiased). Nearest-neighbour, Keras's old default, drops pixels and with them fine texture.
"""

import contextlib
import ctypes
import hashlib
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL._imaging
from PIL import ExifTags, Image, ImageFile, ImageOps, JpegImagePlugin, UnidentifiedImageError

from gap_ensemble.images import arrays, dicom, grey, large, metadata
from gap_ensemble.images.arrays import MAGIC, read_array
from gap_ensemble.images.dicom import is_dicom, is_dicom_without_preamble, read_dicom
from gap_ensemble.images.grey import GreyRange, Scale, WidePixels
from gap_ensemble.images.large import read_large
from gap_ensemble.images.metadata import jpeg_is_scalable, png_without_metadata
from gap_ensemble.images.problems import BadPicture
from gap_ensemble.messages.errors import UserError

# Our own limit below replaces Pillow's, which would only warn, and of the size before a JPEG is scaled down.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Damaged metadata warns, by the hundred; the pixels are fine. Not around each call: that is not safe in threads.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# libtiff prints its messages itself; what matters arrives as Pillow's exception. Looked up through Pillow, which brings
# a libtiff of its own.
with contextlib.suppress(AttributeError, OSError):
    _libtiff = ctypes.CDLL(PIL._imaging.__file__)
    _libtiff.TIFFSetWarningHandler(None)
    _libtiff.TIFFSetErrorHandler(None)

# Decoded pixels that one picture may take: with transparency, 50 million are five copies of 200 MB on their way to RGB.
MAX_PIXELS = 50_000_000
# A progressive JPEG keeps every coefficient of the full picture in memory, however small it is decoded.
MAX_PROGRESSIVE_PIXELS = 64_000_000
# A larger file is read from the disk piece by piece, if its format allows; others are in memory as a whole.
MAX_FILE_IN_MEMORY = 2**26
READ_IN_PIECES = (b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # PNG, TIFF, BigTIFF
# Pillow gives the upper bytes of 16-bit colours; read in the other order of bytes, the same file gives the lower ones.
OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B"}  # N: this machine's, little-endian.
# What the pixels depend on: for the fingerprint of features.
MODULES = [arrays, dicom, grey, large, metadata, sys.modules[__name__]]


class Checked(NamedTuple):
    """What one look at a file has shown."""

    md5: str  # of the content in hexadecimal, as `md5sum` and DVC give it; empty if the file can't be read
    problem: str  # why it does not decode, in a few words; empty if it does
    grey_range: GreyRange | None  # of a picture that needs a scale, for `find_grey_scale`


def read_picture(content: bytes, size: int, scale: Scale | None = None) -> np.ndarray:
    """Decode a picture and resize it to a square, as defined at the top of this module.

    Parameters
    ----------
    content : bytes
        The content of the file.
    size : int
        Side of the square, in pixels.
    scale : Scale, optional
        The data set's, for pictures of more than 8 bits. Without it, the picture's own range decides.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
        Red, green and blue, 0 to 255.

    Raises
    ------
    BadPicture
        If the content is empty, truncated, no picture, or too large.
    """
    return _square(content, size, scale)[0]


def read_linked_picture(path: Path, size: int, scale: Scale | None = None) -> np.ndarray:
    """Read a picture that stage link has found whole, as `read_picture` does.

    Raises
    ------
    UserError
        If it can't be read any more.
    """
    try:
        return _square(_source(path), size, scale)[0]
    except (BadPicture, OSError) as error:
        raise UserError(f"{path}: {error}; it was whole in stage link: run `dvc repro` again") from None


def check_picture(path: Path) -> Checked:
    """Read a file once: for its hash, for whether it decodes, and for its range of grey.

    What passes can be read at every size: the size decides only at which scale a JPEG or a large picture is decoded,
    not whether it is.
    """
    try:
        source = _source(path)
        if isinstance(source, bytes):
            md5 = hashlib.md5(source, usedforsecurity=False).hexdigest()
        else:
            with open(source, "rb") as file:
                md5 = hashlib.file_digest(file, "md5").hexdigest()
        # A small square makes a JPEG decode at an eighth of its size, and still reads the file to its end.
        return Checked(md5, "", _square(source, 8, None)[1])
    except OSError as error:
        return Checked("", f"can't be read ({error.strerror})", None)
    except BadPicture as error:
        return Checked(md5, str(error), None)


def _source(path: Path) -> bytes | Path:
    """Return the content of a file, or the path of a large one that is better read in pieces."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE_IN_MEMORY and file.read(4) in READ_IN_PIECES:
            return path
        file.seek(0)
        return file.read()


def _square(source: bytes | Path, size: int, scale: Scale | None) -> tuple[np.ndarray, GreyRange | None]:
    """Return the square, and the range of a picture that needs a scale; every error becomes a BadPicture."""
    if source == b"":
        raise BadPicture("is empty (0 bytes)")
    try:
        picture, found = _decode(source, size, scale), None
        if isinstance(picture, WidePixels):
            found = picture.range()
            picture = picture.image(scale)
        return np.asarray(_rgb(picture).resize((size, size), Image.Resampling.BILINEAR)), found
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture("is no picture (no known image format)") from None
    except MemoryError:
        raise BadPicture("needs more memory than there is to decode") from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged content.
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise BadPicture(f"is {reason} ({' '.join(str(error).split())[:100] or type(error).__name__})") from None


def _decode(source: bytes | Path, size: int, scale: Scale | None) -> Image.Image | WidePixels:
    """Decode a picture, at a smaller scale where the definition says so, and turn it upright."""
    if isinstance(source, bytes):
        if source.startswith(MAGIC):
            return read_array(source, MAX_PIXELS)
        if is_dicom(source):
            return read_dicom(source, MAX_PIXELS)
        source = png_without_metadata(source)
    try:
        file = _opened(source)
    except UnidentifiedImageError:
        if isinstance(source, bytes) and is_dicom_without_preamble(source):
            return read_dicom(source, MAX_PIXELS)
        raise
    with file:
        n_pixels = file.width * file.height
        if isinstance(file, JpegImagePlugin.JpegImageFile) and isinstance(source, bytes) and jpeg_is_scalable(source):
            if file.info.get("progressive") and n_pixels > MAX_PROGRESSIVE_PIXELS:
                raise BadPicture(f"is too large ({n_pixels / 1e6:,.0f} million pixels of a progressive JPEG)")
            _scale_down(file, size)
        if file.width * file.height > MAX_PIXELS:
            orientation = _orientation(file)
            if isinstance(file, JpegImagePlugin.JpegImageFile):
                raise BadPicture(f"is too large ({n_pixels / 1e6:,.0f} million pixels)")
            picture = read_large(source, file, size, MAX_PIXELS)
            return _turned(picture, orientation) if isinstance(picture, Image.Image) else picture
        order = _byte_order(file)
        if order is None or (scale and scale.bits == 16):
            return _wide(_upright(file))
        upper = _upright(file)
    with _opened(source) as file:
        _change_byte_order(file, order)
        return _wide_colours(np.asarray(upper), np.asarray(_upright(file)))


def _opened(source: bytes | Path) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _scale_down(image: JpegImagePlugin.JpegImageFile, size: int) -> None:
    """Let a JPEG decode at a fraction that leaves it large enough for the square, and small enough for memory."""
    fraction = 1
    while fraction < 8 and (
        image.width * image.height > MAX_PIXELS * fraction**2
        or min(image.width, image.height) >= 2 * size * 2 * fraction
    ):
        fraction *= 2
    if fraction > 1:
        # Pillow takes the fraction that leaves both sides at least so long. None keeps the mode.
        image.draft(None, (max(1, image.width // fraction), max(1, image.height // fraction)))


def _upright(file: ImageFile.ImageFile) -> Image.Image:
    """Decode an opened file and apply its orientation, if that can be read."""
    file.load()  # First of all, so that only what is wrong with the EXIF block itself is forgiven below.
    with contextlib.suppress(Exception):
        file.getexif()  # Kept by `file`; from bytes, Pillow would write the other tags again, and may fail.
    for key in ("exif", "Raw profile type exif"):
        file.info.pop(key, None)
    ImageOps.exif_transpose(file, in_place=True)
    return file


def _orientation(file: ImageFile.ImageFile) -> int:
    """Return the orientation, without decoding a pixel."""
    with contextlib.suppress(Exception):
        if file.format == "TIFF":
            return int(file.tag_v2.get(ExifTags.Base.Orientation, 1))  # type: ignore[attr-defined]
        exif = Image.Exif()
        exif.load(file.info.get("exif", b""))
        return int(exif.get(ExifTags.Base.Orientation, 1))
    return 1


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture that has lost its EXIF block upright."""
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(picture)


def _byte_order(file: ImageFile.ImageFile) -> str | None:
    """Return the order of bytes of 16-bit colours, by Pillow's name for it; None of everything else."""
    if file.mode not in ("RGB", "RGBA") or not file.tile:
        return None
    arguments: Any = file.tile[0].args
    raw_mode = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    _, _, order = str(raw_mode).partition(";")
    return order if order in OTHER_ORDER else None


def _change_byte_order(file: ImageFile.ImageFile, order: str) -> None:
    """Make Pillow take the lower bytes of 16-bit colours."""
    other = OTHER_ORDER[order]

    def changed(arguments: Any) -> Any:
        if isinstance(arguments, str):
            return arguments.replace(order, other)
        return (arguments[0].replace(order, other), *arguments[1:])

    file.tile = [tile._replace(args=changed(tile.args)) for tile in file.tile]


def _wide_colours(upper: np.ndarray, lower: np.ndarray) -> WidePixels:
    """Put the upper and the lower bytes of 16-bit colours together."""
    values = (upper[..., :3].astype(np.uint16) << 8) | lower[..., :3]
    return WidePixels(values, "integer", alpha=upper[..., 3] if upper.shape[2] == 4 else None)


def _wide(image: Image.Image) -> Image.Image | WidePixels:
    """Keep the values of grey of more than 8 bits, which Pillow would clip at 255 instead of scaling."""
    if image.mode.startswith("I;16"):
        return WidePixels(np.asarray(image).astype(np.uint16), "integer")
    if image.mode in ("I", "F"):
        return WidePixels(np.asarray(image), "float" if image.mode == "F" else "integer")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any 8-bit mode of Pillow's to RGB."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
