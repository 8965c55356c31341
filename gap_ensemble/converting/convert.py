"""From containers of pixels to a folder such as competitions ship: pictures, tables, sample submission."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gap_ensemble.competition.sample_submission import is_sample
from gap_ensemble.converting import bson, csv_pixels, hdf5, json_arrays, tfrecord
from gap_ensemble.converting.record import Record, pixels_of_bands
from gap_ensemble.images.grey import GreyRange, Scale, find_grey_scale
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.messages.progress import Progress
from gap_ensemble.storage.tables import read_table, write_table
from gap_ensemble.unpacking.placing import move_in

READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "csv": csv_pixels.read,
    "json": json_arrays.read,
    "bson": bson.read,
    "tfrecord": tfrecord.read,
    "hdf5": hdf5.read,
}
SUFFIXES = {
    "csv": (".csv",),
    "json": (".json", ".jsonl"),
    "bson": (".bson",),
    "tfrecord": (".tfrec", ".tfrecord", ".tfrecords"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
}
PARTIAL = ".convert-partial"
PICTURE_FORMATS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif"}
NAME = "\0name"  # of a picture, in a row whose columns may have any other name
# Columns that name a picture, before a number of our own does.
ID_COLUMNS = ("id", "image_id", "imageid", "image", "image_name", "_id")


@dataclass(frozen=True)
class Source:
    """A file to convert, and which pictures it holds."""

    path: Path
    format: str
    split: str  # "train" or "test"


def convert(wanted: str, inputs: list[Path], to: Path) -> None:
    """Write the pictures of containers to `to/train` and `to/test`, with train.csv and the sample submission.

    Parameters
    ----------
    wanted : str
        A key of `READERS`, or "auto".
    inputs : list of Path
        Files, or folders of them.
    to : Path
        Where to write. Nothing appears there until all is written.

    Raises
    ------
    UserError
        If nothing is found to convert, an input is damaged, or something is in the way in `to`.
    """
    sources, tables = find_sources(wanted, inputs)
    in_the_way = [to / name for name in ("train", "test", *(table.name for table in tables)) if (to / name).exists()]
    in_the_way += [to / "train.csv"] if (to / "train.csv").exists() and to / "train.csv" not in in_the_way else []
    if in_the_way:
        raise UserError(
            f"{listed(in_the_way)}: there already, and not overwritten; give another folder with --to, or move it away"
        )
    sample = next((table for table in tables if is_sample(table.name)), None)
    id_column = read_table(sample).columns[0] if sample else "id"
    partial = to / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "train").mkdir(parents=True)
        scale = _scale_of(sources)
        rows = _write_pictures(sources, partial, id_column, scale)
        for table in tables:
            shutil.copyfile(table, partial / table.name)
        for split, split_rows in rows.items():
            _write_rows(split, split_rows, partial)
        move_in(partial, to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    counts = ", ".join(f"{len(table):,} {split} pictures" for split, table in rows.items())
    print(f"{to}: {counts}{f'; values {scale} became black to white' if scale else ''}. Next: dvc repro")


def find_sources(wanted: str, inputs: list[Path]) -> tuple[list[Source], list[Path]]:
    """Find what there is to convert, and the tables to copy.

    Raises
    ------
    UserError
        If there is nothing, or more than one format.
    """
    absent = [path for path in inputs if not path.exists()]
    if absent:
        raise UserError(f"{path}: no such file or folder; check the path" for path in absent)
    files = [(path.parent, path) for path in inputs if path.is_file()]
    for folder in (path for path in inputs if path.is_dir()):
        files += [(folder, path) for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    found: dict[str, list[Source]] = {}
    tables = []
    for root, path in files:
        kind = next((kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)
        if kind == "csv" and (is_sample(path.name) or not csv_pixels.is_pixel_table(path)):
            tables.append(path)
        elif kind and wanted in ("auto", kind):
            found.setdefault(kind, []).append(Source(path, kind, _split_of(path.relative_to(root))))
    if wanted == "auto" and len(found) > 1:
        raise UserError(
            f"{listed(inputs)}: found {' and '.join(found)} files; say which to convert instead of auto: "
            f"{', '.join(found)}"
        )
    if not found:
        kinds = listed((suffix for suffixes in SUFFIXES.values() for suffix in suffixes), 20)
        raise UserError(
            f"{listed(inputs)}: found nothing to convert{'' if wanted == 'auto' else f' as {wanted}'}; expected files "
            f"of {kinds} that hold pixels or pictures"
        )
    for folder in {path.parent for path in inputs if path.is_file()}:
        tables += [path for path in sorted(folder.glob("*.csv")) if is_sample(path.name) and path not in tables]
    return next(iter(found.values())), tables


def _split_of(path: Path) -> str:
    """Tell training from test pictures by the names of the file and its folders."""
    return "test" if re.search(r"(^|[^a-z])(\w*_)?test", path.as_posix().lower()) else "train"


def _pixels(record: Record) -> np.ndarray | None:
    """Return the pixels of a record; None of a picture file."""
    if isinstance(record.picture, bytes):
        return None
    values = record.picture
    return pixels_of_bands(values) if values.ndim == 3 and values.shape[2] != 3 else values


def _scale_of(sources: list[Source]) -> Scale | None:
    """Find the one scale of all arrays; the picture files among the formats need none."""
    if all(source.format in ("bson", "tfrecord") for source in sources):
        return None
    low, high, is_float = np.inf, -np.inf, False
    for record in _records(sources, "Finding the range"):
        values = _pixels(record)
        if values is None or values.dtype == np.uint8:
            continue
        if not np.isfinite(values).all():
            raise UserError(f"{sources[0].path.parent}: a picture holds values that are no finite numbers; correct it")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        is_float = is_float or not (values == np.floor(values)).all()
    if high < low:
        return None
    if low < 0:  # Decibels and the like: what is there becomes black to white.
        return Scale(low, max(high, low + 1))
    return find_grey_scale({str(sources[0].path): GreyRange(low, high, "float" if is_float else "integer")})


def _records(sources: list[Source], label: str) -> Iterator[Record]:
    """Yield the records of all sources, with progress in megabytes."""
    total = sum(source.path.stat().st_size for source in sources)
    done = 0
    with Progress(max(1, total >> 20), label, "MB") as progress:
        for source in sources:
            for record in READERS[source.format](source.path):
                now = (done + record.n_read) >> 20
                if now > progress.done:
                    progress.add(min(now, total >> 20) - progress.done)
                yield record
            done += source.path.stat().st_size
        progress.add(progress.total - progress.done)


def _write_pictures(
    sources: list[Source], partial: Path, id_column: str, scale: Scale | None
) -> dict[str, list[dict[str, str]]]:
    """Write every picture, and return the rows of the tables."""
    rows: dict[str, list[dict[str, str]]] = {}
    names: dict[str, set[str]] = {}
    for split in ("train", "test"):
        own = [source for source in sources if source.split == split]
        for record in _records(own, f"Writing {split}") if own else ():
            table, taken = rows.setdefault(split, []), names.setdefault(split, set())
            # Numbers count from 1, as sample submissions do; a training picture's must not look like a test picture's.
            by_column = next((record.columns[key] for key in record.columns if key.lower() in ID_COLUMNS), None)
            name = record.name or by_column or (f"train_{len(table) + 1}" if split == "train" else str(len(table) + 1))
            if not re.fullmatch(r"[^/\\\0]{1,200}", name) or name.startswith(".") or name in taken:
                found = "a second picture of this name" if name in taken else "no name for a file"
                raise UserError(
                    f"{own[0].path.parent}: {split} picture {len(table) + 1}: {name!r}: {found}; correct it"
                )
            taken.add(name)
            content, suffix = _encoded(record, scale, name)
            folder = partial / split
            folder.mkdir(exist_ok=True)
            (folder / (name if name.lower().endswith(f".{suffix}") else f"{name}.{suffix}")).write_bytes(content)
            table.append({NAME: name, **record.columns})
    return {split: _with_ids(table, id_column) for split, table in rows.items()}


def _with_ids(rows: list[dict[str, str]], id_column: str) -> list[dict[str, str]]:
    """Give the pictures' names the sample submission's column of ids, unless that holds something else here."""
    if any(row.get(id_column, row[NAME]) != row[NAME] for row in rows):
        id_column = "image"  # Several pictures of one id.
    return [{id_column: row[NAME], **{k: v for k, v in row.items() if k not in (NAME, id_column)}} for row in rows]


def _encoded(record: Record, scale: Scale | None, name: str) -> tuple[bytes, str]:
    """Return a picture file's content and suffix: picture files stay as they are, pixels become PNG."""
    values = _pixels(record)
    if values is None:
        assert isinstance(record.picture, bytes)
        try:
            with Image.open(io.BytesIO(record.picture)) as image:
                return record.picture, PICTURE_FORMATS.get(str(image.format), str(image.format).lower())
        except Exception:  # Pillow raises almost anything; whether it decodes, stage link says.
            raise UserError(
                f"{name}: found no picture file but {record.picture[:12]!r}…; expected JPEG or PNG"
            ) from None
    file = io.BytesIO()
    pixels = values if values.dtype == np.uint8 or scale is None else scale.apply(values)
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue(), "png"


def _write_rows(split: str, rows: list[dict[str, str]], partial: Path) -> None:
    """Write a split's table, unless the competition has one of this name or the test pictures have no columns."""
    table = pd.DataFrame(rows, dtype=str).fillna("")
    path = partial / f"{split}.csv"
    if path.exists():
        print(f"{path.name} is the competition's own; columns {listed(table.columns)} of the container are left out")
    elif len(table.columns) > 1:
        write_table(path, table)
