"""CSV tables with a pixel a column, as Digit Recognizer's: label, pixel0, pixel1 …"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gap_ensemble.converting.record import Record, square_of
from gap_ensemble.messages.errors import UserError

PIXEL = re.compile(r"(pixel|px|p|x|v)?[_-]?\d+|\d+x\d+", re.IGNORECASE)
MIN_PIXELS = 16
# One field that holds all pixels, as in facial expression data: "70 80 82 …".
PIXELS_FIELD = re.compile(r"pixels?|image", re.IGNORECASE)


def is_pixel_table(path: Path) -> bool:
    """Tell whether a CSV file holds pixels, by its header and its first row."""
    with open(path, encoding="utf-8-sig", newline="", errors="replace") as file:
        rows = csv.reader(file)
        header, first = next(rows, []), next(rows, [])
    return bool(_pixel_columns(header)) or _pixels_field(header, first) is not None


def read(path: Path) -> Iterator[Record]:
    """Yield a row after the other.

    Raises
    ------
    UserError
        If a row is not as long as the header, or a pixel is no number.
    """
    csv.field_size_limit(2**27)
    with open(path, encoding="utf-8-sig", newline="") as file:
        n_read = 0

        def lines() -> Iterator[str]:
            nonlocal n_read
            for line in file:
                n_read += len(line)
                yield line

        rows = csv.reader(lines())
        header = [name.strip() for name in next(rows, [])]
        pixels, field_at = _pixel_columns(header), None
        others = [i for i in range(len(header)) if i not in set(pixels)]
        for row in rows:
            if not row:
                continue
            where = f"{path}: line {rows.line_num}"
            if len(row) != len(header):
                raise UserError(
                    f"{where}: found {len(row):,} values; expected {len(header):,} as in the header; correct it"
                )
            if not pixels and field_at is None:
                field_at = _pixels_field(header, row)
                if field_at is None:
                    raise UserError(f"{path}: found no columns of pixels; expected names such as pixel0, pixel1 …")
                others.remove(field_at)
            texts = [row[i] for i in pixels] if pixels else row[field_at or 0].split()
            yield Record(
                square_of(_numbers(texts, where), where),
                {header[i]: row[i].strip() for i in others},
                n_read,
            )


def _numbers(texts: list[str], where: str) -> np.ndarray:
    try:
        values = np.array(texts, dtype=np.float32)
    except ValueError:
        raise UserError(f"{where}: found a pixel that is no number; correct it") from None
    return values


def _pixel_columns(header: list[str]) -> list[int]:
    """Return where the pixels stand; none if there are too few."""
    found = [i for i, name in enumerate(header) if PIXEL.fullmatch(name.strip())]
    return found if len(found) >= MIN_PIXELS else []


def _pixels_field(header: list[str], row: list[str]) -> int | None:
    """Return the column that holds all pixels of a row as one text."""
    for i, (name, value) in enumerate(zip(header, row, strict=False)):
        if PIXELS_FIELD.fullmatch(name.strip()) and len(value.split()) >= MIN_PIXELS:
            return i
    return None
