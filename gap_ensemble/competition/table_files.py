"""The tables of a competition as text: CSV, and JSON in the shapes that competitions ship.

{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 7}], "categories": …}
[{"id": "a", "label": 1}, …]
{"a.jpg": "cat", …}
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.storage.tables import read_any_table

# A list of so many numbers is a picture.
MIN_PIXELS = 64


@dataclass
class TableFile:
    """A table, read.

    Attributes
    ----------
    name : str
        The file, relative to the raw folder.
    table : DataFrame
        Every value as text.
    label_columns : list of str or None
        The only columns that can be labels, where the format says which; None where any may be.
    pixels : bool
        True where the rows hold pictures themselves.
    """

    name: str
    table: pd.DataFrame
    label_columns: list[str] | None = None
    pixels: bool = False


def read_table_file(raw: Path, name: str) -> TableFile | None:
    """Read a CSV, TSV or JSON file; None for JSON that is no table.

    Raises
    ------
    UserError
        If it is not readable.
    """
    path = raw / name
    if not name.lower().endswith(".json"):
        table = read_any_table(path).drop(columns="", errors="ignore")  # Without a name, pandas wrote the row numbers.
        n_numbered = sum(column.lower().strip("pixel_").isdigit() for column in table.columns)
        wide = n_numbered >= MIN_PIXELS and n_numbered * 2 > len(table.columns)
        return TableFile(name, table, pixels=wide or any(map(_is_pixels, table.iloc[0] if len(table) else [])))
    try:
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:  # Names of herbaria in the encoding of older systems.
            text = data.decode("latin-1")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not readable as JSON: {one_line(error)}; fix it, or move it away if it is none of the "
            "competition's"
        ) from None
    return _from_json(name, content)


def _from_json(name: str, content: Any) -> TableFile | None:
    if isinstance(content, dict) and _is_records(content.get("images")):
        return _from_annotations(name, content)
    if isinstance(content, dict) and content and all(not isinstance(value, dict | list) for value in content.values()):
        return TableFile(name, pd.DataFrame({"name": content.keys(), "value": map(_text, content.values())}, dtype=str))
    if isinstance(content, dict) and content and all(isinstance(value, dict) for value in content.values()):
        content = [{"name": key, **value} for key, value in content.items()]
    if not _is_records(content):
        return None
    first = content[0]
    pixels = any(isinstance(value, list) and len(value) >= MIN_PIXELS for value in first.values())
    return TableFile(name, _table(content), pixels=pixels)


def _from_annotations(name: str, content: dict[str, Any]) -> TableFile:
    """Join images, annotations and categories, as COCO and the competitions of FGVC write them."""
    images = _table(content["images"])
    image_id = next((key for key in ("id", "image_id", "imageId") if key in images), images.columns[0])
    if not _is_records(content.get("annotations")):
        return TableFile(name, images, [])
    annotations = _table(content["annotations"])
    key = next((key for key in ("image_id", "imageId", "id") if key in annotations), annotations.columns[0])
    of_categories = [
        column for column in annotations if column in ("category_id", "label_id", "labelId", "category", "label")
    ]
    labels = list(of_categories)
    if _is_records(content.get("categories")):
        categories = _table(content["categories"])
        number = next((column for column in ("id", "category_id") if column in categories), None)
        called = next((column for column in ("name", "scientificName") if column in categories), None)
        if number and called and "category_id" in annotations:
            names = dict(zip(categories[number], categories[called], strict=True))
            annotations["category_name"] = [names.get(value, "") for value in annotations["category_id"]]
            labels.append("category_name")
    annotations = annotations.drop(columns=[c for c in annotations if c != key and c in images])
    joined = images.rename(columns={image_id: "image_id"}).merge(
        annotations.rename(columns={key: "image_id"}), on="image_id", how="inner"
    )
    return TableFile(name, joined, labels)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value[:100])


def _table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a table of text of records; lists of texts and numbers are joined by spaces, what is nested is left out."""
    columns = dict.fromkeys(key for row in records[:1000] for key in row)
    columns = {
        key: None
        for key in columns
        if not any(isinstance(row.get(key), dict) or _is_long(row.get(key)) for row in records[:1000])
    }
    return pd.DataFrame({key: [_text(row.get(key)) for row in records] for key in columns}, dtype=str)


def _is_pixels(value: str) -> bool:
    """Tell whether a text is a picture: many numbers."""
    return value.count(" ") >= MIN_PIXELS and value.replace(" ", "").isdigit()


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and (len(value) >= MIN_PIXELS or any(isinstance(v, dict | list) for v in value))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_text(part) for part in value)
    return "" if value is None else str(value).strip()
