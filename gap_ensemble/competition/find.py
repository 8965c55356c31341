"""`find_competition`: read what a competition's folder holds, without opening the pictures.

    found = find_competition(Path("data/raw"), params.data)

In this order: list the files (`tree.py`), read the tables and choose the sample submission (`reading.py`), tell
training from test pictures (`splits.py`), find the pictures of every id (`sample_rows.py`), what the training rows are
(`training_rows.py`), the form of the submission (`form.py`), groups, pooling and columns. Everything that was guessed
or left unread becomes a warning.
"""

from pathlib import Path

import pandas as pd

from gap_ensemble.competition.attributes import Attributes
from gap_ensemble.competition.doubtful_labels import doubtful_labels
from gap_ensemble.competition.feature_columns import read_columns
from gap_ensemble.competition.form import doubts_of_metric, read_form, resolve_metric
from gap_ensemble.competition.found import FEATURE, Competition, Found, Submission, TaskDescription, target_columns
from gap_ensemble.competition.groups import hint, read_groups
from gap_ensemble.competition.pooling import Files, read_pooling
from gap_ensemble.competition.reading import Reading, read_sample, read_splits, read_tables
from gap_ensemble.competition.sample_rows import read_test_rows, tables_of_test
from gap_ensemble.competition.sample_submission import is_sample
from gap_ensemble.competition.splits import below
from gap_ensemble.competition.targets import Target, may_be_grades
from gap_ensemble.competition.training_rows import read_training_rows
from gap_ensemble.competition.tree import read_tree
from gap_ensemble.messages.copies import advice_in_copy
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.params import Data


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
            f"{raw}: no such folder (data.raw); "
            + (
                advice_in_copy()
                or "put the competition's files there, or set data.raw in params.yaml to the folder that holds train/, "
                "test/ and sample_submission.csv"
            )
        )
    reading = Reading(read_tree(raw), data)
    read_tables(reading)
    read_sample(reading)
    read_splits(reading)
    read_test_rows(reading)
    n_problems = len(reading.problems)
    target, tables = read_training_rows(reading)
    # What is wrong with the training pictures comes first.
    reading.problems = reading.problems[n_problems:] + reading.problems[:n_problems]
    reading.warnings += doubtful_labels(target)
    submission, metric = _form(reading, target)
    if reading.problems:
        raise UserError(reading.problems)

    train, test = _training_files(target), _test_files(reading)
    columns = Attributes(tables), Attributes(tables_of_test(reading))
    group_of = _groups(reading, target, train, columns[0])
    pooling, slots, place_of = read_pooling(reading, train, test, columns)
    features = read_columns(reading, target, (train, test), columns)
    separator = target.separator if target.kind == "labels" else " "
    task = TaskDescription(target.kind, target.names, target.source, metric, separator)
    rows = {"row": [*train, *test], "split": ["train"] * len(train) + ["test"] * len(test)}
    targets = [target.values[row] for row in train] + [("",) * len(target_columns(task))] * len(test)
    return Found(
        Competition(task, submission, pooling, slots),
        _pictures(train, test, place_of),
        pd.DataFrame(
            rows
            | {"pictures": [len(files) for files in [*train.values(), *test.values()]]}
            | {"group": [*(group_of.get(row, "") for row in train), *[""] * len(test)]}
            | {name: [values[i] for values in targets] for i, name in enumerate(target_columns(task))}
            | {f"{FEATURE}{name}": values for name, values in features.items()}
        ).astype(dict.fromkeys(("row", "split", "group", *target_columns(task)), str)),
        reading.sample.table if reading.sample else pd.DataFrame(),
        [*reading.warnings, *_unread(reading, target)],
    )


