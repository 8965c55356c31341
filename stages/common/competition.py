"""A competition as its files describe it: pictures, labels, and the form of the submission.

`find_competition` reads a folder as Kaggle ships it; the link stage writes what it found to `data/`:

    data/manifest.csv            one row a picture: file, split, class, id, md5, problem
    data/competition.json        class names, where the labels came from, the form of the submission
    data/sample_submission.csv   the sample as plain UTF-8 with commas

Labels come from a table (`labels.csv`, `train.csv`: a column of ids and one of classes), from a folder a class
(`train/c0/1.jpg`), or from the start of the file name (`train/cat.0.jpg`).
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from stages.common.errors import UserError, listed, one_line
from stages.common.files import atomic_path, write_text
from stages.common.params import Data
from stages.common.paths import COMPETITION, MANIFEST, SAMPLE

# Folder names that Kaggle's competitions use; `test1` is that of the 2013 edition of dogs vs cats.
TRAIN_FOLDERS = ("train", "train_images", "train-images", "training", "training_images")
TEST_FOLDERS = ("test", "test1", "test_images", "test-images", "testing", "test_set")
IGNORED = {".ds_store", "thumbs.db", "desktop.ini"}
PICTURE_SUFFIX = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|jfif)$", re.IGNORECASE)
# `cat.0`, `tabby_cat-12`: a class that holds a letter, a separator and a number.
PREFIXED = re.compile(r"^(?P<class>.*[^\W\d].*?)[._-](?P<number>\d+)$")

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
    problems: list[str] = field(default_factory=list)


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
    train_folder, test_folder = _picture_folder(raw, TRAIN_FOLDERS), _picture_folder(raw, TEST_FOLDERS)
    train_files, test_files = _files(raw, train_folder), _files(raw, test_folder)
    problems = []
    for split, files, names in (("training", train_files, TRAIN_FOLDERS), ("test", test_files, TEST_FOLDERS)):
        if not files:
            problems.append(f"{raw}: no {split} pictures; expected in {raw / names[0]}/{_zip_hint(raw)}")
    sample_path = _sample_path(raw)
    if isinstance(sample_path, str):
        problems.append(sample_path)
    if problems:
        raise UserError(problems)
    assert isinstance(sample_path, Path)
    assert train_folder is not None

    sample = read_table(sample_path)
    labels = _find_labels(raw, train_folder, train_files, sample_path, sample, data)
    problems = labels.problems
    class_names = sorted(set(labels.class_of.values()))
    if len(class_names) < 2:
        found = f"only class {class_names[0]!r}" if class_names else "no class"
        problems.append(f"{raw / train_folder}: found {found}; at least two classes with pictures are needed")
    folders = [entry.name for entry in (raw / train_folder).iterdir() if entry.is_dir()]
    if labels.source == "folders":
        for name in sorted(set(folders) - set(class_names)):
            problems.append(f"{raw / train_folder / name}: a class without pictures; fill the folder or remove it")

    test_ids, id_problems = _match_ids(sample_path, sample, test_files)
    problems += id_problems
    submission = _submission(sample_path, sample, class_names, data)
    if isinstance(submission, list):
        problems += submission
    if problems:
        raise UserError(problems)
    assert isinstance(submission, Submission)

    rows = [(file, "train", labels.class_of[file], picture_stem(file)) for file in train_files]
    rows += [(file, "test", "", test_ids[file]) for file in test_files]
    pictures = pd.DataFrame(rows, columns=["file", "split", "class", "id"], dtype=str)
    return Found(Competition(class_names, labels.source, submission), pictures, sample)


def picture_stem(file: str) -> str:
    """Return a picture's name without folder and suffix: `train/cat.0.jpg` becomes `cat.0`."""
    return PICTURE_SUFFIX.sub("", PurePosixPath(file).name)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as text: any of comma, semicolon and tab, with or without a byte-order mark.

    Raises
    ------
    UserError
        If the file is empty or can't be read as a table of two columns or more.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.splitlines()[0] if text.strip() else ""
        separator = max(",;\t", key=header.count)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as a table: {one_line(error)}; expected CSV in UTF-8") from None
    if len(table.columns) < 2 or table.empty:
        raise UserError(
            f"{path}: found {len(table):,} rows and {len(table.columns)} columns; expected an id column and at least "
            "one more, separated by commas, semicolons or tabs"
        )
    table.columns = table.columns.str.strip()
    return table.apply(lambda column: column.str.strip())


