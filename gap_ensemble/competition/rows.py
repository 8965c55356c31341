"""Rows of tables and the pictures that they mean.

The id of a row names one picture, several (`ID_red.png`, `ID_green.png`), or a folder of them; or a second table says
which pictures belong to it (`prediction_id` beside `image_id`, `business_id` beside `photo_id`, `id` beside
`file_name`).
"""

from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import pandas as pd

from gap_ensemble.competition.matching import Match, Pictures
from gap_ensemble.competition.system_files import is_system_file
from gap_ensemble.competition.table_files import TableFile
from gap_ensemble.messages.errors import UserError

# Ids that a table gives to pictures: at least so large a part of the table must mean pictures.
MIN_NAMED = 0.5
MAX_COLUMNS = 20
# Separators in ids that are put together from columns: `8850_L`.
SEPARATORS = ("_", "-", "", "/", " ")


@dataclass
class Key:
    """How ids of rows come from the columns of a table: one column, or several joined by a separator."""

    columns: list[str]
    separator: str = ""

    def of(self, table: pd.DataFrame) -> pd.Series | None:
        """Return the id of every row of a table, or None if it has not all of the columns."""
        if not set(self.columns) <= set(table.columns):
            return None
        ids = table[self.columns[0]]
        for column in self.columns[1:]:
            ids = ids + self.separator + table[column]
        return ids


@dataclass
class Rows:
    """The rows that a table tells apart, and their pictures.

    Attributes
    ----------
    file : TableFile
    ids : Series
        The row that each line of the table belongs to.
    id_columns : list of str
        Columns that name rows or pictures: no label, no group.
    files_of : dict
        The pictures of every id, with the place of each among them.
    claimed : dict
        The pictures of ids that should mean one, and mean several.
    key : Key or None
        Where a row may have several pictures: how its id comes from the columns.
    """

    file: TableFile
    ids: pd.Series
    id_columns: list[str]
    files_of: dict[str, list[tuple[str, str]]]
    claimed: dict[str, list[str]] = field(default_factory=dict)
    key: Key | None = None

    @property
    def id_of(self) -> dict[str, str]:
        """The row of every picture; of several rows, the first."""
        id_of: dict[str, str] = {}
        for row, files in self.files_of.items():
            for file, _ in files:
                id_of.setdefault(file, row)
        return id_of

    @property
    def single(self) -> bool:
        """True where every row has one picture."""
        return all(len(files) == 1 for files in self.files_of.values())


def locate(raw: Path, file: TableFile, pictures: Pictures, id_name: str = "", skip: str = "") -> Rows | None:
    """Find the column of a table that names pictures, and the pictures of each of its ids.

    Parameters
    ----------
    raw : Path
        The folder, for messages.
    file : TableFile
    pictures : Pictures
    id_name : str
        The column that is called so is taken if it names pictures.
    skip : str
        A column that is known not to name pictures.

    Raises
    ------
    UserError
        If two columns name different pictures, and none is called like the sample's ids.
    """
    table = file.table.drop(columns=skip, errors="ignore")
    if table.empty:
        return None
    matches = {name: pictures.match(table[name].unique() if _may_name(table[name], pictures) else []) for name in table}
    if max(len(match.files_of) for match in matches.values()) * 2 < min(len(pictures.files), len(table)):
        # Numbers of classes may name pictures by accident; ids that name several pictures stand in the first columns.
        others = {name: pictures.match_any(table[name].unique()) for name in list(table.columns)[:MAX_COLUMNS]}
        matches |= {name: match for name, match in others.items() if match.how != "name"}
    picture_of = {
        name: [_first(match, i) for i in table[name].tolist()] for name, match in matches.items() if match.n_ids
    }
    # Numbers match by accident: a class `1` or a row number names `1.jpg` as well. So different pictures are counted.
    n_named = {name: len(set(files) - {""}) for name, files in picture_of.items()}
    most = max(n_named.values(), default=0)
    if not most:
        return None
    rivals = [name for name, n in n_named.items() if n * 2 >= most]
    best = id_name if id_name in rivals else max(rivals, key=n_named.__getitem__)
    slots = _side_by_side(table, picture_of, rivals)
    if len(slots) > 1:
        ids = file.table[id_name] if id_name in file.table else pd.Series(map(str, range(len(table))))
        files_of = {
            row: [(picture_of[name][i], name) for name in slots if picture_of[name][i]] for i, row in enumerate(ids)
        }
        return Rows(file, ids, [*slots, id_name], {row: files for row, files in files_of.items() if files})
    for rival in rivals:
        accident = all(value.isdigit() for value in table[rival].unique()) and (
            best == id_name or (table[best].is_unique and not table[rival].is_unique)
        )
        for one, other in zip(picture_of[best], picture_of[rival], strict=True):
            if one and other and one != other and not accident and matches[rival].how == matches[best].how == "name":
                raise UserError(
                    f"{raw / file.name}: columns {best} and {rival} name two pictures in one row: {one} and {other}; "
                    "remove the column that does not name the picture"
                )
    keep = ~table[best].map(lambda identifier: is_system_file(identifier.rpartition("/")[2]))
    clean = TableFile(file.name, file.table[keep].reset_index(drop=True), file.label_columns, file.pixels)
    match = matches[best]
    if match.how == "name":  # `2` and `2.jpg` are one row.
        first: dict[str, str] = {}
        alias = {i: first.setdefault(files[0][0], i) for i, files in match.files_of.items()}
        clean.table = clean.table.assign(**{best: clean.table[best].map(lambda i: alias.get(i, i))})
        match.files_of = {i: [(file, "")] for file, i in first.items()}
    same = [name for name in rivals if picture_of[name] == picture_of[best]]
    return Rows(clean, clean.table[best], [best, *same], match.files_of, match.claimed, Key([best]))


