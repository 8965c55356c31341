"""Columns of the tables that become features: `data.columns`."""

from gap_ensemble.competition.attributes import Attributes
from gap_ensemble.competition.pooling import Files
from gap_ensemble.competition.reading import Reading
from gap_ensemble.competition.targets import Target
from gap_ensemble.messages.errors import UserError, listed

# Fewer columns than this, such as width and height of a picture, are not worth a line.
MIN_HINTED = 5


def read_columns(
    reading: Reading, target: Target, files: tuple[Files, Files], columns: tuple[Attributes, Attributes]
) -> dict[str, list[str]]:
    """Read the columns that data.columns names.

    Parameters
    ----------
    reading : Reading
    target : Target
        What is predicted: no feature.
    files : dict, dict
        The pictures of every training and of every test row.
    columns : Attributes, Attributes
        The tables of training and of test pictures.

    Returns
    -------
    dict of str to list of str
        For every column the values of the training rows, then those of the test rows; empty where there is none.

    Raises
    ------
    UserError
        If a column stands in no table of training or of test rows.
    """
    of_train, of_test = columns
    train, test = files
    names = reading.data.columns
    shared = set(of_test.numeric() if test else of_train.numeric())
    numbers = [name for name in of_train.numeric() if name in shared and name not in target.names]
    if not names and test and len(numbers) >= MIN_HINTED:
        reading.warnings.append(
            f"{len(numbers):,} columns of numbers stand in the tables of training and of test rows and are not read "
            f"({listed(numbers)}): data.columns: all makes them features"
        )
    if names == "all":
        names = numbers
        if not names:
            raise UserError(
                "params.yaml: data.columns: found all, but no column of numbers stands both in a table of training "
                f"rows ({listed(of_train.tables, 10) or 'none'}) and in one of test rows "
                f"({listed(of_test.tables, 10) or 'none'}); accepted: names of columns, or []"
            )
    problems = [
        f"params.yaml: data.columns: found {name!r}, which stands in no table of {split} rows; accepted: "
        f"{listed([column for column in known.tables if column not in known.ids], 20) or '[]'}"
        for name in names
        for split, known, rows in (("training", of_train, train), ("test", of_test, test))
        if rows and name not in known.tables
    ]
    problems += [
        f"params.yaml: data.columns: found {name!r}, which is what is predicted; leave it out"
        for name in names
        if name == target.column or name in target.names
    ]
    if problems:
        raise UserError(problems)
    values = {}
    for name in names:
        reading.read |= {of_train.tables[name], of_test.tables.get(name, "")}
        values[name] = _values(train, of_train.of(name)) + _values(test, of_test.of(name) if test else {})
    return values


def _values(rows: Files, value_of: dict[str, str]) -> list[str]:
    return [next((value_of[file] for file, _ in files if value_of.get(file)), "") for files in rows.values()]
