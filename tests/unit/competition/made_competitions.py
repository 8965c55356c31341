"""Raw folders of empty pictures and small tables: `find_competition` opens no picture."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gap_ensemble.competition.find import find_competition
from gap_ensemble.competition.found import Found
from gap_ensemble.params import Data

Tables = Mapping[str, str | bytes]


def made(folder: Path, files: Iterable[str], tables: Tables) -> Path:
    """Make a raw folder."""
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for name, text in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def found(folder: Path, files: Iterable[str], tables: Tables, **data: Any) -> Found:
    """Make a raw folder and read it with these parameters of the section data."""
    return find_competition(made(folder, files, tables), Data(raw="raw", **data))


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    """Write a CSV file: the header, and a line a row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *rows])
    return text.getvalue()


def target_of(result: Found) -> dict[str, str]:
    """Return the target of every training row; several numbers joined by spaces."""
    rows = result.rows[result.rows["split"] == "train"]
    names = [name for name in rows if name.startswith("target")]
    return dict(zip(rows["row"], rows[names].agg(" ".join, axis=1), strict=True))


def target_of_files(result: Found) -> dict[str, str]:
    """Return the target of every training picture."""
    targets = target_of(result)
    pictures = result.pictures[result.pictures["split"] == "train"]
    return {file: targets[row] for file, row in zip(pictures["file"], pictures["id"], strict=True)}


def id_of(result: Found) -> dict[str, str]:
    """Return the row of every test picture."""
    pictures = result.pictures[result.pictures["split"] == "test"]
    return dict(zip(pictures["file"], pictures["id"], strict=True))


def group_of(result: Found) -> dict[str, str]:
    """Return the group of every training row."""
    rows = result.rows[result.rows["split"] == "train"]
    return dict(zip(rows["row"], rows["group"], strict=True))


def warned(result: Found, *words: str) -> bool:
    """Tell whether one warning holds all of these words."""
    return any(all(word in warning for word in words) for warning in result.warnings)
