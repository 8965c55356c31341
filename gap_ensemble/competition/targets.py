"""What the training rows are: a class, several labels, a grade or numbers, and where that stands.

Tables (a column of classes, a column a label, a field of several labels, a row for every pair of row and label), a
folder a class (`train/c0/1.jpg`), or the start of the file name (`train/cat.0.jpg`). Every way that fits is a
candidate; what the sample submission shows decides between them.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Kind
from gap_ensemble.competition.matching import composed
from gap_ensemble.competition.rows import Rows, unknown
from gap_ensemble.competition.sample_submission import Sample, split_pair
from gap_ensemble.competition.splits import Splits, is_split, words
from gap_ensemble.competition.tree import Tree, stem
from gap_ensemble.messages.errors import listed
from gap_ensemble.params import Data

# `cat.0`, `tabby_cat-12`: a class that holds a letter, a separator and a number.
PREFIXED = re.compile(r"^(?P<class>.*[^\W\d_].*?)[._-](?P<number>\d+)$")
# Columns of whole numbers 0, 1, 2, … that are called so are ordered.
GRADE = {"grade", "level", "severity", "stage", "diagnosis", "score", "rating", "isup", "kl", "speed", "quality", "dr"}
# Columns of many whole numbers that are called so are numbers, not classes.
NUMBER = {"age", "boneage", "count", "counts", "pawpularity", "weight", "height", "price", "score", "width", "length"}
# Columns that are called so hold classes, where nothing else tells.
LABEL = {"label", "labels", "class", "classname", "category", "target", "targets", "species", "breed", "tag", "tags"}
# So many values that stand once each may be mistyped; of more, it is the kind of the column.
MAX_STRAY = 3
MAX_GRADES = 12
SEPARATORS = (" ", "|", ";", ",")
METRIC_KINDS: dict[str, Kind] = {"rmse": "numbers", "mae": "numbers", "quadratic_kappa": "grades"}


@dataclass
class Target:
    """One way to say what the training rows are.

    Attributes
    ----------
    source : str
        For people: `train.csv:label`, `folders`, `prefix`.
    kind : str
    names : list of str
        As in `TaskDescription`.
    values : dict
        The target of every row: a text for classes, grades and labels, one a target for numbers.
    rows : Rows or None
        The rows of the table; None for folders and prefixes, where a row is a file.
    separator : str
        Between labels.
    column : str
        The column of the table, or an empty text where there are several or none.
    problems, empty, warnings : list of str
        A line each; `empty` for rows without a target.
    """

    source: str
    kind: Kind
    names: list[str]
    values: dict[str, tuple[str, ...]]
    rows: Rows | None = None
    separator: str = " "
    column: str = ""
    problems: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def of_files(self) -> dict[str, tuple[str, ...]]:
        """The target of every picture."""
        if self.rows is None:
            return self.values
        return {
            file: self.values[row]
            for row, files in self.rows.files_of.items()
            if row in self.values
            for file, _ in files
        }


def prefix_target(files: list[str]) -> Target:
    """Read the class before the number in the file's name: `cat.0.jpg`."""
    matches = ((file, PREFIXED.match(stem(file))) for file in files)
    return _class_target("prefix", {file: composed(match["class"]) for file, match in matches if match})


def folder_target(tree: Tree, splits: Splits, sample: Sample | None) -> Target:
    """Read the class from the first folder below the one that holds all pictures, or from the last if that fits better.

    Parameters
    ----------
    tree : Tree
        To find empty class folders.
    splits : Splits
        The training pictures, and their folders: of several, each has class folders of its own.
    sample : Sample or None
        Says what classes are called: `additional_Type_1_v2` holds more of `Type_1`.
    """
    classes = set(sample.columns) | set(sample.values) if sample else set()
    first = _target_of_folders(tree, splits, classes, 0)
    # Patients that hold class folders: 8863/0/8863_x.png.
    last = _target_of_folders(tree, splits, classes, -1)
    return last if fit(last, sample) > fit(first, sample) else first


