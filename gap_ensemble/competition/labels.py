"""Where the labels of the training pictures come from.

A table (`labels.csv`, `train.csv`: a column of ids and one of classes, or one column of 0 and 1 a class), a folder a
class (`train/c0/1.jpg`), or the start of the file name (`train/cat.0.jpg`). Where several ways fit and the sample
submission does not settle it, they are named and none is chosen.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.competition.folders import Pictures, composed, folders_in, is_sample, is_split, picture_stem
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.params import Data
from gap_ensemble.storage.tables import read_any_table, read_table

# `cat.0`, `tabby_cat-12`: a class that holds a letter, a separator and a number.
PREFIXED = re.compile(r"^(?P<class>.*[^\W\d_].*?)[._-](?P<number>\d+)$")


@dataclass
class Labels:
    """One way to label the training pictures: a class for some or all of their files."""

    source: str
    class_of: dict[str, str]
    column: str = ""
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.class_names = sorted(set(self.class_of.values()) - {""})


def find_labels(raw: Path, tables: list[Path], files: list[str], sample: pd.DataFrame, data: Data) -> Labels:
    """Choose where the labels come from, or raise for none or several that differ."""
    if data.labels == "prefix":
        candidates = [_prefix_labels(files)]
    elif data.labels == "folders":
        candidates = [_folder_labels(raw, files)]
    elif data.labels != "auto":
        name, _, column = data.labels.partition(":")
        if not (raw / name).is_file():
            raise UserError(
                f"params.yaml: data.labels: found {data.labels!r}, but there is no file {raw / name}; accepted: auto, "
                "prefix, folders, or a table in data.raw as FILE or FILE:CLASS_COLUMN"
            )
        candidates = _table_labels(raw / name, name, Pictures(files), sample, column)
        if not candidates:
            raise UserError(
                f"{raw / name}: no column{f' {column!r}' if column else ''} of classes beside one of training ids; "
                f"columns: {listed(read_table(raw / name).columns, 20)}; training pictures like {files[0]}; set "
                "data.labels to FILE:CLASS_COLUMN"
            )
    else:
        candidates = _all_labels(raw, tables, files, sample)
    # What the sample submission says of the classes settles it, if it says anything.
    fits = [_fit(set(labels.class_names), labels.column, sample) for labels in candidates]
    candidates = [labels for labels, fit in zip(candidates, fits, strict=True) if fit == max(fits)]
    chosen = max(candidates, key=lambda labels: len(labels.class_of))
    for other in candidates:
        for file, name in chosen.class_of.items():
            other_name = other.class_of.get(file) or name
            if name and other_name != name:
                sources = ", ".join(f"{labels.source} ({len(labels.class_names):,} classes)" for labels in candidates)
                raise UserError(
                    f"{raw}: the labels are ambiguous: {sources}; {file} is {name!r} or {other_name!r}; say which in "
                    "params.yaml, data.labels: prefix, folders, FILE or FILE:CLASS_COLUMN"
                )
    how = {
        "prefix": "has no class in its name (expected: cat.0.jpg)",
        "folders": "lies in no class folder (expected: CLASS/1.jpg)",
    }.get(chosen.source, f"has no row in {chosen.source}")
    chosen.problems += [
        f"{raw / file}: {how}; label it or move it away" for file in files if file not in chosen.class_of
    ]
    return chosen


def _all_labels(raw: Path, tables: list[Path], files: list[str], sample: pd.DataFrame) -> list[Labels]:
    """Return the ways in which half of the pictures and more can be labelled; the rest is then reported by name."""
    pictures = Pictures(files)
    candidates = [
        labels
        for path in tables
        # Tables of test pictures, and submissions that were written here, hold no labels.
        if not re.match("test", path.stem, re.IGNORECASE) and "submission" not in path.stem.lower()
        if not is_sample(path)
        for labels in _table_labels(path, path.relative_to(raw).as_posix(), pictures, sample)
    ]
    # A single class is none, unless a folder of another is empty.
    in_paths = (_folder_labels(raw, files), _prefix_labels(files))
    candidates += [labels for labels in in_paths if len(labels.class_names) > 1 or labels.problems]
    candidates = [labels for labels in candidates if len(labels.class_of) * 2 >= len(files)]
    if not candidates:
        names = [path.name for path in tables if not is_sample(path)]
        only = [f" (only {labels.class_names[0]!r} from {labels.source})" for labels in in_paths if labels.class_of]
        raise UserError(
            f"{raw}: found no two classes for pictures like {files[0]}{''.join(only[:1])}; accepted: a table that "
            f"names half of them or more and their classes (found: {listed(names) or 'none'}), a folder a class "
            "(train/cat/0.jpg), or the class in the name (train/cat.0.jpg)"
        )
    return candidates


def _fit(class_names: set[str], column: str, sample: pd.DataFrame) -> int:
    """Rate how classes fit the sample submission: 2 for all of its columns, 1 for some, or for its column's name."""
    shown = set(sample.columns[1:])
    if len(shown) > 1:
        return 2 if class_names == shown else int(not class_names.isdisjoint(shown))
    values = [value for value in sample.iloc[:, 1].unique() if not is_number(value)]
    named = {*values, *(value.rpartition(" ")[0] for value in values)}
    return int(column == sample.columns[1] or not class_names.isdisjoint(named))


def _prefix_labels(files: list[str]) -> Labels:
    matches = ((file, PREFIXED.match(picture_stem(file))) for file in files)
    return Labels("prefix", {file: composed(match["class"]) for file, match in matches if match})