def _picture_folder(raw: Path, names: tuple[str, ...]) -> PurePosixPath | None:
    """Find the one folder of a split, at the top of the raw folder or one level below it."""
    found: list[PurePosixPath] = []
    for pattern in ("*", "*/*"):
        # Two levels only, and never into the picture folders themselves, which may hold a million files.
        tops = (
            [raw]
            if pattern == "*"
            else [top for top in raw.iterdir() if top.is_dir() and top.name.lower() not in TRAIN_FOLDERS + TEST_FOLDERS]
        )
        for top in tops:
            for name in names:
                found += [
                    PurePosixPath((top / actual).relative_to(raw))
                    for actual in dict.fromkeys((name, name.capitalize(), name.upper()))
                    if (top / actual).is_dir()
                ]
        if found:
            break
    if len(found) > 1:
        raise UserError(
            f"{raw}: found {listed(found)}; only one folder of these pictures is expected: move the others away, or "
            "point data.raw at a folder that holds one"
        )
    return found[0] if found else None


def _files(raw: Path, folder: PurePosixPath | None) -> list[str]:
    """List every file below a folder, seen from `raw`, sorted; hidden files and the systems' own are left out."""
    if folder is None:
        return []
    files = []
    for path in (raw / folder).rglob("*"):
        relative = path.relative_to(raw)
        hidden = any(part.startswith((".", "__MACOSX")) for part in relative.parts)
        if not hidden and path.name.lower() not in IGNORED and not path.is_dir():
            files.append(relative.as_posix())
    return sorted(files)


def _zip_hint(raw: Path) -> str:
    zips = sorted(path.name for path in raw.glob("*.zip"))
    return (
        f"; {listed(zips)} is not unpacked: run `python -m tools.raw unpack --to {raw}`"
        if zips
        else ("; put the competition's files there, or run `python -m tools.raw download COMPETITION`")
    )


def _sample_path(raw: Path) -> Path | str:
    """Find the sample submission, or say what is wrong."""
    found = sorted(
        path
        for pattern in ("*.csv", "*/*.csv")
        for path in raw.glob(pattern)
        if re.sub("[^a-z]", "", path.stem.lower()).startswith("samplesub")
    )
    if len(found) == 1:
        return found[0]
    if not found:
        return f"{raw}: no sample_submission.csv (or sampleSubmission.csv); put the competition's own there"
    return f"{raw}: found {listed(found)}; one sample submission is expected: move the others away"


