"""What was found in a competition's files, and how it is written down for the later stages.

    data/competition.json        the task, the form of the submission, how the pictures of a row are pooled
    data/rows.csv                a row for each thing that is predicted: row, split, pictures, group, targets, features
    data/sample_submission.csv   the sample as plain UTF-8 with commas

`find.py` fills these in; nothing here reads a competition's own files.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import COMPETITION, ROWS, SAMPLE
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.tables import write_table

Kind = Literal["classes", "labels", "grades", "numbers"]
Form = Literal[
    "probability",
    "probabilities",
    "class",
    "class_confidence",
    "guesses",
    "hard",
    "labels",
    "indicators",
    "grade",
    "numbers",
    "long",
]
Pooling = Literal["mean", "max", "side_by_side"]

# Columns of `Found.rows` whose names begin so hold features that come from a table.
FEATURE = "feature:"


@dataclass(frozen=True)
class TaskDescription:
    """What is predicted.

    Attributes
    ----------
    kind : str
        `classes`: one of several; `labels`: any number of several; `grades`: one of ordered whole numbers; `numbers`.
    names : list of str
        The classes, sorted; the labels, in the order of the sample's columns or sorted; the grades, in order; the
        target columns.
    labels_from : str
        Where the targets come from, for people.
    metric : str
        What submissions are scored by, resolved: never `auto`.
    separator : str
        Between the labels in one field: a space, or `|` where labels hold spaces.
    """

    kind: Kind
    names: list[str]
    labels_from: str
    metric: str
    separator: str = " "


@dataclass(frozen=True)
class Submission:
    """The form of a submission.

    Attributes
    ----------
    form : str
        `probability`: one column, the probability of `positive_class`; `probabilities`: a column a class or label,
        by its name; `class`: the name of the class; `class_confidence`: name and probability in one field; `guesses`:
        `n_guesses` names in one field, the best first; `hard`: 1 for `positive_class`, else 0; `labels`: several
        labels in one field; `indicators`: a column of 0 and 1 a label; `grade`: a whole number; `numbers`: a column a
        target; `long`: a row for every pair of row and label, and the label's probability.
    columns : list of str
        The sample's columns.
    positive_class : str or None
        The class that a single column of probabilities, or of 0 and 1, means.
    n_guesses : int
        Names in one field of the form `guesses`.
    id_template : str
        How the form `long` writes an id: `{row}_{label}`; empty for the others.
    id_column : str
        The column of the ids: the first, unless it says otherwise.
    """

    form: Form
    columns: list[str]
    positive_class: str | None = None
    n_guesses: int = 1
    id_template: str = ""
    id_column: str = ""

    def __post_init__(self) -> None:
        if not self.id_column:
            object.__setattr__(self, "id_column", self.columns[0])

    @property
    def value_columns(self) -> list[str]:
        """The sample's columns but the ids, in order."""
        return [name for name in self.columns if name != self.id_column]


@dataclass(frozen=True)
class Competition:
    """What `data/competition.json` holds.

    Attributes
    ----------
    task : TaskDescription
    submission : Submission or None
        None where the competition's files hold no sample submission: then everything up to the scores runs.
    pooling : str
        How the features of several pictures of a row become one vector: `mean`, `max` or `side_by_side`.
    slots : list of str
        For `side_by_side`: the places, in order (`red`, `green`, …). Empty where every row has one picture, and for
        the other ways.
    """

    task: TaskDescription
    submission: Submission | None
    pooling: Pooling = "mean"
    slots: list[str] = field(default_factory=list)


@dataclass
class Found:
    """The files of a competition, before any picture was opened.

    Attributes
    ----------
    competition : Competition
    pictures : DataFrame with columns file, split, id, slot
        A row a picture, training pictures first, every value as text. `file` is relative to the raw folder, `id` is the
        `row` of `rows` that it belongs to, `slot` its place among the pictures of that row (empty where places are
        not told apart). A picture that belongs to several rows stands once for each.
    rows : DataFrame with columns row, split, pictures, group, and targets
        A row for each thing that is predicted. `row` is unique within its split: the table's id or the file for
        training rows, the sample's id for test rows. `pictures` is their number. `group` is empty where there is none.
        `target` holds a class, a grade or labels joined by the task's separator; `target_0`, `target_1`, … hold
        numbers. Targets of test rows are empty. `feature:NAME` holds the column NAME of a table. Text, but `pictures`.
    sample : DataFrame
        The sample submission, every value as text; without columns where there is none.
    warnings : list of str
        A line each: what was guessed, and what was left unread.
    """

    competition: Competition
    pictures: pd.DataFrame
    rows: pd.DataFrame
    sample: pd.DataFrame
    warnings: list[str] = field(default_factory=list)

    @property
    def task(self) -> TaskDescription:
        """What is predicted."""
        return self.competition.task

    @property
    def submission(self) -> Submission | None:
        """The form of the submission."""
        return self.competition.submission


def target_columns(task: TaskDescription) -> list[str]:
    """Return the columns of `Found.rows` that hold the targets."""
    return [f"target_{i}" for i in range(len(task.names))] if task.kind == "numbers" else ["target"]


def write_competition(found: Found) -> None:
    """Write `data/competition.json`, `data/rows.csv` and `data/sample_submission.csv`, each whole or not at all."""
    write_text(COMPETITION, json.dumps(asdict(found.competition), indent=2, ensure_ascii=False) + "\n")
    write_table(ROWS, found.rows)
    write_table(SAMPLE, found.sample)


def read_competition(path: Path = COMPETITION) -> Competition:
    """Read `data/competition.json`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro`")
    values = json.loads(path.read_text(encoding="utf-8"))
    submission = values["submission"] and Submission(**values["submission"])
    return Competition(**{**values, "task": TaskDescription(**values["task"]), "submission": submission})


def read_rows(path: Path = ROWS) -> pd.DataFrame:
    """Read `data/rows.csv`, every value as text, but `pictures` as a whole number."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro`")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return rows.astype({"pictures": int})