def _form(reading: Reading, target: Target) -> tuple[Submission | None, str]:
    """Read the form of the submission and the metric; problems are added to those that are there."""
    if target.kind != "numbers" and len(target.names) < 2:
        return None, ""
    try:
        submission = None
        if reading.sample is not None:
            path = str(reading.raw / reading.sample.name)
            submission, warnings = read_form(path, reading.sample, target, reading.data)
            reading.warnings += warnings
        metric = resolve_metric(submission, target, reading.data)
        if reading.sample is not None and submission is not None and reading.data.metric != "auto":
            reading.warnings += doubts_of_metric(path, reading.sample, submission, target, metric)
    except UserError as error:
        reading.problems += error.problems
        return None, ""
    if target.kind == "classes" and reading.data.task == reading.data.metric == "auto" and may_be_grades(target):
        reading.warnings.append(
            f"{target.source}: the classes {listed(target.names, 12)} are taken for names; set data.task: grades if "
            "they are ordered, data.task: numbers if they are measured"
        )
    return submission, metric


def _training_files(target: Target) -> Files:
    """Return the pictures of every training row that has a target, in the order of their first picture."""
    if target.rows is None:
        return {file: [(file, "")] for file in target.values}
    files_of = {row: sorted(files) for row, files in target.rows.files_of.items() if row in target.values}
    return dict(sorted(files_of.items(), key=lambda pair: pair[1][0][0]))


def _test_files(reading: Reading) -> Files:
    """Return the pictures of every id of the sample, in its order."""
    if reading.test is None or reading.sample is None:
        return {}
    return {row: sorted(reading.test.files_of.get(row, [])) for row in reading.sample.ids}


def _groups(reading: Reading, target: Target, train: Files, columns: Attributes) -> dict[str, str]:
    """Return the group of every training row, or warn of what looks like a group."""
    if reading.data.groups is not None:
        group_of = read_groups(reading.data.groups, columns, reading.splits.train)
        found = {
            row: next((group_of[file] for file, _ in files if file in group_of), "") for row, files in train.items()
        }
        if alone := [row for row, group in found.items() if not group]:
            reading.warnings.append(
                f"params.yaml: data.groups: {len(alone):,} of {len(found):,} training rows are in no group (such as "
                f"{listed(alone)}), and each counts as one of its own; if some belong together, let the column or the "
                "pattern say so, as in (person\\d+|IM-\\d+)"
            )
        return found
    first = {files[0][0]: row for row, files in train.items()}
    text = hint(columns, list(first), {file: target.values[row] for file, row in first.items()})
    reading.warnings += [text] if text else []
    return {}


def _pictures(train: Files, test: Files, place_of: dict[str, str]) -> pd.DataFrame:
    every = [
        (file, split, row)
        for split, rows in (("train", train), ("test", test))
        for row in rows
        for file, _ in rows[row]
    ]
    values = [(*picture, place_of.get(picture[0], "")) for picture in every]
    return pd.DataFrame(values, columns=["file", "split", "id", "slot"], dtype=str)


def _unread(reading: Reading, target: Target) -> list[str]:
    """Name what nothing was read from."""
    raw, tree, warnings = reading.raw, reading.tree, []
    folders = reading.splits.unread
    if folders:
        n = len(below(tree.pictures, list(folders))) + sum(name in folders for name in tree.pictures)
        shown = [f"{name} ({reason})" if reason else name for name, reason in sorted(folders.items())]
        warnings.append(
            f"{raw}: {n:,} pictures are left unread: {listed(shown, 10)}; data.train and data.test may name "
            "their folders"
        )
    others = {file.name for file in reading.tables if not is_sample(file.name)} - reading.read
    others |= {problem.partition(":")[0].removeprefix(f"{raw}/") for problem in reading.broken}
    others |= {f"{name}/" for name in tree.unread}
    if others:
        warnings.append(
            f"{raw}: tables that are left unread: {listed(sorted(others), 10)}; the labels are from {target.source}, "
            "and data.labels may name another"
        )
    if tree.containers:
        warnings.append(
            f"{raw}: left unread: {listed(tree.containers, 3)}; `python -m tools.convert` takes pictures out of such "
            "files"
        )
    if tree.unreadable:
        warnings.append(f"{raw}: left unread, since this user may not read them: {listed(tree.unreadable)}")
    return warnings