def _find_labels(
    raw: Path, train_folder: PurePosixPath, train_files: list[str], sample_path: Path, sample: pd.DataFrame, data: Data
) -> _Labels:
    """Choose where the labels come from, or raise for none or several that differ."""
    if data.labels == "prefix":
        candidates = [_prefix_labels(train_files)]
    elif data.labels == "folders":
        candidates = [_folder_labels(train_folder, train_files)]
    elif data.labels != "auto":
        name, _, column = data.labels.partition(":")
        if not (raw / name).is_file():
            raise UserError(
                f"params.yaml: data.labels: found {data.labels!r}, but there is no file {raw / name}; accepted: auto, "
                "prefix, folders, or a table in data.raw as FILE or FILE:CLASS_COLUMN"
            )
        candidates = _table_labels(raw, raw / name, train_files, column or None)
        if not candidates:
            raise UserError(
                f"{raw / name}: no column{f' {column!r}' if column else ''} of classes beside one of training ids; "
                f"columns: {listed(read_table(raw / name).columns)}; set data.labels to FILE:CLASS_COLUMN"
            )
    else:
        tables = [path for pattern in ("*.csv", "*/*.csv") for path in sorted(raw.glob(pattern)) if path != sample_path]
        candidates = [labels for table in tables for labels in _table_labels(raw, table, train_files, None)]
        candidates += [
            labels
            for labels in (_folder_labels(train_folder, train_files), _prefix_labels(train_files))
            # Half of the pictures are enough to take a way for meant; the other half is then reported by name.
            if len(labels.class_of) * 2 >= len(train_files) and len(set(labels.class_of.values())) > 1
        ]
        # The columns of the sample settle it where they are classes.
        by_columns = [labels for labels in candidates if set(labels.class_of.values()) == set(sample.columns[1:])]
        candidates = by_columns or candidates

    different = [labels for i, labels in enumerate(candidates) if labels.class_of != candidates[0].class_of or i == 0]
    if len(different) > 1:
        sources = ", ".join(f"{labels.source} ({len(set(labels.class_of.values())):,} classes)" for labels in different)
        raise UserError(
            f"{raw}: the labels are ambiguous: {sources}; say which in params.yaml, data.labels: prefix, folders, "
            "FILE or FILE:CLASS_COLUMN"
        )
    # Without any sign of another way, the file names are expected to hold the class.
    labels = candidates[0] if candidates else _prefix_labels(train_files)
    unlabelled = [file for file in train_files if file not in labels.class_of]
    if unlabelled:
        how = {
            "prefix": "has no class in its name (expected: cat.0.jpg)",
            "folders": f"lies in no class folder (expected: {train_folder}/CLASS/{PurePosixPath(unlabelled[0]).name})",
        }.get(labels.source, f"has no row in {labels.source}")
        labels.problems += [f"{raw / file}: {how}; label it or move it away" for file in unlabelled]
    return labels


def _prefix_labels(files: list[str]) -> _Labels:
    matches = ((file, PREFIXED.match(picture_stem(file))) for file in files)
    return _Labels("prefix", {file: match["class"] for file, match in matches if match})


def _folder_labels(train_folder: PurePosixPath, files: list[str]) -> _Labels:
    """Label by the first folder below the training folder, unless folders are cut from the start of the names."""
    depth = len(train_folder.parts)
    class_of = {}
    for file in files:
        parts = PurePosixPath(file).parts[depth:-1]
        # `0/3/f/03fa….jpg`: folders that only spread a million files.
        if parts and not picture_stem(file).startswith("".join(parts)):
            class_of[file] = parts[0]
    return _Labels("folders", class_of)


def _table_labels(raw: Path, table_path: Path, train_files: list[str], column: str | None) -> list[_Labels]:
    """Read the ways in which a table can label the training pictures: one for each column that may be the class."""
    table = read_table(table_path)
    best, key_of = 0, {}
    id_column = ""
    for key in (picture_stem, _name, _path_without_suffix, str):
        file_of = {key(file): file for file in train_files}
        for name in table.columns:
            n_matches = int(table[name].isin(file_of).sum())
            if n_matches > best:
                best, id_column, key_of = n_matches, name, file_of
    if best * 2 < min(len(train_files), len(table)):
        return []
    columns = [name for name in table.columns if name != id_column] if column is None else [column]
    if column is not None and column not in table.columns:
        return []
    found = []
    for name in columns:
        # A column in which every picture has a value of its own (an address, a hash) is no class.
        if column is None and len(columns) > 1 and table[name].nunique() in (1, len(table)):
            continue
        found.append(_labels_of_column(raw, table_path, table, id_column, name, key_of))
    return found


