"""A competition as its files describe it: pictures, labels, and the form of the submission.

`find_competition` reads a folder as Kaggle ships it; the link stage writes what it found to `data/`:

    data/manifest.csv            one row a picture: file, split, class, id, md5, problem
    data/competition.json        class names, where the labels came from, the form of the submission
    data/sample_submission.csv   the sample as plain UTF-8 with commas

Labels come from a table (`labels.csv`, `train.csv`: a column of ids and one of classes, or one column of 0 and 1 a
class), from a folder a class (`train/c0/1.jpg`), or from the start of the file name (`train/cat.0.jpg`). Where several
ways fit and the sample submission does not settle it, they are named and none is chosen.

Pictures lie in a training and a test folder, or together: then the ids of the sample submission say which are the test.
"""

import csv
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from stages.common.errors import UserError, listed, one_line
from stages.common.files import atomic_path, write_text
from stages.common.params import Data
from stages.common.paths import COMPETITION, MANIFEST, SAMPLE

# train, train_images, test1, test_stg1, stage1_train, test-jpg: the names that Kaggle's competitions use.
SPLIT_FOLDER = r"(stage\d[-_])?{}(ing)?[-_ ]?(images?|imgs?|jpe?gs?|pngs?|set|data|stg|stage)?[-_ ]?\d*"
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
PICTURE_SUFFIX = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|jfif)$", re.IGNORECASE)
# `cat.0`, `tabby_cat-12`: a class that holds a letter, a separator and a number.
PREFIXED = re.compile(r"^(?P<class>.*[^\W\d_].*?)[._-](?P<number>\d+)$")

SubmissionKind = Literal["probability", "probabilities", "class", "class_confidence"]


@dataclass(frozen=True)
class Submission:
    """The form of a submission.

    Attributes
    ----------
    kind : str
        `probability`: one column, the probability of `positive_class`; `probabilities`: one column a class, by the
        class's name; `class`: the name of the class; `class_confidence`: name and probability in one field.
    columns : list of str
        The sample's columns, the first of them the id.
    positive_class : str or None
        The class that one column of probabilities means.
    """

    kind: SubmissionKind
    columns: list[str]
    positive_class: str | None = None


@dataclass(frozen=True)
class Competition:
    """What the pictures and tables of a competition say.

    Attributes
    ----------
    class_names : list of str
        In the order of the labels in feature files: sorted.
    labels_from : str
        Where the labels come from, for people.
    submission : Submission
    """

    class_names: list[str]
    labels_from: str
    submission: Submission


@dataclass
class Found:
    """The pictures of a competition, before any was opened.

    Attributes
    ----------
    competition : Competition
    pictures : DataFrame with columns file, split, class, id
        One row a picture, training pictures first; `file` is seen from the raw folder, `id` is the submission's.
    sample : DataFrame
        The sample submission, every value as text.
    """

    competition: Competition
    pictures: pd.DataFrame
    sample: pd.DataFrame


@dataclass
class _Labels:
    """One way to label the training pictures: a class for some or all of their files."""

    source: str
    class_of: dict[str, str]
    column: str = ""
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.class_names = sorted(set(self.class_of.values()) - {""})


