"""Pictures: what counts as one, and the one definition of how it becomes a square of pixels.

The definition, the same for every network and every engine:

1. The content decides the format, not the suffix (whatever Pillow reads; of an animation the first frame).
2. The EXIF orientation is applied. Transparency is laid on white. Everything becomes 8-bit RGB: grey and palettes by
   expansion, CMYK and YCCK by Pillow's conversion, 16-bit channels by their upper byte.
3. A JPEG much larger than the network's input is decoded at a half, a quarter or an eighth of its size, as long as
   both sides stay at least twice the input's: faster, and memory follows the network's input, not the camera.
4. The whole picture, without cropping, is resized to a square with Pillow's bilinear filter, whose support grows with
   the scale (antialiased). Nearest-neighbour, Keras's old default, drops pixels and with them fine texture.
"""

import contextlib
import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from gap_ensemble.messages.errors import UserError

# Our own limit below replaces Pillow's, which would only warn at this size and judges before a JPEG is scaled down.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

# Decoded pixels that one picture may take: with transparency, 50 million are five copies of 200 MB on their way to RGB.
MAX_PIXELS = 50_000_000
# A progressive JPEG keeps every coefficient of the full picture in memory, however small it is decoded.
MAX_PROGRESSIVE_PIXELS = 64_000_000


class BadPicture(Exception):  # noqa: N818 - it names a thing, as the report does
    """A file that can't be decoded; the text says why in a few words."""


def read_picture(content: bytes, size: int) -> np.ndarray:
    """Decode a picture and resize it to a square, as defined at the top of this module.

    Parameters
    ----------
    content : bytes
        The content of the file, in any format that Pillow reads.
    size : int
        Side of the square, in pixels.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
        Red, green and blue, 0 to 255.

    Raises
    ------
    BadPicture
        If the content is empty, truncated, no picture, or larger than `MAX_PIXELS` once decoded.
    """
    if not content:
        raise BadPicture("is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Damaged EXIF blocks warn; the pixels are fine.
            with Image.open(io.BytesIO(content)) as file:
                _refuse_huge(file, size)
                file.load()  # First of all, so that only what is wrong with the EXIF block itself is forgiven below.
                with contextlib.suppress(Exception):
                    file.getexif()  # Kept by `file`; from bytes, Pillow would write the other tags anew, and may fail.
                for key in ("exif", "Raw profile type exif"):
                    file.info.pop(key, None)
                ImageOps.exif_transpose(file, in_place=True)
                return np.asarray(_rgb(file).resize((size, size), Image.Resampling.BILINEAR))
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture("is no picture (no known image format)") from None
    except MemoryError:
        raise BadPicture("needs more memory than there is to decode") from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged content.
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise BadPicture(f"is {reason} ({' '.join(str(error).split())[:100] or type(error).__name__})") from None


def read_linked_picture(path: Path, size: int) -> np.ndarray:
    """Read a picture that stage link has found whole, as `read_picture` does.

    Raises
    ------
    UserError
        If it can't be read any more.
    """
    try:
        return read_picture(path.read_bytes(), size)
    except (BadPicture, OSError) as error:
        raise UserError(f"{path}: {error}; it was whole in stage link: run `dvc repro` again") from None


def check_picture(path: Path) -> tuple[str, str]:
    """Read a file once, for its hash and for whether it decodes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    md5 : str
        MD5 of the content in hexadecimal, as `md5sum` and DVC give it; empty if the file can't be read.
    problem : str
        Why it does not decode, in a few words; empty if it does.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", f"can't be read ({error.strerror})"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    try:
        # A small square makes a JPEG decode at an eighth of its size, and still reads the file to its end.
        read_picture(content, 8)
    except BadPicture as error:
        return md5, str(error)
    return md5, ""


def _refuse_huge(image: Image.Image, size: int) -> None:
    """Let a JPEG decode smaller, and refuse what is still too large, before any pixel is decoded."""
    full = image.width * image.height
    image.draft(None, (2 * size, 2 * size))  # None keeps the mode.
    if image.width * image.height > MAX_PIXELS or (image.info.get("progressive") and full > MAX_PROGRESSIVE_PIXELS):
        raise BadPicture(f"is too large ({full / 1e6:,.0f} million pixels)")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any mode of Pillow's to RGB."""
    # Pillow gives 16-bit grey in these modes, and would clip it at 255 instead of scaling.
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float32)
        if values.max(initial=0) > 255:
            values = values / np.float32(257)
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
