"""BSON files of documents with picture files, as Cdiscount's: _id, category_id, imgs: [{picture}, …].

The format: https://bsonspec.org/spec.html
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gap_ensemble.converting.record import Record
from gap_ensemble.messages.errors import UserError

# Kinds of values that have a fixed length and one way to be read.
FIXED = {0x01: "<d", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}
MAX_DOCUMENT = 2**28


def read(path: Path) -> Iterator[Record]:
    """Yield each picture of each document.

    Raises
    ------
    UserError
        If the file is damaged or cut off, or a document holds no picture.
    """
    n_read, number = 0, 0
    with open(path, "rb") as file:
        while start := file.read(4):
            number += 1
            where = f"{path}: document {number}"
            length = struct.unpack("<i", start)[0] if len(start) == 4 else 0
            if not 5 <= length <= MAX_DOCUMENT:
                raise UserError(f"{where}: damaged or no BSON (a length of {length}); get the file again")
            content = start + file.read(length - 4)
            n_read += length
            if len(content) < length:
                raise UserError(f"{where}: cut off; get the file again")
            try:
                document = _document(content, 0)[0]
            except (struct.error, IndexError, ValueError, KeyError, UnicodeDecodeError):
                raise UserError(f"{where}: damaged BSON; get the file again") from None
            pictures = list(_pictures(document))
            if not pictures:
                raise UserError(f"{where}: holds no picture; found {', '.join(document)[:80]}")
            columns = {key: str(value) for key, value in document.items() if not isinstance(value, (dict, list, bytes))}
            own = columns.get("_id", str(number))
            for i, picture in enumerate(pictures):
                yield Record(picture, columns, n_read, name=f"{own}_{i}" if len(pictures) > 1 else own)


def _pictures(value: Any) -> Iterator[bytes]:
    """Yield the binary values in a document, in their order."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _pictures(item)


def _document(content: bytes, start: int) -> tuple[dict[str, Any], int]:
    """Return a document and where it ends."""
    end = start + struct.unpack_from("<i", content, start)[0] - 1
    if not start + 4 <= end < len(content) or content[end]:
        raise ValueError("wrong length")
    document: dict[str, Any] = {}
    position = start + 4
    while position < end:
        kind = content[position]
        name_end = content.index(0, position + 1)
        name = content[position + 1 : name_end].decode()
        document[name], position = _value(kind, content, name_end + 1)
    return document, end + 1


def _value(kind: int, content: bytes, at: int) -> tuple[Any, int]:
    """Return a value and where it ends."""
    if kind in FIXED:
        return struct.unpack_from(FIXED[kind], content, at)[0], at + struct.calcsize(FIXED[kind])
    if kind == 0x03:
        return _document(content, at)
    if kind == 0x04:
        items, end = _document(content, at)
        return list(items.values()), end
    if kind in (0x02, 0x0D, 0x0E):
        end = at + 4 + struct.unpack_from("<i", content, at)[0]
        return content[at + 4 : end - 1].decode(), end
    if kind == 0x05:
        end = at + 5 + struct.unpack_from("<i", content, at)[0]
        if not at + 5 <= end <= len(content):
            raise ValueError("wrong length")
        return content[at + 5 : end], end
    if kind == 0x07:
        return content[at : at + 12].hex(), at + 12
    if kind == 0x08:
        return bool(content[at]), at + 1
    if kind in (0x06, 0x0A):
        return None, at
    raise KeyError(kind)
