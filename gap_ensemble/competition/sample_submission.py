"""The sample submission: which table it is, what its ids are, and what form it shows."""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pandas as pd

from gap_ensemble.competition.table_files import TableFile

SAMPLE_NAME = re.compile(
    r"samplesub|sample.*submi|submi.*sample|sample.*solution|(example|random|naive|dummy|baseline).*submi"
    r"|submi.*(format|example|template)|benchmark|^sample$"
)


@dataclass
class Sample:
    """A sample submission.

    Attributes
    ----------
    name : str
        The file, relative to the raw folder.
    table : DataFrame
        Every value as text.
    id_column : str
    labels : list of str
        Of a sample with a row for every pair of row and label (`ID_9eae6a72d_epidural`): the labels. Else empty.
    """

    name: str
    table: pd.DataFrame
    id_column: str
    labels: list[str]

    @property
    def columns(self) -> list[str]:
        """The columns of values."""
        return [column for column in self.table.columns if column != self.id_column]

    @property
    def ids(self) -> list[str]:
        """The rows that are predicted: the ids, without the label where the sample is long."""
        ids = list(self.table[self.id_column])
        return list(dict.fromkeys(split_pair(i, self.labels)[0] for i in ids)) if self.labels else ids

    @property
    def values(self) -> list[str]:
        """The different values of the first column of values, without empty ones."""
        return [value for value in self.table[self.columns[0]].unique() if value]


def is_sample(name: str) -> bool:
    """Tell a sample submission by its name: sample_submission.csv, sampleSubmission_v2.csv, all_zeros_benchmark.csv."""
    if name.lower().endswith(".json"):
        return False
    return bool(SAMPLE_NAME.search(re.sub("[^a-z]", "", name.rpartition("/")[2].rpartition(".")[0].lower())))


def split_pair(identifier: str, labels: Collection[str] = ()) -> tuple[str, str]:
    """Split an id of a long sample: `ID_9eae6a72d_epidural` is the row `ID_9eae6a72d` and the label `epidural`.

    Labels that are known may hold the separator themselves: `1.2.826_patient_overall`.
    """
    if "_" not in identifier:
        return identifier, ""
    known = [label for label in labels if identifier.endswith(f"_{label}")]
    label = max(known, key=len) if known else identifier.rpartition("_")[2]
    return identifier[: len(identifier) - len(label) - 1], label


def long_labels(ids: list[str], columns: Collection[str]) -> list[str]:
    """Return the labels of ids that are pairs: every row stands with every label. Empty where they are none.

    Parameters
    ----------
    ids : list of str
    columns : collection of str
        Columns of tables, which may be labels.
    """
    endings = {identifier.rpartition("_")[2] for identifier in ids[:1000]}
    known = [column for column in columns if column.rpartition("_")[2] in endings]
    pairs = [split_pair(identifier, known) for identifier in ids]
    counts = Counter(label for _, label in pairs)
    n_rows = len({row for row, _ in pairs})
    whole = len(counts) > 1 and all(n == n_rows for n in counts.values()) and len(ids) == n_rows * len(counts)
    # Of one row alone, any ids that begin alike are pairs: then labels are words.
    return list(counts) if whole and (n_rows > 1 or all(not label.isdigit() for label in counts)) else []


@dataclass
class Known:
    """What the ids and labels of a sample may be: pictures, and values and columns of the other tables."""

    n_pictures: Callable[[list[str]], int]
    tables: list[pd.DataFrame]

    @property
    def columns(self) -> set[str]:
        """The columns of all tables."""
        return {column for table in self.tables for column in table.columns}

    def n_rows(self, ids: list[str]) -> int:
        """Count the ids that mean pictures, or else those that stand in one column of a table."""
        wanted = set(ids)
        columns = (table[column] for table in self.tables for column in table.columns)
        return self.n_pictures(ids) or max((len(wanted.intersection(column.unique())) for column in columns), default=0)


def choose_sample(tables: list[TableFile], known: Known) -> tuple[Sample | None, list[str]]:
    """Choose among the tables that are called like samples the one whose ids mean most pictures.

    Returns
    -------
    Sample or None, list of str
        And the names of the samples that were not chosen.
    """
    samples: list[tuple[int, Sample]] = []
    for file in tables:
        column, second = file.table.columns[:2]
        # cassava-disease writes the class first.
        if not file.table[column].is_unique and file.table[second].is_unique:
            column = second
        ids = list(file.table[column])
        labels = []
        if len(file.table.columns) == 2 and known.n_pictures(ids) * 2 < len(ids):
            labels = long_labels(ids, known.columns)
        sample = Sample(file.name, file.table, column, labels)
        samples.append((known.n_rows(sample.ids), sample))
    if not samples:
        return None, []

    def rank(pair: tuple[int, Sample]) -> tuple[int, bool, bool, list[int], int, str]:
        n_rows, sample = pair
        # Later stages are called later: stg2 after stg1. An empty sample says less than a full one.
        numbers = [int(number) for number in re.findall(r"\d+", sample.name)]
        return n_rows, "sub" in sample.name.lower(), bool(sample.values), numbers, -len(sample.name), sample.name

    chosen = max(samples, key=rank)[1]
    return chosen, [sample.name for _, sample in samples if sample is not chosen]