def _target_of_folders(tree: Tree, splits: Splits, classes: set[str], level: int) -> Target:
    files, folders = splits.train, splits.train_folders
    bases = folders if len(folders) > 1 else [_base(files, folders)]
    class_of = {}
    for file in files:
        base = next((base for base in bases if not base or file.startswith(f"{base}/")), "")
        *parts, name = file[len(base) :].lstrip("/").split("/")
        own = base.rpartition("/")[2]
        if not parts and len(bases) > 1 and not is_split(own, "train"):  # A folder of data.train is itself a class.
            parts = [own]
        # `0/3/f/03fa….jpg`: folders that only spread a million files.
        if parts and not (len(parts) > 1 and name.startswith("".join(parts))):
            class_of[file] = composed(parts[level].strip())
    name_of = {name: _class_of_folder(name, classes) for name in set(class_of.values())}
    target = _class_target("folders", {file: name_of[name] for file, name in class_of.items()})
    for folder in tree.folders if class_of and bases != [""] and level == 0 else []:
        base, _, name = folder.rpartition("/")
        if base in bases and _class_of_folder(composed(name.strip()), classes) not in target.names:
            target.problems.append(f"{tree.raw / folder}: a class without pictures; fill the folder or remove it")
    return target


def _base(files: list[str], folders: list[str]) -> str:
    # The files are sorted: what the first and the last have in common, all have.
    base = os.path.commonpath([os.path.dirname(files[0]), os.path.dirname(files[-1])])
    if base not in folders and base and all(os.path.dirname(file) == base for file in files):
        base = os.path.dirname(base)  # A single class.
    return base


def _class_of_folder(name: str, classes: set[str]) -> str:
    if name in classes:
        return name
    inside = [known for known in classes if re.search(rf"(^|[-_ ]){re.escape(known)}($|[-_ ])", name)]
    return max(inside, key=len) if inside else name


def _class_target(source: str, class_of: dict[str, str]) -> Target:
    names = sorted(set(class_of.values()) - {""})
    return Target(source, "classes", names, {file: (name,) for file, name in class_of.items()})


def table_targets(raw: Path, rows: Rows, sample: Sample | None, data: Data, column: str = "") -> list[Target]:
    """Read the ways in which a table can say what its rows are: one for each column that may.

    Parameters
    ----------
    raw : Path
        For messages.
    rows : Rows
        The table, and the pictures of its rows.
    sample : Sample or None
    data : Data
    column : str
        The only column to look at; empty for all.
    """
    table, shown = rows.file.table, _shown(rows.file.table, sample)
    if not column and len(shown) > 1:
        return [_wide(raw, rows, shown, data)]
    columns = [column] if column else [name for name in table.columns if name not in rows.id_columns]
    marks = [name for name in columns if set(table[name].unique()) <= {"0", "1", "0.0", "1.0"}]
    if not column and len(marks) > 1 and sample and _tokens(sample, " ") & set(marks):
        return [_wide(raw, rows, {name: name for name in marks}, data)]  # The sample calls a column: its name is meant.
    if rows.file.label_columns is not None and not column:
        columns = [name for name in columns if name in rows.file.label_columns]
    targets = []
    tokens = _tokens(sample, " ") | set(sample.columns) if sample else set()
    for name in columns:
        values = table[name]
        called = sample is not None and name in shown.values()
        # What is the same in every row, or another in nearly every row (an address, a hash), is no class.
        few = 1 < values.nunique() <= max(2, 0.9 * len(table)) or len(columns) == 1
        known = sample is not None and not tokens.isdisjoint(values.unique())
        if few or called or known or wanted_kind(data) == "numbers":
            targets.append(_column(raw, rows, name, sample, data, called or name == column))
    return targets


def _shown(table: pd.DataFrame, sample: Sample | None) -> dict[str, str]:
    """Return the columns of a table that the sample submission shows, by the sample's names; all of them or none."""
    if sample is None:
        return {}
    names = sample.labels or sample.columns
    shown = {}
    for name in names:
        # X4 stands as X4_mean, beside X4_sd.
        column = next((column for column in (name, f"{name}_mean") if column in table), None)
        if column is not None:
            shown[name] = column
    return shown if len(shown) == len(names) else {}


