"""Columns of tables beside ids and targets: what they say of every picture."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gap_ensemble.competition.rows import Rows
from gap_ensemble.competition.targets import is_number


@dataclass
class Attributes:
    """The columns of every table that names some pictures.

    Attributes
    ----------
    located : list of Rows
        Tables and their pictures, the most important first.
    tables : dict
        For every column the table that it stands in.
    ids : set of str
        Columns that name pictures.
    """

    located: list[Rows]
    tables: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for rows in self.located:
            for column in rows.file.table.columns:
                self.tables.setdefault(column, rows.file.name)
            self.ids |= set(rows.id_columns[:1]) if rows.single else set()

    def of(self, column: str) -> dict[str, str]:
        """Return the value of every picture that has one."""
        value_of: dict[str, str] = {}
        for rows in self.located:
            if column not in rows.file.table:
                continue
            for row, value in zip(rows.ids.tolist(), rows.file.table[column].tolist(), strict=True):
                for file, _ in rows.files_of.get(row, ()):
                    value_of.setdefault(file, value)
        return value_of

    def numeric(self) -> list[str]:
        """Return the columns of numbers, but ids."""
        numeric: dict[str, None] = {}
        for rows in self.located:
            for column in rows.file.table.columns:
                if column not in rows.id_columns and _is_numeric(rows.file.table[column].unique()):
                    numeric[column] = None
        return list(numeric)


def _is_numeric(values: Iterable[str]) -> bool:
    some = [value for value in values if value]
    return bool(some) and all(is_number(value, -float("inf")) for value in some)
