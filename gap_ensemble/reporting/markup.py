"""Pieces of HTML: tables whose columns sort, and pictures with captions that filters find."""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, and its HTML."""

    title: str
    content: str


@dataclass(frozen=True)
class Figure:
    """A picture and what stands below it.

    Attributes
    ----------
    jpeg : bytes
    caption : str
        Lines of text.
    groups : tuple of str
        What the filter finds it by: its class, or its labels.
    fold : int
        0 where there is none.
    extra : bool
        Shown only while a filter is on.
    """

    jpeg: bytes
    caption: str
    groups: tuple[str, ...] = ()
    fold: int = 0
    extra: bool = False


def image(content: bytes, kind: str) -> str:
    """Return a picture whose bytes stand in the page itself."""
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'


def figures(shown: Iterable[Figure]) -> str:
    """Return pictures side by side."""
    return f'<div class="pictures">{"".join(map(_figure, shown))}</div>'


def _figure(figure: Figure) -> str:
    caption = html.escape(figure.caption).replace("\n", "<br>")
    found_by = f' data-groups="{html.escape(chr(9).join(figure.groups))}" data-fold="{figure.fold}"'
    hidden = ' class="extra" hidden' if figure.extra else ""
    attributes = (found_by if figure.fold else "") + hidden
    return f"<figure{attributes}>{image(figure.jpeg, 'jpeg')}<figcaption>{caption}</figcaption></figure>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], sortable: bool = True) -> str:
    """Return a table; floats get four digits and whole numbers commas. A click on a heading sorts by it."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "<td></td>" if math.isnan(value) else f'<td data-value="{value:.9g}">{value:.4f}</td>'
    if isinstance(value, int):
        return f'<td data-value="{value}">{value:,}</td>'
    return f"<td>{html.escape(str(value))}</td>"


def heat_table(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix: truth down, submitted across, darker the larger its share of the row."""
    lines = []
    for name, row in zip(names, counts, strict=True):
        total = max(sum(row), 1)
        cells = "".join(f'<td style="background:rgba(31,119,180,{n / total:.2f})">{n:,}</td>' for n in row)
        lines.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return f'<table class="heat"><tr><th>truth ↓ submitted →</th>{head}</tr>{"".join(lines)}</table>'