def _folder_labels(raw: Path, files: list[str]) -> Labels:
    """Label by the first folder below the one that holds all pictures: `train/`, `train/train/`, `imgs/train/`."""
    # The files are sorted: what the first and the last have in common, all have.
    base = os.path.commonpath([os.path.dirname(files[0]), os.path.dirname(files[-1])])
    if not is_split(os.path.basename(base)) and all(os.path.dirname(file) == base for file in files):
        base = os.path.dirname(base)  # A single class.
    class_of = {}
    for file in files:
        *folders, name = file[len(base) :].lstrip("/").split("/")
        # `0/3/f/03fa….jpg`: folders that only spread a million files.
        if folders and not (len(folders) > 1 and name.startswith("".join(folders))):
            class_of[file] = composed(folders[0].strip())
    labels = Labels("folders", class_of)
    if class_of:
        empty = [name for name in folders_in(raw / base) if composed(name.strip()) not in labels.class_names]
        labels.problems = [
            f"{raw / base / name}: a class without pictures; fill the folder or remove it" for name in empty
        ]
    return labels


def _table_labels(path: Path, source: str, pictures: Pictures, sample: pd.DataFrame, column: str = "") -> list[Labels]:
    """Read the ways in which a table can label the training pictures: one for each column that may be the class."""
    table = read_any_table(path).drop(columns="", errors="ignore")  # Without a name, pandas wrote the row numbers.
    if len(table.columns) < 2 or column not in ["", *table.columns]:
        return []
    id_column = _id_column(path, table.drop(columns=column or []), pictures, sample.columns[0])
    if id_column is None:
        return []
    shown = list(sample.columns[1:])
    if not column and len(shown) > 1 and set(shown) <= set(table.columns):
        classes, problems = _one_hot(path, table, id_column, shown)
        return [_column_labels(path, f"{source}, one column a class", table[id_column], classes, pictures, problems)]
    columns = [column] if column else [name for name in table.columns if name != id_column]
    if len(columns) > 1:
        # What is the same in every row, or another in nearly every row (an address, a hash), is no class.
        most = 0.9 * len(table)
        columns = [
            name for name in columns if 1 < table[name].nunique() <= most or _fit(set(table[name]), name, sample)
        ]
    return [_column_labels(path, f"{source}:{name}", table[id_column], table[name], pictures, []) for name in columns]


def _id_column(path: Path, table: pd.DataFrame, pictures: Pictures, sample_id: str) -> str | None:
    """Return the column that names the training pictures.

    Numbers match by accident: a class `1` or a row number names the picture `1.jpg` as well. So the different pictures
    are counted, and a second column that names half as many must mean the same ones. Of two columns of numbers, the one
    that is called like the sample's ids is taken.
    """
    files_of: dict[str, list[str | None]] = {}
    for name in table.columns:
        one, several = pictures.match(table[name].unique())
        one |= {identifier: files[0] for identifier, files in several.items()}
        files_of[name] = [one.get(identifier) for identifier in table[name]] if one else []
    n_named = {name: len(set(files) - {None}) for name, files in files_of.items()}
    most = max(n_named.values())
    if not most:
        return None
    rivals = [name for name, n in n_named.items() if n * 2 >= most]
    best = sample_id if sample_id in rivals else max(rivals, key=n_named.__getitem__)
    for rival in rivals:
        accident = best == sample_id and all(is_number(value) for value in table[rival].unique())
        for file, other in zip(files_of[best], files_of[rival], strict=True):
            if file and other and file != other and not accident:
                raise UserError(
                    f"{path}: columns {best} and {rival} name two pictures in one row: {file} and {other}; remove "
                    "the column that does not name the picture"
                )
    return best


def _one_hot(path: Path, table: pd.DataFrame, id_column: str, names: list[str]) -> tuple[pd.Series, list[str]]:
    """Read the class of every row from one column of 0 and 1 a class; empty where it is not exactly one."""
    values = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    good = np.isin(values, (0, 1)).all(axis=1) & (values.sum(axis=1) == 1)
    problems = [
        f"{path}: {id_column} {table[id_column][row]!r} holds {listed(table.loc[row, names], 20)} in {listed(names)}; "
        "accepted: exactly one 1 a row and 0 in the other columns, or one column of classes"
        for row in np.flatnonzero(~good)
    ]
    return pd.Series(np.where(good, np.array(names, object)[values.argmax(axis=1)], ""), name=""), problems


def _column_labels(
    path: Path, source: str, ids: pd.Series, classes: pd.Series, pictures: Pictures, problems: list[str]
) -> Labels:
    """Label the pictures that `ids` mean by `classes`, and list what contradicts."""
    file_of, several_of = pictures.match(ids.unique())
    class_of: dict[str, str] = {}
    double: dict[str, list[str]] = {}
    for identifier, label in dict.fromkeys(zip(ids, map(composed, classes), strict=True)):
        named = f"{path}: {ids.name} {identifier!r}"
        if identifier in several_of:
            problems.append(f"{named} is claimed by {listed(several_of[identifier])}; keep one picture")
            class_of |= dict.fromkeys(several_of[identifier], label)
        elif identifier not in file_of:
            problems.append(f"{named} has no training picture; add it or remove the row")
        elif class_of.setdefault(file_of[identifier], label) != label:
            double.setdefault(identifier, [class_of[file_of[identifier]]]).append(label)
        if not label and classes.name:
            problems.append(f"{named} has an empty {classes.name}; fill it in or remove the row")
    problems += [
        f"{path}: {ids.name} {identifier!r} has several classes: {listed(map(repr, labels))}; keep one"
        for identifier, labels in double.items()
    ]
    return Labels(source, class_of, str(classes.name), problems)


def is_number(text: str, high: float = np.inf) -> bool:
    """Tell whether a text is a number from 0 to `high`."""
    try:
        return 0 <= float(text) <= high
    except ValueError:
        return False