def _wide(raw: Path, rows: Rows, shown: dict[str, str], data: Data) -> Target:
    """Read one column a class, label or number."""
    names = list(shown)
    table = rows.file.table[list(shown.values())]
    numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    named = f"{raw / rows.file.name}: {rows.ids.name}"
    missing = np.isnan(numbers).any(axis=1)
    source = f"{rows.file.name}, one column a "
    ids = rows.ids.tolist()

    def lines(wrong: np.ndarray, accepted: str) -> list[str]:
        return [
            f"{named} {ids[row]!r} holds {listed(table.iloc[row], 20)} in {listed(names)}; accepted: {accepted}"
            for row in np.flatnonzero(wrong)
        ]

    wanted = wanted_kind(data)
    marks = np.isin(numbers[~missing], (0, 1)).all() and wanted != "numbers"
    if not marks or wanted == "numbers":
        some = ~(np.isin(numbers, (0, 1)).all(axis=1) & (numbers.sum(axis=1) == 1))
        if wanted == "classes" or (wanted != "numbers" and some.mean() <= 0.5):
            problems = lines(some, "exactly one 1 a row and 0 in the other columns, or data.task: numbers")
            return Target(f"{source}class", "classes", sorted(names), {}, rows, problems=problems)
        values: dict[str, tuple[str, ...]] = {
            i: tuple(row) for i, row in zip(ids, table.itertuples(index=False, name=None), strict=True)
        }
        return Target(
            f"{source}target", "numbers", names, values, rows, problems=lines(missing, "a number in each of them")
        )
    one = (numbers == 1).sum(axis=1) == 1
    # A few rows with two marks among hundreds with one are mistakes, not another task.
    few = len(one) >= 100 and (~one).mean() < 0.01
    if wanted == "classes" or (wanted != "labels" and (one | missing).all() | few):
        chosen = np.array(names, object)[np.nan_to_num(numbers).argmax(axis=1)]
        problems = lines(
            ~one | missing,
            "exactly one 1 a row and 0 in the other columns, or one column of classes; data.task: labels allows "
            "several",
        )
        values = {i: (str(name),) for i, name in zip(ids, chosen, strict=True)}
        return Target(f"{source}class", "classes", sorted(names), values, rows, problems=problems)
    separator = " " if not any(" " in name for name in names) else "|"
    values = {
        i: (separator.join(np.array(names, object)[row == 1]),)
        for i, row in zip(ids, np.nan_to_num(numbers), strict=True)
    }
    problems = lines(missing, "0 or 1 in each of them")
    target = Target(f"{source}label", "labels", names, values, rows, separator, problems=problems)
    if one.mean() >= 0.5 and data.task == "auto":
        example = ids[int((~one).argmax())]
        target.warnings.append(
            f"{raw / rows.file.name}: {(~one).sum():,} of {len(one):,} rows, such as {example!r}, have none or several "
            "1 in the columns of the classes, so each column is a label of its own; set data.task: classes if they are "
            "mistakes"
        )
    return target


def long_target(table: pd.DataFrame, id_column: str, sample: Sample) -> pd.DataFrame | None:
    """Turn a table with a row for every pair of row and label into one with a column a label, or return None."""
    values = [name for name in table.columns if name != id_column]
    pairs = [split_pair(identifier, sample.labels) for identifier in table[id_column]]
    if len(values) != 1 or {label for _, label in pairs} != set(sample.labels):
        return None
    frame = pd.DataFrame(pairs, columns=["row", "label"], dtype=str).assign(value=list(table[values[0]]))
    frame = frame.drop_duplicates(["row", "label"])
    wide = frame.pivot(index="row", columns="label", values="value").reindex(columns=sample.labels)
    return wide.fillna("").rename_axis(None, axis=1).rename_axis(id_column).reset_index()


