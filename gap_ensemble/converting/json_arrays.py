"""JSON lists of objects with arrays of pixels, as Statoil's: id, band_1, band_2, inc_angle, is_iceberg."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.converting.record import Record, square_of
from gap_ensemble.messages.errors import UserError, one_line

BLOCK = 2**20
MIN_PIXELS = 16


def read(path: Path) -> Iterator[Record]:
    """Yield an object after the other; the file, which may be larger than memory, is read in blocks.

    Raises
    ------
    UserError
        If the file is no JSON list of objects, or lines of them, or an object holds no array of pixels.
    """
    for number, (entry, n_read) in enumerate(_objects(path), start=1):
        where = f"{path}: object {number}"
        if not isinstance(entry, dict):
            raise UserError(f"{where}: found {type(entry).__name__}; expected an object with arrays of pixels")
        arrays = {key: value for key, value in entry.items() if isinstance(value, list) and len(value) >= MIN_PIXELS}
        nested = {
            key: value
            for key, value in entry.items()
            if isinstance(value, list) and value and isinstance(value[0], list)
        }
        try:
            bands = [np.array(value, np.float32) for value in (nested or arrays).values()]
        except (ValueError, TypeError):
            raise UserError(f"{where}: found an array that holds no numbers; expected pixels") from None
        if not bands or len({band.shape for band in bands}) > 1:
            raise UserError(f"{where}: found no arrays of pixels of one size in {', '.join(entry)[:80]}")
        bands = [square_of(band, where) if band.ndim == 1 else band for band in bands]
        rest = {key: _text(value) for key, value in entry.items() if key not in (nested or arrays)}
        yield Record(bands[0] if len(bands) == 1 else np.stack(bands), rest, n_read)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _objects(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield the entries of a JSON list, or of lines of JSON, each with the number of characters read."""
    decoder, text, n_read, at_end, is_list = json.JSONDecoder(), "", 0, False, False
    try:
        with open(path, encoding="utf-8-sig") as file:
            while True:
                text = text.lstrip(" \t\r\n,")
                if text.startswith("[") and not n_read - len(text) and not is_list:
                    is_list, text = True, text[1:]
                    continue
                if text.startswith("]") and is_list:
                    return
                try:
                    if not text:
                        raise json.JSONDecodeError("end", text, 0)
                    entry, end = decoder.raw_decode(text)
                    if end == len(text) and not at_end:  # A number may go on.
                        raise json.JSONDecodeError("end", text, 0)
                except json.JSONDecodeError as error:
                    if at_end:
                        if text or is_list:
                            raise UserError(
                                f"{path}: damaged or not whole JSON ({one_line(error, 80)}); expected a list of objects"
                            ) from None
                        return
                    # Doubled, so that a long object is not parsed again for every block.
                    block = file.read(max(BLOCK, len(text)))
                    at_end, n_read, text = not block, n_read + len(block), text + block
                    continue
                text = text[end:]
                yield entry, n_read
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({one_line(error, 80)}); expected JSON") from None
