"""A competition as its files describe it: pictures, labels, and the form of the submission.

`find_competition` reads a folder as Kaggle ships it; the link stage writes what it found to `data/`:

    data/manifest.csv            one row a picture: file, split, class, id, md5, problem
    data/competition.json        class names, where the labels came from, the form of the submission
    data/sample_submission.csv   the sample as plain UTF-8 with commas

Pictures lie in a training and a test folder, or together: then the ids of the sample submission say which are the test.
"""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from gap_ensemble.competition.folders import (
    PICTURE_SUFFIX,
    Pictures,
    archive_hint,
    files_below,
    is_sample,
    picture_stem,
    split_folder,
    tables_in,
)
from gap_ensemble.competition.labels import Labels, find_labels, is_number
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.params import Data
from gap_ensemble.paths import COMPETITION, MANIFEST, SAMPLE
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.tables import read_table, write_table

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
    tables = tables_in(raw)
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

    labels = find_labels(raw, tables, train_files, sample, data)
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
    train_folder, test_folder = split_folder(raw, "train"), split_folder(raw, "test")
    train_files, test_files = files_below(raw, train_folder), files_below(raw, test_folder)
    if train_folder is None and test_folder is None:
        test_files = [file for file in files_below(raw, PurePosixPath()) if PICTURE_SUFFIX.search(file)]
    problems = []
    if not train_files and not (train_folder is None and test_folder is None and test_files):
        problems.append(f"{raw}: no training pictures; expected in {raw / 'train'}/{archive_hint(raw)}")
    if not test_files:
        problems.append(f"{raw}: no test pictures; expected in {raw / 'test'}/{archive_hint(raw)}")
    samples = [path for path in tables if is_sample(path)]
    if not samples:
        problems.append(f"{raw}: no sample_submission.csv (or sampleSubmission.csv); put the competition's own there")
    elif len(samples) > 1:
        problems.append(f"{raw}: found {listed(samples)}; one sample submission is expected: move the others away")
    if problems:
        raise UserError(problems)
    return train_files, test_files, samples[0]


def _match_sample(sample_path: Path, sample: pd.DataFrame, files: list[str]) -> tuple[dict[str, str], list[str]]:
    """Give every test picture its id in the sample submission: by name, never by position."""
    name = sample.columns[0]
    counts = Counter(sample[name])
    file_of, several_of = Pictures(files).match(counts)
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


def _odd_classes(raw: Path, labels: Labels) -> list[str]:
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
    a_class = values <= names and positive_class is None and not all(is_number(name, 1) for name in names)
    if len(names) == 2 and values and not a_class and all(is_number(value, 1) for value in values):
        # A column that is called like a class is that class's.
        called = [name for name in class_names if name.casefold() == columns[1].casefold()]
        return Submission("probability", columns, positive_class or (called or class_names)[-1])
    # An empty column says nothing; with more classes than two, one a row is by far the most common form.
    if values <= names and (values or len(names) > 2):
        return Submission("class", columns)
    parts = [value.rpartition(" ") for value in values]
    confident = bool(values) and all(name and is_number(confidence, 1) for name, _, confidence in parts)
    named = {name for name, _, _ in parts} if confident else values
    odd = sorted(named - names)
    if confident and not odd:
        return Submission("class_confidence", columns)
    return [
        f"{sample_path}: {columns[1]}: found {listed(map(repr, odd)) or 'no value'} beside the classes "
        f"{listed(class_names)}; accepted: a probability of one of two classes (0.5), one class of the training "
        "pictures, or one such class and its confidence (cat 0.9); mend the values, or label pictures of the class"
    ]


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


def whole_pictures(split: str) -> pd.DataFrame:
    """Return the manifest's rows of a split, `train` or `test`, without those left out as bad."""
    manifest = read_manifest()
    return manifest[(manifest["split"] == split) & (manifest["problem"] == "")]


def labels_of(pictures: pd.DataFrame, class_names: list[str]) -> np.ndarray:
    """Return the index of every picture's class in `class_names`, shape (n_pictures,), int32."""
    return pictures["class"].map({name: index for index, name in enumerate(class_names)}).to_numpy(np.int32)