def _column(raw: Path, rows: Rows, name: str, sample: Sample | None, data: Data, meant: bool) -> Target:
    """Read a column."""
    values = _plain(rows.file.table[name].map(composed), sample)
    source = f"{rows.file.name}:{name}"
    distinct = [value for value in values.unique() if value]
    kind, separator = _kind(name, distinct, sample, data, meant)
    named = f"{raw / rows.file.name}: {rows.ids.name}"
    problems, empty, warnings = [], [], []
    several: dict[str, list[str]] = {}
    for row, value in dict.fromkeys(zip(rows.ids.tolist(), values.tolist(), strict=True)):
        several.setdefault(row, []).append(value)
    double = {row: found for row, found in several.items() if len(found) > 1}
    if (
        double
        and kind == "classes"
        and data.task in ("auto", "labels")
        and _is_long_table(rows, double, several, sample)
    ):
        kind, separator = "labels", " " if not any(" " in value for value in distinct) else "|"
        several = {row: [separator.join(filter(None, found))] for row, found in several.items()}
        double = {}
    elif double and rows.file.label_columns is not None and kind == "classes":
        # Two animals in one picture: it is of no single class.
        warnings = [
            f"{raw / rows.file.name}: {len(double):,} rows such as {next(iter(double))!r} have several categories; "
            "they are left out of training"
        ]
        several = {row: found for row, found in several.items() if row not in double}
        double = {}
    problems += [
        f"{named} {row!r} has several classes: {listed(map(repr, found))}; keep one" for row, found in double.items()
    ]
    if kind != "labels":
        empty = [
            f"{named} {row!r} has an empty {name}; fill it in or remove the row"
            for row, found in several.items()
            if "" in found
        ]
    stray = _stray_value(name, several, kind, sample, data, meant)
    if stray:
        # Numbers of which all but a few are classes are hardly meant, and neither is what the metric can't score.
        is_wrong = kind == "numbers" or METRIC_KINDS.get(data.metric, kind) != kind
        (problems if is_wrong else warnings).append(f"{named} {stray}")
    if kind == "numbers":
        problems += [
            f"{named} {row!r} holds {found[0]!r} in {name}; accepted: a number"
            for row, found in several.items()
            if found[0] and not is_number(found[0], -np.inf)
        ]
        names = [name if sample is None or len(sample.columns) != 1 else sample.columns[0]]
    elif kind == "grades":
        problems += [
            f"{named} {row!r} holds {found[0]!r} in {name}; accepted: a whole number from 0 (data.task: grades)"
            for row, found in several.items()
            if found[0] and not found[0].isdigit()
        ]
        names = sorted(distinct, key=lambda value: (len(value), value))
        if names and all(value.isdigit() for value in names):
            n_filled = len(names)
            names = [str(grade) for grade in range(int(names[0]), int(names[-1]) + 1)]
            highest = [row for row, found in several.items() if found[0] == names[-1]]
            # 11 in one row, and no row with 9 or 10, is a mistyped 1.
            is_far_off = len(highest) == 1 and len(names) > 3 and not {names[-2], names[-3]} & set(distinct)
            if len(names) > 2 * n_filled or is_far_off:
                problems.append(
                    f"{named} {highest[0]!r} holds {names[-1]!r} in {name}, and the grades below it stand nowhere; "
                    "correct it, or set data.task: numbers or classes"
                )
    elif kind == "labels":
        tokens = {label for found in several.values() for label in found[0].split(separator)}
        names = sorted({label.strip() for label in tokens} - {""}, key=_numbers_first)
        several = {
            row: [separator.join(filter(None, (label.strip() for label in found[0].split(separator))))]
            for row, found in several.items()
        }
    else:
        names = sorted(distinct)
    value_of: dict[str, tuple[str, ...]] = {
        row: (found[0],) for row, found in several.items() if found[0] or kind == "labels"
    }
    return Target(source, kind, names, value_of, rows, separator, name, problems, empty, warnings)


def _plain(values: pd.Series, sample: Sample | None) -> pd.Series:
    """Return whole numbers without a point, unless the sample writes one: pandas writes 1.0 where a column has gaps."""
    pointed = [value.endswith(".0") and value[:-2].lstrip("-").isdigit() for value in values.unique() if value]
    shown = [*sample.values, *sample.columns] if sample else []
    if not pointed or not all(pointed) or any(value.endswith(".0") for value in shown):
        return values
    return values.str.removesuffix(".0")