class _Pictures:
    """Pictures, found by the ids that tables give them.

    An id is the end of the picture's path, with or without its suffix: `1`, `1.jpg`, `a/1`, `train/a/1.jpg` all mean
    `train/a/1.JPG`. It is compared as text, so that `01` is not `1`.
    """

    def __init__(self, files: list[str]):
        self.files = files
        self.depth = max((file.count("/") for file in files), default=0) + 1
        self._indexes: dict[int, tuple[dict[str, str], dict[str, list[str]]]] = {}

    def match(self, ids: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return the picture of each id that means one, and the pictures of each id that means several."""
        file_of, several_of = {}, {}
        for identifier in ids:
            n_parts = identifier.count("/") + 1
            if n_parts > self.depth:
                continue
            one, several = self._index(n_parts)
            tail = _without_suffix(identifier)
            files = several.get(tail) or ([one[tail]] if tail in one else [])
            if len(files) > 1:  # The id `1` means both of `1.jpg` and `1.png`, but `1.png` means one.
                files = [file for file in files if file.endswith(identifier)] or files
            if len(files) == 1:
                file_of[identifier] = files[0]
            elif files:
                several_of[identifier] = files
        return file_of, several_of

    def _index(self, n_parts: int) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Index the files by the last parts of their paths, those that share them apart."""
        if n_parts not in self._indexes:
            one: dict[str, str] = {}
            several: dict[str, list[str]] = {}
            for file in self.files:
                tail = _without_suffix("/".join(file.rsplit("/", n_parts)[-n_parts:]))
                if one.setdefault(tail, file) != file:
                    several.setdefault(tail, [one[tail]]).append(file)
            self._indexes[n_parts] = one, several
        return self._indexes[n_parts]


def find_competition(raw: Path, data: Data) -> Found:
    """Read what a competition's folder holds, without opening the pictures.

    Parameters
    ----------
    raw : Path
        The folder, as Kaggle ships it and unpacked.
    data : Data
        The section `data` of params.yaml.

    Returns
    -------
    Found

    Raises
    ------
    UserError
        With a line for everything that is missing, double, ambiguous or contradictory.
    """
    if not raw.is_dir():
        raise UserError(
            f"{raw}: no such folder (data.raw); put the competition's files there, or set data.raw in params.yaml to "
            "the folder that holds train/, test/ and sample_submission.csv"
        )
    tables = _tables(raw)
    train_files, test_files, sample_path = _inputs(raw, tables)
    sample = read_table(sample_path)
    id_of, problems = _match_sample(sample_path, sample, test_files)
    others = [file for file in test_files if file not in id_of]
    together = not train_files
    if together:
        train_files, test_files = others, [file for file in test_files if file in id_of]
    elif id_of:
        problems += [
            f"{raw / file}: a test picture without an id in {sample_path.name}; add a row or move it away"
            for file in others
        ]
    if not train_files:
        problems.append(f"{raw}: every picture is a test picture of {sample_path.name}; put those to train in train/")
    if not train_files or not id_of:
        raise UserError(problems)

    labels = _find_labels(raw, tables, train_files, sample, data)
    problems = labels.problems + _odd_classes(raw, labels) + problems
    if together and data.labels == "auto" and labels.source in ("prefix", "folders"):
        # The test pictures may be missing, and training pictures have their names.
        problems.append(f"{raw}: no folders train/ and test/; make them, or a table of the training pictures")
    submission = _submission(sample_path, sample, labels.class_names, data)
    if isinstance(submission, list):
        problems += submission if len(labels.class_names) > 1 else []
    if problems or isinstance(submission, list):
        raise UserError(problems)
    pictures = pd.DataFrame(
        {
            "file": train_files + test_files,
            "split": ["train"] * len(train_files) + ["test"] * len(test_files),
            "class": [labels.class_of[file] for file in train_files] + [""] * len(test_files),
            "id": [picture_stem(file) for file in train_files] + [id_of[file] for file in test_files],
        },
        dtype=str,
    )
    return Found(Competition(labels.class_names, labels.source, submission), pictures, sample)


def _inputs(raw: Path, tables: list[Path]) -> tuple[list[str], list[str], Path]:
    """Find the training pictures, the test pictures and the sample submission, or say all that is missing.

    Without a training and a test folder, every picture is among the test pictures.
    """
    train_folder, test_folder = _split_folder(raw, "train"), _split_folder(raw, "test")
    train_files, test_files = _files(raw, train_folder), _files(raw, test_folder)
    if train_folder is None and test_folder is None:
        test_files = [file for file in _files(raw, PurePosixPath()) if PICTURE_SUFFIX.search(file)]
    problems = []
    if not train_files and not (train_folder is None and test_folder is None and test_files):
        problems.append(f"{raw}: no training pictures; expected in {raw / 'train'}/{_zip_hint(raw)}")
    if not test_files:
        problems.append(f"{raw}: no test pictures; expected in {raw / 'test'}/{_zip_hint(raw)}")
    samples = [path for path in tables if _is_sample(path)]
    if not samples:
        problems.append(f"{raw}: no sample_submission.csv (or sampleSubmission.csv); put the competition's own there")
    elif len(samples) > 1:
        problems.append(f"{raw}: found {listed(samples)}; one sample submission is expected: move the others away")
    if problems:
        raise UserError(problems)
    return train_files, test_files, samples[0]


def picture_stem(file: str) -> str:
    """Return a picture's name without folder and suffix: `train/cat.0.jpg` becomes `cat.0`."""
    return PICTURE_SUFFIX.sub("", file.rpartition("/")[2])


def _without_suffix(name: str) -> str:
    """Return what is compared of an id and of a path; composed, since macOS takes `é` apart in file names."""
    return _composed(PICTURE_SUFFIX.sub("", name))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as text: any of comma, semicolon and tab, with or without a byte-order mark.

    Raises
    ------
    UserError
        If the file can't be read as a table of two columns or more, every row as long as the header.
    """
    table = _read_table(path)
    if len(table.columns) < 2 or table.empty:
        raise UserError(
            f"{path}: found {len(table):,} rows and {len(table.columns)} columns; expected an id column and at least "
            "one more, separated by commas, semicolons or tabs"
        )
    return table


def _read_table(path: Path) -> pd.DataFrame:
    # Not pandas.read_csv: it shifts the columns where rows are longer than the header.
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            # The first one outside of quotes: names of classes may hold the others.
            separator = next((letter for letter in re.sub('"[^"]*"', "", first) if letter in ",;\t"), ",")
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            header = [name.strip() for name in next((row for row in rows if "".join(row).strip()), [])]
            while header and not header[-1]:
                header.pop()
            columns: list[list[str]] = [[] for _ in header]
            for row in rows:
                values = [value.strip() for value in row]
                if not any(values):
                    continue
                if len(values) < len(header) or any(values[len(header) :]):  # Separators at the end are no values.
                    raise UserError(
                        f"{path}: line {rows.line_num} holds {len(row)} values and the header {len(header)}; expected "
                        "as many in every row, and quotes around a value that holds the separator; mend the line"
                    )
                for column, value in zip(columns, values, strict=False):
                    column.append(value)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: not readable as a table: {one_line(error)}; expected CSV in UTF-8; save it so, or move it away "
            "if it is none of the competition's"
        ) from None
    double = [name for name, count in Counter(header).items() if count > 1]
    if double:
        raise UserError(f"{path}: column {listed(double)} stands more than once; keep one of each")
    return pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=str)


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if not _hidden(entry.name) and entry.is_dir())


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _split_folder(raw: Path, word: str) -> PurePosixPath | None:
    """Find the one folder of a split, at the top of the raw folder or one level below it."""
    tops = _folders(raw)
    # Two levels only, and never into the picture folders themselves.
    below = [f"{top}/{name}" for top in tops if not _is_split(top) for name in _folders(raw / top)]
    for paths in (tops, below):
        found = [path for path in paths if _is_split(path.rpartition("/")[2], word)]
        if len(found) > 1:
            raise UserError(
                f"{raw}: found {listed(found)}; only one folder of {word} pictures is expected: move the others away, "
                "or point data.raw at a folder that holds one"
            )
        if found:
            return PurePosixPath(found[0])
    return None


def _is_split(name: str, word: str = "(train|test)") -> bool:
    return bool(re.fullmatch(SPLIT_FOLDER.format(word), name, re.IGNORECASE))


def _files(raw: Path, folder: PurePosixPath | None) -> list[str]:
    """List every file below a folder but tables, seen from `raw`, sorted; hidden ones are left out."""
    if folder is None:
        return []

    def refuse(error: OSError) -> None:
        raise error

    files = []
    for path, folders, names in os.walk(raw / folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not _hidden(name)]
        # Not a Path a file: there may be a million.
        start = os.path.relpath(path, raw).replace(os.sep, "/") + "/"
        start = "" if start == "./" else start
        files += [start + name for name in names if not _hidden(name) and not name.lower().endswith(".csv")]
    odd = [ascii(file) for file in files if re.search("[\ud800-\udfff]", file)]
    if odd:
        raise UserError(f"{raw}: file names that are not UTF-8: {listed(odd)}; rename them")
    return sorted(files)


def _tables(raw: Path) -> list[Path]:
    """List the CSV files in the raw folder and one level below it."""
    return [
        folder / name
        for folder in [raw, *(raw / name for name in _folders(raw))]
        for name in sorted(os.listdir(folder))
        if name.lower().endswith(".csv") and not _hidden(name)
    ]


def _is_sample(path: Path) -> bool:
    return "samplesub" in re.sub("[^a-z]", "", path.stem.lower())


def _zip_hint(raw: Path) -> str:
    zips = sorted(path.name for path in raw.glob("*.zip"))
    return (
        f"; {listed(zips)} is not unpacked: run `python -m tools.raw unpack --to {raw}`"
        if zips
        else ("; put the competition's files there, or run `python -m tools.raw download COMPETITION`")
    )


def _match_sample(sample_path: Path, sample: pd.DataFrame, files: list[str]) -> tuple[dict[str, str], list[str]]:
    """Give every test picture its id in the sample submission: by name, never by position."""
    name = sample.columns[0]
    counts = Counter(sample[name])
    file_of, several_of = _Pictures(files).match(counts)
    if not file_of and not several_of:
        example = next(iter(counts))
        return {}, [
            f"{sample_path}: no {name} is the name of a test picture: found {example!r}, and pictures like {files[0]}; "
            "expected the same names in both, and pictures in train/ and test/"
        ]
    problems = [f"{sample_path}: {name} {i!r} stands {n} times; keep one row" for i, n in counts.items() if n > 1]
    problems += [
        f"{sample_path}: {name} {i!r} is claimed by {listed(claimed)}; keep one picture"
        for i, claimed in several_of.items()
    ]
    problems += [
        f"{sample_path}: {name} {i!r} has no picture among the test files; add it or remove the row"
        for i in counts
        if i not in file_of and i not in several_of
    ]
    id_of: dict[str, str] = {}
    for i, file in file_of.items():
        if id_of.setdefault(file, i) != i:
            problems.append(f"{sample_path}: {name} {id_of[file]!r} and {i!r} both mean {file}; keep one row")
    # These pictures are not without an id, too.
    id_of |= {file: i for i, claimed in several_of.items() for file in claimed}
    return id_of, problems


def _find_labels(raw: Path, tables: list[Path], files: list[str], sample: pd.DataFrame, data: Data) -> _Labels:
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
        candidates = _table_labels(raw / name, name, _Pictures(files), sample, column)
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


def _all_labels(raw: Path, tables: list[Path], files: list[str], sample: pd.DataFrame) -> list[_Labels]:
    """Return the ways in which half of the pictures and more can be labelled; the rest is then reported by name."""
    pictures = _Pictures(files)
    candidates = [
        labels
        for path in tables
        # Tables of test pictures, and submissions that were written here, hold no labels.
        if not re.match("test", path.stem, re.IGNORECASE) and "submission" not in path.stem.lower()
        if not _is_sample(path)
        for labels in _table_labels(path, path.relative_to(raw).as_posix(), pictures, sample)
    ]
    # A single class is none, unless a folder of another is empty.
    in_paths = (_folder_labels(raw, files), _prefix_labels(files))
    candidates += [labels for labels in in_paths if len(labels.class_names) > 1 or labels.problems]
    candidates = [labels for labels in candidates if len(labels.class_of) * 2 >= len(files)]
    if not candidates:
        names = [path.name for path in tables if not _is_sample(path)]
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
    values = [value for value in sample.iloc[:, 1].unique() if not _is_number(value)]
    named = {*values, *(value.rpartition(" ")[0] for value in values)}
    return int(column == sample.columns[1] or not class_names.isdisjoint(named))


def _prefix_labels(files: list[str]) -> _Labels:
    matches = ((file, PREFIXED.match(picture_stem(file))) for file in files)
    return _Labels("prefix", {file: _composed(match["class"]) for file, match in matches if match})


def _folder_labels(raw: Path, files: list[str]) -> _Labels:
    """Label by the first folder below the one that holds all pictures: `train/`, `train/train/`, `imgs/train/`."""
    # The files are sorted: what the first and the last have in common, all have.
    base = os.path.commonpath([os.path.dirname(files[0]), os.path.dirname(files[-1])])
    if not _is_split(os.path.basename(base)) and all(os.path.dirname(file) == base for file in files):
        base = os.path.dirname(base)  # A single class.
    class_of = {}
    for file in files:
        *folders, name = file[len(base) :].lstrip("/").split("/")
        # `0/3/f/03fa….jpg`: folders that only spread a million files.
        if folders and not (len(folders) > 1 and name.startswith("".join(folders))):
            class_of[file] = _composed(folders[0].strip())
    labels = _Labels("folders", class_of)
    if class_of:
        empty = [name for name in _folders(raw / base) if _composed(name.strip()) not in labels.class_names]
        labels.problems = [
            f"{raw / base / name}: a class without pictures; fill the folder or remove it" for name in empty
        ]
    return labels


def _table_labels(
    path: Path, source: str, pictures: _Pictures, sample: pd.DataFrame, column: str = ""
) -> list[_Labels]:
    """Read the ways in which a table can label the training pictures: one for each column that may be the class."""
    table = _read_table(path).drop(columns="", errors="ignore")  # Without a name, pandas wrote the row numbers.
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


def _id_column(path: Path, table: pd.DataFrame, pictures: _Pictures, sample_id: str) -> str | None:
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
        accident = best == sample_id and all(_is_number(value) for value in table[rival].unique())
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
    path: Path, source: str, ids: pd.Series, classes: pd.Series, pictures: _Pictures, problems: list[str]
) -> _Labels:
    """Label the pictures that `ids` mean by `classes`, and list what contradicts."""
    file_of, several_of = pictures.match(ids.unique())
    class_of: dict[str, str] = {}
    double: dict[str, list[str]] = {}
    for identifier, label in dict.fromkeys(zip(ids, map(_composed, classes), strict=True)):
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
    return _Labels(source, class_of, str(classes.name), problems)


def _odd_classes(raw: Path, labels: _Labels) -> list[str]:
    """Say what is wrong with the classes themselves."""
    names = labels.class_names
    problems = [
        f"{raw}: the class {name!r} (from {labels.source}) can't be the name of a folder; rename it"
        for name in names
        if name in (".", "..") or re.search(r"[\x00-\x1f]", name)
    ]
    if len(names) < 2:
        found = f"only class {names[0]!r}" if names else "no class"
        problems.append(f"{raw}: found {found} (from {labels.source}); at least two classes with pictures are needed")
    return problems


def _submission(sample_path: Path, sample: pd.DataFrame, class_names: list[str], data: Data) -> Submission | list[str]:
    """Read the form of the submission from the sample, or say what is wrong."""
    columns = list(sample.columns)
    if data.positive_class is not None and data.positive_class not in class_names:
        return [
            f"params.yaml: data.positive_class: found {data.positive_class!r}; accepted: one of "
            f"{listed(class_names, 10)}"
        ]
    if len(columns) > 2:
        without_pictures, without_column = set(columns[1:]) - set(class_names), set(class_names) - set(columns[1:])
        problems = []
        if without_pictures:
            problems.append(
                f"{sample_path}: a class without pictures: column {listed(sorted(without_pictures))} has none in the "
                "training set; add pictures or drop the column"
            )
        if without_column:
            problems.append(
                f"{sample_path}: no column for class {listed(sorted(without_column))} of the training pictures; "
                "expected the id and one column a class"
            )
        return problems or Submission("probabilities", columns)
    return _one_column(sample_path, columns, set(sample[columns[1]]) - {""}, class_names, data.positive_class)


def _one_column(
    sample_path: Path, columns: list[str], values: set[str], class_names: list[str], positive_class: str | None
) -> Submission | list[str]:
    """Read what the sample's only column means from its values."""
    names = set(class_names)
    # 0 and 1 are probabilities, though the classes be called so; but of classes 1 and 2, a 1 is the class.
    a_class = values <= names and positive_class is None and not all(_is_number(name, 1) for name in names)
    if len(names) == 2 and values and not a_class and all(_is_number(value, 1) for value in values):
        # A column that is called like a class is that class's.
        called = [name for name in class_names if name.casefold() == columns[1].casefold()]
        return Submission("probability", columns, positive_class or (called or class_names)[-1])
    # An empty column says nothing; with more classes than two, one a row is by far the most common form.
    if values <= names and (values or len(names) > 2):
        return Submission("class", columns)
    parts = [value.rpartition(" ") for value in values]
    confident = bool(values) and all(name and _is_number(confidence, 1) for name, _, confidence in parts)
    named = {name for name, _, _ in parts} if confident else values
    odd = sorted(named - names)
    if confident and not odd:
        return Submission("class_confidence", columns)
    return [
        f"{sample_path}: {columns[1]}: found {listed(map(repr, odd)) or 'no value'} beside the classes "
        f"{listed(class_names)}; accepted: a probability of one of two classes (0.5), one class of the training "
        "pictures, or one such class and its confidence (cat 0.9); mend the values, or label pictures of the class"
    ]


def _is_number(text: str, high: float = np.inf) -> bool:
    try:
        return 0 <= float(text) <= high
    except ValueError:
        return False


def write_competition(found: Found) -> None:
    """Write `data/competition.json` and `data/sample_submission.csv`."""
    write_text(COMPETITION, json.dumps(asdict(found.competition), indent=2, ensure_ascii=False) + "\n")
    write_table(SAMPLE, found.sample)


def read_competition() -> Competition:
    """Read what `write_competition` wrote."""
    if not COMPETITION.is_file():
        raise UserError(f"{COMPETITION}: no such file; run `dvc repro`")
    values = json.loads(COMPETITION.read_text(encoding="utf-8"))
    return Competition(**{**values, "submission": Submission(**values["submission"])})


def read_manifest() -> pd.DataFrame:
    """Read `data/manifest.csv`, every value as text."""
    if not MANIFEST.is_file():
        raise UserError(f"{MANIFEST}: no such file; run `dvc repro`")
    return pd.read_csv(MANIFEST, dtype=str, keep_default_na=False)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in UTF-8 with commas and Unix line ends, whole or not at all."""
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
