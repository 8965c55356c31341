"""Groups: rows of one patient, driver or place, which stay in one fold.

`data.groups` names a column of a table, or a pattern on file names. Where none is set, columns and names that look
like groups are named in a warning.
"""

import re
from collections.abc import Mapping

import pandas as pd

from gap_ensemble.competition.attributes import Attributes
from gap_ensemble.competition.splits import words
from gap_ensemble.competition.tree import stem
from gap_ensemble.messages.errors import UserError, listed

# In the order in which one is named: a patient before the series that were taken of it.
COLUMNS = [
    "patient",
    "person",
    "subject",
    "individual",
    "donor",
    "owner",
    "rescuer",
    "driver",
    "user",
    "photographer",
    "lesion",
    "case",
    "family",
    "animal",
    "eye",
    "location",
    "camera",
    "station",
    "place",
    "farm",
    "plot",
    "field",
    "chain",
    "hotel",
    "study",
    "series",
    "sequence",
    "seq",
    "session",
    "experiment",
    "visit",
    "slide",
    "specimen",
    "sample",
    "event",
    "video",
    "clip",
    "burst",
    "observation",
    "plate",
    "group",
    "cluster",
    "subset",
    "source",
]
# Patterns on the name without suffix: of two sides, of a person, of a frame.
PERSONS = tuple(
    rf"({word}[-_ ]?\d+)" for word in ("person", "patient", "subject", "driver", "case", "donor", "pat", "subj")
)
PATTERNS = (
    r"(.*)[_-](left|right)$",
    r"(.*)[_ -](l|r|L|R|OD|OS|od|os)$",
    r"(\d{3,})[LR]$",
    *PERSONS,
    r"(.*)[_-](?:frame|slice|crop|view|shot|img|aug|copy|rot|patch|tile|angle)[-_]?\d+$",
)
MIN_GROUPS = 3
# Names are looked at in order, so that those of a group stand together.
MAX_NAMES = 20_000


def read_groups(groups: str, attributes: Attributes, files: list[str]) -> dict[str, str]:
    """Return the group of every picture that has one.

    Parameters
    ----------
    groups : str
        `data.groups`: a column, or a pattern.
    attributes : Attributes
        The columns of the tables of training pictures.
    files : list of str
        Training pictures.

    Raises
    ------
    UserError
        If it is no column, and no pattern that a picture's name fits.
    """
    if groups in attributes.tables:
        return {file: value for file, value in attributes.of(groups).items() if value}
    accepted = f"a column ({listed(attributes.tables, 10) or 'there are none'}) or a pattern such as (person\\d+)_"
    found_that = f"params.yaml: data.groups: found {groups!r}, which is no column and"
    try:
        pattern = re.compile(groups)
    except re.error as error:
        raise UserError(f"{found_that} no pattern ({error}); accepted: {accepted}") from None
    if not pattern.groups:
        raise UserError(f"{found_that} holds no parentheses that say what the group is; accepted: {accepted}")
    found = {}
    for file in files:
        match = pattern.search(file.rpartition("/")[2]) or pattern.search(stem(file)) or pattern.search(file)
        if match and match[1]:
            found[file] = match[1]
    if not found:
        raise UserError(f"{found_that} fits no picture's name (such as {listed(files[:2])}); accepted: {accepted}")
    return found


def hint(attributes: Attributes, files: list[str], target_of: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return a warning that names what looks like a group, or None.

    Parameters
    ----------
    attributes : Attributes
    files : list of str
        The training pictures, one for each row.
    target_of : mapping
        The target of every picture.
    """
    columns = []
    for column, name in attributes.tables.items():
        ranks = [COLUMNS.index(word) for word in _singular(column) if word in COLUMNS]
        if not ranks or column in attributes.ids:
            continue
        value_of = attributes.of(column)
        values = pd.Series([value_of.get(file, "") for file in files], dtype=str)
        values = values[values != ""]
        n = values.nunique()
        # Repeated, not a mark, and not what is predicted by another name.
        if MIN_GROUPS <= n < len(values) and not _decides(value_of, target_of, files):
            columns.append((min(ranks), column, name, n, len(values)))
    if columns:
        _, column, name, n, n_rows = min(columns)
        others = [other for _, other, *_ in sorted(columns) if other != column]
        also = f" (also: {listed(others)})" if others else ""
        return (
            f"{name}: {column} looks like a group: {n:,} values in {n_rows:,} rows{also}; pictures of one group in two "
            f"folds make scores too good: set data.groups: {column}"
        )
    stems, paths = [stem(file) for file in files[:MAX_NAMES]], files[:MAX_NAMES]
    # Of a person also where it is a folder: patient00001/study1/view1.jpg.
    for pattern, names in [*((p, stems) for p in PATTERNS), *((p, paths) for p in PERSONS)]:
        found = [match[1] for match in map(re.compile(pattern).search, names) if match]
        if len(found) * 5 >= len(names) and 2 <= len(set(found)) <= 0.9 * len(found):
            return (
                f"file names look like groups: {len(set(found)):,} different {pattern} in {len(found):,} pictures such "
                f"as {files[0]}; pictures of one group in two folds make scores too good: set data.groups: "
                f"'{pattern}'"
            )
    names = [stem(file) for file in files]
    folders = {file.rpartition("/")[0] for file in files}
    # Many names in few folders: not `1.png` in every folder of a class that is counted from 1.
    if len(set(names)) * 2 <= len(names) and len(folders) <= len(set(names)):
        return (
            f"the same file names stand in several folders ({len(set(names)):,} names, {len(names):,} pictures): if "
            "they show the same thing, set data.groups: '([^/]+)$'"
        )
    return None


def _singular(column: str) -> list[str]:
    return [word.removesuffix("s") if word.removesuffix("s") in COLUMNS else word for word in words(column)] + [
        word for word in COLUMNS if len(word) > 5 and column.lower().startswith(word)
    ]


def _decides(value_of: Mapping[str, str], target_of: Mapping[str, tuple[str, ...]], files: list[str]) -> bool:
    """Tell whether what is predicted says the value, too: the chain of a hotel, not the patient of a picture."""
    pairs = {(value_of.get(file, ""), target_of.get(file, ())) for file in files}
    n_targets = len({target for _, target in pairs})
    return len(pairs) == n_targets and n_targets * 2 < len(files)