def _is_long_table(
    rows: Rows, double: dict[str, list[str]], several: dict[str, list[str]], sample: Sample | None
) -> bool:
    """Tell whether a table holds a line for every label of a picture, rather than contradictions."""
    one_class = sample is not None and rows.file.label_columns is not None
    return len(double) >= (0.5 if one_class else 0.2) * len(several) and len(several) >= 10


def _kind(name: str, distinct: list[str], sample: Sample | None, data: Data, meant: bool) -> tuple[Kind, str]:
    """Decide what the values of a column are."""
    separator = _separator(distinct, sample.values if sample and len(sample.columns) == 1 else [])
    if data.task != "auto":
        return data.task, separator or " "
    if data.metric in METRIC_KINDS and all(is_number(value, -np.inf) for value in distinct):
        return METRIC_KINDS[data.metric], " "
    if separator and not (sample and set(distinct) <= set(sample.columns)):
        return "labels", separator
    if not distinct or not all(is_number(value, -np.inf) for value in distinct):
        return "classes", " "
    parts = set(words(name))
    if not all(value.lstrip("-").isdigit() for value in distinct):
        whole = all(float(value).is_integer() for value in distinct)  # 1.0: a column with gaps, as pandas writes it.
        return ("classes" if (whole and len(distinct) <= MAX_GRADES) or not meant else "numbers"), " "
    if len(distinct) <= 2:
        return "classes", " "
    shown = sample.values if sample and len(sample.columns) == 1 else []
    fractions = bool(shown) and all(is_number(value, -np.inf) for value in shown)
    fractions = fractions and not all(float(value).is_integer() for value in shown)
    if meant and fractions:
        return "numbers", " "
    ordered = sorted(map(int, distinct))
    if ordered[0] in (0, 1) and len(ordered) <= MAX_GRADES and ordered[-1] - ordered[0] + 1 <= MAX_GRADES:
        return ("grades" if parts & GRADE else "classes"), " "
    return ("numbers" if meant and parts & NUMBER else "classes"), " "


def _stray_value(
    name: str, several: dict[str, list[str]], kind: Kind, sample: Sample | None, data: Data, meant: bool
) -> str:
    """Name a row whose value stands once, if the column were of another kind without such values; else return nothing.

    `l` for 1 makes a name of every grade, and 33 for 3 makes classes of them.
    """
    counts = Counter(found[0] for found in several.values() if found[0])
    once = {value for value, count in counts.items() if count == 1}
    rest = [value for value in counts if value not in once]
    if not 1 <= len(once) <= MAX_STRAY or len(rest) < 2:
        return ""
    other, _ = _kind(name, rest, sample, data, meant)
    if other == kind:
        return ""
    row, value = next((row, found[0]) for row, found in several.items() if found[0] in once)
    return (
        f"{row!r} holds {value!r} in {name}, where no other row does; without it {name} would hold {other}, and now it "
        f"holds {kind}: correct it, or set data.task: {kind}"
    )


def _separator(distinct: list[str], shown: list[str]) -> str:
    """Return what separates several labels in one field, or an empty text where the values are names.

    `scab rust` is two labels where `scab` and `rust` stand elsewhere, too, or where the sample submission puts them
    together in other ways (`shown`); `Sugar beet` is a name.
    """
    for separator in SEPARATORS:
        parts = {value: [part.strip() for part in value.split(separator)] for value in distinct}
        several = {value: found for value, found in parts.items() if len(found) > 1}
        if not several:
            continue
        where = Counter(part for found in parts.values() for part in set(found))
        numbers = all(part.isdigit() for found in parts.values() for part in found)
        sets = {tuple(sorted(found)) for found in parts.values()}
        together = [value.split(separator) for value in shown]
        together = [found for found in together if len(found) > 1 and tuple(sorted(found)) not in sets]
        if together and all(part in where for found in together for part in found):
            return separator
        known = sum(all(where[part] > 1 for part in found) for found in several.values())
        # Names of two words, `Acer rubrum`, all have two.
        varied = len({len(found) for found in parts.values()}) > 1
        alone = sum(len(found) == 1 for found in parts.values())
        if (numbers and (varied or separator != ",")) or (varied and (known >= 0.8 * len(several) or alone == 0)):
            if separator == " " and not numbers and known < 0.5 * len(several):
                continue
            return separator
    return ""


