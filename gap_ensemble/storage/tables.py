"""Tables of a competition: CSV read as text, whatever its separator and line ends, and written as plain UTF-8."""

import csv
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from gap_ensemble.messages.errors import UserError, listed, one_line
from gap_ensemble.storage.files import atomic_path


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as text: any of comma, semicolon and tab, with or without a byte-order mark.

    Raises
    ------
    UserError
        If the file can't be read as a table of two columns or more, every row as long as the header.
    """
    table = read_any_table(path)
    if len(table.columns) < 2 or table.empty:
        raise UserError(
            f"{path}: found {len(table):,} rows and {len(table.columns)} columns; expected an id column and at least "
            "one more, separated by commas, semicolons or tabs"
        )
    return table


def read_any_table(path: Path) -> pd.DataFrame:
    """Read a table as `read_table` does, also one of a single column or without rows."""
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
                        "as many in every row, and quotes around a value that holds the separator; fix the line"
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


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in UTF-8 with commas and Unix line ends, whole or not at all."""
    # Python 3.11 and 3.12 leave a carriage return unquoted, and readers take it for the end of a line.
    texts = table.select_dtypes(exclude="number")
    returns = any(texts[name].astype(str).str.contains("\r", regex=False).any() for name in texts)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n", quoting=quoting)