def _labels_of_column(
    raw: Path, table_path: Path, table: pd.DataFrame, id_column: str, column: str, file_of: dict[str, str]
) -> _Labels:
    labels = _Labels(f"{table_path.relative_to(raw).as_posix()}:{column}", {})
    problems = labels.problems
    for identifier in table[id_column][table[column] == ""]:
        problems.append(f"{table_path}: {id_column} {identifier!r} has an empty {column}; fill it in or remove the row")
    pairs = table[[id_column, column]].drop_duplicates()
    for identifier in pairs[id_column][pairs[id_column].duplicated()].unique():
        several = pairs[column][pairs[id_column] == identifier]
        problems.append(f"{table_path}: {id_column} {identifier!r} has several classes: {listed(several)}; keep one")
    for identifier in pairs[id_column][~pairs[id_column].isin(file_of)]:
        problems.append(f"{table_path}: {id_column} {identifier!r} has no training picture; add it or remove the row")
    labels.class_of = {
        file_of[identifier]: label
        for identifier, label in zip(pairs[id_column], pairs[column], strict=True)
        if identifier in file_of
    }
    return labels


def _name(file: str) -> str:
    return PurePosixPath(file).name


def _path_without_suffix(file: str) -> str:
    """Drop the split's folder and the suffix: `train/a/b.jpg` becomes `a/b`."""
    return PICTURE_SUFFIX.sub("", "/".join(PurePosixPath(file).parts[1:]))


def _match_ids(sample_path: Path, sample: pd.DataFrame, test_files: list[str]) -> tuple[dict[str, str], list[str]]:
    """Give every test picture its id in the sample submission: by name, never by position."""
    id_column = sample.columns[0]
    ids = set(sample[id_column])
    keys: tuple[Callable[[str], str], ...] = (picture_stem, _name, _path_without_suffix, str)
    key = max(keys, key=lambda key: len(ids & {key(file) for file in test_files}))
    problems = [
        f"{sample_path}: {id_column} {identifier!r} stands {count} times; keep one row"
        for identifier, count in Counter(sample[id_column]).items()
        if count > 1
    ]
    files_of: dict[str, list[str]] = {}
    for file in test_files:
        files_of.setdefault(key(file), []).append(file)
    for identifier, files in files_of.items():
        if len(files) > 1:
            problems.append(
                f"{sample_path}: {id_column} {identifier!r} is claimed by {listed(files)}; keep one picture"
            )
        if identifier not in ids:
            problems.append(
                f"{files[0]}: a test picture without an id in {sample_path.name}; add a row or move it away"
            )
    for identifier in dict.fromkeys(sample[id_column]):
        if identifier not in files_of:
            problems.append(f"{sample_path}: {id_column} {identifier!r} has no picture among the test files; add it")
    return {file: key(file) for file in test_files}, problems


def _submission(sample_path: Path, sample: pd.DataFrame, class_names: list[str], data: Data) -> Submission | list[str]:
    """Read the form of the submission from the sample, or say what is wrong."""
    columns = list(sample.columns)
    if len(set(columns)) < len(columns):
        return [f"{sample_path}: a column stands twice among {listed(columns)}; each is expected once"]
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
    values = sample[columns[1]]
    if values.str.fullmatch(r"\S+ [0-9.eE+-]+").mean() > 0.5:
        return Submission("class_confidence", columns)
    names_a_class = values.isin(class_names).all() and not _is_number(values)
    if len(class_names) == 2 and not names_a_class:
        return Submission("probability", columns, data.positive_class or class_names[-1])
    return Submission("class", columns)


def _is_number(values: pd.Series) -> bool:
    return bool(pd.to_numeric(values, errors="coerce").notna().all())


def write_competition(found: Found) -> None:
    """Write `data/competition.json` and `data/sample_submission.csv`."""
    write_text(COMPETITION, json.dumps(asdict(found.competition), indent=2, ensure_ascii=False) + "\n")
    write_table(SAMPLE, found.sample)


def read_competition() -> Competition:
    """Read what `write_competition` wrote."""
    values = json.loads(COMPETITION.read_text(encoding="utf-8"))
    return Competition(**{**values, "submission": Submission(**values["submission"])})


def read_manifest() -> pd.DataFrame:
    """Read `data/manifest.csv`, every value as text."""
    return pd.read_csv(MANIFEST, dtype=str, keep_default_na=False)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in UTF-8 with commas and Unix line ends, whole or not at all."""
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