def _first(match: Match, identifier: str) -> str:
    """Return the first picture of an id, or an empty text."""
    files = match.files_of.get(identifier)
    return files[0][0] if files else match.claimed.get(identifier, [""])[0]


def _may_name(values: pd.Series, pictures: Pictures) -> bool:
    """Tell whether some of the values name pictures; a look at a few of them spares the columns of features."""
    return bool(pictures.match(values.iloc[:: len(values) // 100 + 1].unique()).n_ids)


def _side_by_side(table: pd.DataFrame, picture_of: dict[str, list[str]], rivals: list[str]) -> list[str]:
    """Return columns that each hold another picture of the row: Left-Fundus, Right-Fundus."""
    texts = [
        name
        for name in rivals
        if not all(value.isdigit() for value in table[name].unique()) and len(set(picture_of[name])) * 2 > len(table)
    ]
    slots: list[str] = []
    listed_files: set[str] = set()
    for name in texts:
        files = set(picture_of[name]) - {""}
        if not files & listed_files:
            slots.append(name)
            listed_files |= files
    # The others name the same pictures once more.
    return slots if len(slots) > 1 else []


def locate_ids(raw: Path, ids: list[str], id_name: str, pictures: Pictures, tables: list[TableFile]) -> Rows | None:
    """Find the pictures of the ids of a sample: by themselves, or through a table."""
    direct = pictures.match_any(ids)
    table = TableFile("", pd.DataFrame({id_name: ids}, dtype=str))
    best = Rows(table, table.table[id_name], [id_name], direct.files_of, direct.claimed) if direct.n_ids else None
    wanted = set(ids)
    if direct.n_ids >= MIN_NAMED * len(wanted):
        return best
    n_best = direct.n_ids
    for file in tables:
        for column in file.table.columns:
            n = len(wanted & set(file.table[column]))
            if n < MIN_NAMED * len(wanted) or n <= n_best:
                continue
            linked = locate(
                raw, TableFile(file.name, file.table[file.table[column].isin(wanted)]), pictures, "", column
            )
            if linked is None or linked.file.name == "":
                continue
            found = group_rows(linked, linked.file.table[column], Key([column]))
            if len(found.files_of) > n_best:
                best, n_best = found, len(found.files_of)
    return best


def group_rows(rows: Rows, ids: pd.Series, key: Key) -> Rows:
    """Put the pictures of a table together by another column than the one that names them."""
    files_of: dict[str, list[tuple[str, str]]] = {}
    for row, old in dict.fromkeys(zip(ids.tolist(), rows.ids.tolist(), strict=True)):
        if old in rows.files_of:
            files_of.setdefault(row, []).extend(rows.files_of[old])
    return Rows(rows.file, ids, [*rows.id_columns, *key.columns], files_of, rows.claimed, key)


def key_of(test: Rows, table: pd.DataFrame) -> Key | None:
    """Find how a training table tells the rows apart that test ids tell apart: by the same column, or by several.

    `prediction_id` 8850_L is patient_id and laterality, joined by `_`.
    """
    if test.key is None:
        return None
    if test.key.of(table) is not None:
        return test.key
    known = test.file.table
    ids = known[test.key.columns[0]]
    columns = [name for name in known.columns if name in table.columns and known[name].nunique() > 1]
    for n in (1, 2, 3):
        for chosen in permutations(columns, n):
            for separator in SEPARATORS if n > 1 else ("",):
                key = Key(list(chosen), separator)
                made = key.of(known)
                if made is not None and made.iloc[0] == ids.iloc[0] and made.equals(ids.rename(made.name)):
                    return key
    return None


def unknown(rows: Rows) -> list[str]:
    """Return the ids of a table that mean no picture."""
    known = rows.files_of.keys() | rows.claimed.keys()
    return [i for i in dict.fromkeys(rows.ids.tolist()) if i not in known]