def fit(target: Target, sample: Sample | None) -> int:
    """Rate how a target fits the sample submission: 4 by the name of a column, 3 by all names, less by some of them."""
    if sample is None:
        return 0
    shown, names = set(sample.labels or sample.columns), set(target.names)
    if len(shown) > 1:
        if names == shown:
            return 3
        return 2 if shown_as_names(target.names, list(shown)) else int(not names.isdisjoint(shown))
    if target.column == sample.columns[0]:
        return 4
    alike = set(words(target.column)) & set(words(sample.columns[0])) - {"id"}  # Category and category_id.
    values = target.kind != "numbers" and not names.isdisjoint(_tokens(sample, target.separator))
    # A column of fractions is the probability of one of two classes.
    fractions = all(is_number(value, 0, 1) for value in sample.values) and any("." in value for value in sample.values)
    two = fractions and target.kind == "classes" and len(names) == 2
    return 2 * bool(alike) + (values or two)


def _tokens(sample: Sample, separator: str) -> set[str]:
    """Return what the values of a sample may call classes; a number says nothing: a class, a grade, a probability."""
    values = [value for value in sample.values if not is_number(value)] if len(sample.columns) == 1 else []
    return {token for value in values for token in (value, *value.split(separator), value.rpartition(" ")[0])}


def wanted_kind(data: Data) -> str:
    """Return the kind of task that the parameters ask for, or an empty text."""
    return data.task if data.task != "auto" else METRIC_KINDS.get(data.metric, "")


def shown_as_names(names: list[str], columns: list[str]) -> dict[str, str]:
    """Match the columns of a sample to names that are written otherwise; empty if they are not the same.

    `Acer_Rubrum` is `acer rubrum`; `class_0`, `class_1` are 0, 1.
    """

    def plain(text: str) -> str:
        return re.sub(r"[\W_]+", "", composed(text).casefold())

    if len(names) != len(columns):
        return {}
    start = os.path.commonprefix(columns).rstrip("0123456789")  # noqa: RUF071
    for read in (plain, lambda text: plain(text.removeprefix(start))):
        by_column = {read(column): column for column in columns}
        found = {name: by_column[plain(name)] for name in names if plain(name) in by_column}
        if len(set(found.values())) == len(columns):
            return found
    return {}


def may_be_grades(target: Target) -> bool:
    """Tell whether classes are numbers 0, 1, 2, … of which nothing says that they are names, as `category_id` does."""
    names = target.names
    numbered = 2 < len(names) <= MAX_GRADES and all(name.isdigit() for name in names)
    return (
        numbered and set(map(int, names)) == {*range(len(names))} and not set(words(target.column)) & {"id", "category"}
    )


def missing_pictures(raw: Path, target: Target) -> tuple[list[str], list[str]]:
    """List the rows of a table without a picture, and the ids that several pictures claim, a line each."""
    rows = target.rows
    if rows is None:
        return [], []
    named = f"{raw / rows.file.name}: {rows.ids.name}"
    claimed = [f"{named} {i!r} is claimed by {listed(files)}; keep one picture" for i, files in rows.claimed.items()]
    missing = [f"{named} {i!r} has no training picture; add it or remove the row" for i in unknown(rows)]
    return missing, claimed


def is_number(text: str, low: float = 0, high: float = np.inf) -> bool:
    """Tell whether a text is a number between two bounds."""
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def _numbers_first(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdigit() else (1, 0, name)


def same_targets(one: Target, other: Target, files: Iterable[str]) -> str | None:
    """Return a picture of which two targets say different things, or None."""
    of_one, of_other = one.of_files(), other.of_files()
    for file in files:
        value, second = of_one.get(file, ("",)), of_other.get(file, ("",))
        if value[0] and second[0] and value != second:
            return file
    return None
