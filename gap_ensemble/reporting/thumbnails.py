"""Small pictures for the report, also on a machine that lacks the competition's pictures."""

import io
from pathlib import Path

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
    try:
        image = Image.fromarray(read_picture(path.read_bytes(), SIZE, scale))
    except (FileNotFoundError, NotADirectoryError):
        image = _placeholder("not on this machine")
    except (OSError, BadPicture) as error:
        image = _placeholder(one_line(error, 24))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _placeholder(text: str) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), GREY)
    ImageDraw.Draw(image).text((SIZE // 2, SIZE // 2), text, fill=(90, 90, 90), anchor="mm")
    return image
