"""What the training rows are, chosen among the ways in which the files say it."""

import re
from dataclasses import replace

import pandas as pd

from gap_ensemble.competition.groups import COLUMNS
from gap_ensemble.competition.matching import Pictures
from gap_ensemble.competition.reading import Reading, is_test
from gap_ensemble.competition.rows import Key, Rows, group_rows, key_of, locate
from gap_ensemble.competition.sample_submission import Sample
from gap_ensemble.competition.splits import words
from gap_ensemble.competition.table_files import TableFile
from gap_ensemble.competition.targets import (
    LABEL,
    Target,
    fit,
    folder_target,
    long_target,
    missing_pictures,
    prefix_target,
    same_targets,
    shown_as_names,
    table_targets,
    wanted_kind,
)
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.params import Data


def read_training_rows(reading: Reading) -> tuple[Target, list[Rows]]:
    """Choose what the training rows are.

    Returns
    -------
    Target
    list of Rows
        The tables that name training pictures, one line a picture where they have that; the chosen one first.

    Raises
    ------
    UserError
        If nothing says it, or several ways differ.
    """
    data, files = reading.data, reading.splits.train
    named, _, column = data.labels.partition(":")
    if data.labels in ("auto", "prefix", "folders"):
        tables = [f for f in reading.plain_tables if not is_test(f.name) and "submission" not in f.name.lower()]
    else:
        tables = [file for file in reading.tables if file.name == named]
        if not (reading.raw / named).is_file():
            raise UserError(
                f"params.yaml: data.labels: found {data.labels!r}, but there is no file {reading.raw / named}; "
                "accepted: auto, prefix, folders, or a table in data.raw as FILE or FILE:CLASS_COLUMN"
            )
    pictures = Pictures(files)
    every = [pair for pair in (_locate_labels(reading, file, pictures) for file in tables) if pair is not None]
    located = _concatenate([pair for pair in every if pair[0].file.label_columns != []])
    sample = reading.sample
    by_path = {"folders": folder_target(reading.tree, reading.splits, sample), "prefix": prefix_target(files)}
    if data.labels in by_path:
        target = by_path[data.labels]
    else:
        targets = [
            target
            for rows, _ in located
            if not column or (column in rows.file.table and column not in rows.id_columns)
            for target in table_targets(reading.raw, rows, sample, data, column)
        ]
        if data.labels == "auto":
            targets = _that_label_most(targets, list(by_path.values()), len(files))
        if not targets:
            raise UserError(_no_labels(reading, named, column, list(by_path.values())))
        target = _settle(reading, targets)
    target = _as_wanted(target, data)
    _check(reading, target)
    chosen = target.rows.file if target.rows else None
    reading.read |= set(chosen.name.split(" and ")) if chosen else set()
    first = sorted([*located, *every], key=lambda pair: pair[0].file is not chosen)
    return _rename(_merge(target, data), sample), [single for _, single in first]


def _locate_labels(reading: Reading, file: TableFile, pictures: Pictures) -> tuple[Rows, Rows] | None:
    """Find the training rows of a table: as they are predicted, and one for each picture."""
    sample, test = reading.sample, reading.test
    id_name = sample.id_column if sample else ""
    if sample and sample.labels and id_name in file.table:
        wide = long_target(file.table, id_name, sample)
        file = TableFile(file.name, wide) if wide is not None else file
    rows = None
    if test is not None and not test.single and id_name in file.table:
        # The same ids as those of the sample, which mean several pictures each.
        match = pictures.match_any(file.table[id_name].unique())
        if match.how != "name" and match.n_ids * 2 >= file.table[id_name].nunique():
            rows = Rows(file, file.table[id_name], [id_name], match.files_of)
    rows = rows or locate(reading.raw, file, pictures, id_name)
    if file.label_columns is None and (rows is None or len(rows.id_of) * 2 < min(len(pictures.files), len(file.table))):
        through = _locate_through(reading, file, pictures)
        if through is not None and (rows is None or len(through.id_of) > len(rows.id_of)):
            return through, through
    if rows is None:
        return None
    if test is not None and test.key is not None and not test.single:
        key = key_of(test, rows.file.table)
        ids = key.of(rows.file.table) if key else None
        if key is not None and ids is not None:
            return group_rows(rows, ids.rename(test.key.columns[0]), key), rows
    return rows, rows


def _locate_through(reading: Reading, file: TableFile, pictures: Pictures) -> Rows | None:
    """Find the pictures of a table's rows through another table: of a business, its photos."""
    for other in reading.plain_tables:
        if other is file or is_test(other.name):
            continue
        shared = [column for column in file.table.columns if column in other.table.columns]
        shared = [column for column in shared if set(file.table[column]) & set(other.table[column])]
        rows = locate(reading.raw, other, pictures, skip=shared[0]) if shared else None
        if rows is not None:
            reading.read.add(other.name)
            grouped = group_rows(rows, rows.file.table[shared[0]], Key([shared[0]]))
            return replace(grouped, file=file, ids=file.table[shared[0]], id_columns=[shared[0]])
    return None


def _concatenate(located: list[tuple[Rows, Rows]]) -> list[tuple[Rows, Rows]]:
    """Put tables of the same columns and of different pictures together: train2019.json and val2019.json."""
    merged: list[tuple[Rows, Rows]] = []
    for pair in located:
        alike = [
            i
            for i, (other, _) in enumerate(merged)
            if list(other.file.table.columns) == list(pair[0].file.table.columns)
            and other.id_columns == pair[0].id_columns
            and not other.files_of.keys() & pair[0].files_of.keys()
        ]
        if alike:
            merged[alike[0]] = (_append(merged[alike[0]][0], pair[0]), _append(merged[alike[0]][1], pair[1]))
        else:
            merged.append(pair)
    return merged


def _append(one: Rows, other: Rows) -> Rows:
    table = pd.concat([one.file.table, other.file.table], ignore_index=True)
    file = TableFile(f"{one.file.name} and {other.file.name}", table, one.file.label_columns)
    ids = pd.concat([one.ids, other.ids], ignore_index=True)
    return Rows(file, ids, one.id_columns, one.files_of | other.files_of, one.claimed | other.claimed, one.key)


def _that_label_most(targets: list[Target], by_path: list[Target], n_files: int) -> list[Target]:
    """Keep the ways that label half of the pictures, and tables of which half of the rows are pictures."""
    kept = [
        target
        for target in targets
        if len(target.of_files()) * 2 >= n_files
        or target.problems
        or (target.rows and target.values and len(target.rows.files_of) * 2 >= len(target.values))
    ]
    # A single class is none, unless a folder of another is empty.
    kept += [way for way in by_path if (len(way.names) > 1 or way.problems) and len(way.values) * 2 >= n_files]
    return kept


def _no_labels(reading: Reading, named: str, column: str, by_path: list[Target]) -> list[str]:
    example = reading.splits.train[0]
    if reading.data.labels != "auto":
        columns = next((list(file.table.columns) for file in reading.tables if file.name == named), [])
        return [
            f"{reading.raw / named}: no column{f' {column!r}' if column else ''} of classes beside one of "
            f"training ids; columns: {listed(columns, 20)}; training pictures like {example}; set data.labels to "
            "FILE:CLASS_COLUMN"
        ]
    if reading.broken and not reading.plain_tables:  # The labels most likely stand there.
        return reading.broken
    tables = listed(f"{file.name} with {listed(file.table.columns, 10)}" for file in reading.plain_tables)
    shown = reading.sample.columns if reading.sample else []
    lacking = [name for name in shown if not any(name in file.table for file in reading.plain_tables)]
    wanted = f"; the sample submission wants {listed(lacking, 3)}, a column of no table" if lacking and tables else ""
    only = [f" (only {way.names[0]!r} from {way.source})" for way in by_path if len(way.names) == 1]
    return [
        *reading.broken,
        f"{reading.raw}: found no two classes for pictures like {example}{''.join(only[:1])}; accepted: a table that "
        f"names half of them or more and their classes (found: {tables or 'no table with rows'}{wanted}), a folder a "
        "class (train/cat/0.jpg), or the class in the name (train/cat.0.jpg)",
    ]


def _settle(reading: Reading, targets: list[Target]) -> Target:
    """Choose the way that fits the sample submission best; refuse several that differ."""
    wanted = wanted_kind(reading.data)
    targets = [target for target in targets if target.kind == wanted] or targets
    fits = [fit(target, reading.sample) for target in targets]
    targets = [target for target, n in zip(targets, fits, strict=True) if n == max(fits)]
    if max(fits) == 0 and len(targets) > 1:
        # Nothing in the sample says which: columns that are called like labels before others, places and patients last.
        columns = [set(words(target.column)) for target in targets]
        likely = [target for target, parts in zip(targets, columns, strict=True) if parts & LABEL]
        unlike = [target for target, parts in zip(targets, columns, strict=True) if not parts & set(COLUMNS)]
        targets = likely or unlike or targets
    if max(fits) < 3:
        # What an annotation file calls a category is one, whatever the folders are.
        annotated = [target for target in targets if target.rows and target.rows.file.label_columns]
        targets = [target for target in annotated if target.column.lower().endswith("id")] or annotated or targets
    chosen = max(targets, key=lambda target: len(target.of_files()))
    for other in targets:
        differs = same_targets(chosen, other, reading.splits.train) if other is not chosen else None
        if differs:
            sources = ", ".join(f"{target.source} ({len(target.names):,} {target.kind})" for target in targets)
            values = [" ".join(target.of_files()[differs]) for target in (chosen, other)]
            raise UserError(
                f"{reading.raw}: the labels are ambiguous: {sources}; {differs} is {values[0]!r} or {values[1]!r}; say "
                "which in params.yaml, data.labels: prefix, folders, FILE or FILE:CLASS_COLUMN"
            )
    return chosen


def _as_wanted(target: Target, data: Data) -> Target:
    """Make grades of folders and prefixes that are called 0, 1, 2 …, where the parameters ask for grades.

    Raises
    ------
    UserError
        If `data.task` asks for what folders and prefixes can't say.
    """
    wanted = wanted_kind(data)
    if target.source not in ("folders", "prefix") or wanted in ("", target.kind):
        return target
    if wanted == "grades" and all(name.isdecimal() and str(int(name)) == name for name in target.names):
        grades = sorted(map(int, target.names))
        return replace(target, kind="grades", names=[str(grade) for grade in range(grades[0], grades[-1] + 1)])
    if data.task == "auto":
        return target
    raise UserError(
        f"params.yaml: data.task: found {data.task}, and {target.source} say one class a picture "
        f"({listed(target.names)}); accepted: auto, classes, or grades if they are whole numbers; or name a table with "
        "data.labels: FILE:COLUMN"
    )


def _check(reading: Reading, target: Target) -> None:
    """Say what is wrong with the targets, and which pictures have none."""
    raw, source = reading.raw, target.source
    missing, claimed = missing_pictures(raw, target)
    reading.problems += [*claimed, *target.problems]
    reading.skip_or_refuse(missing, f"{source}: {len(missing):,} rows have no training picture and are left out")
    reading.skip_or_refuse(target.empty, f"{source}: {len(target.empty):,} rows have no target and are left out")
    reading.warnings += target.warnings
    known = set(target.of_files())
    if target.rows is not None:
        known |= {file for files in target.rows.files_of.values() for file, _ in files}
        known |= {file for files in target.rows.claimed.values() for file in files}
    without = [file for file in reading.splits.train if file not in known]
    how = {
        "prefix": "has no class in its name (expected: cat.0.jpg)",
        "folders": "lies in no class folder (expected: CLASS/1.jpg)",
    }.get(source)
    if how:
        lines = [f"{raw / file}: {how}; label it or move it away" for file in without]
        reading.skip_or_refuse(lines, f"{raw}: {len(without):,} pictures have no class and are left out")
    elif without:
        # A competition's own folder may hold more than its table names; it can't be changed where it is read-only.
        reading.warnings.append(
            f"{raw}: {len(without):,} training pictures have no row in {source} and are left out: {listed(without, 3)}"
        )
    if target.kind in ("classes", "labels"):
        reading.problems += [
            f"{raw}: the class {name!r} (from {source}) can't be the name of a folder; rename it"
            for name in target.names
            if name in (".", "..") or re.search(r"[\x00-\x1f]", name)
        ]
    if target.kind in ("classes", "grades") and len(target.names) < 2:
        found = f"only class {target.names[0]!r}" if target.names else "no class"
        reading.problems.append(f"{raw}: found {found} (from {source}); at least two classes with pictures are needed")
    if reading.splits.together and reading.data.labels == "auto" and source in ("prefix", "folders"):
        # The test pictures may be missing, and training pictures have their names.
        reading.problems.append(f"{raw}: no folders train/ and test/; make them, or a table of the training pictures")


def _merge(target: Target, data: Data) -> Target:
    """Make two classes of many, where data.positive_class lists several."""
    if data.positive_class is None:
        return target
    positive = [data.positive_class] if isinstance(data.positive_class, str) else data.positive_class
    unknown = [name for name in positive if name not in target.names]
    if unknown or target.kind != "classes":
        accepted = f"one or more of {listed(target.names, 10)}" if target.kind == "classes" else "null"
        raise UserError(
            f"params.yaml: data.positive_class: found {(unknown or positive)[0]!r}; accepted: {accepted}, of the "
            f"{target.kind} from {target.source}"
        )
    if isinstance(data.positive_class, str):
        return target
    yes, no = " or ".join(positive), " or ".join(name for name in target.names if name not in positive)
    values = {row: (yes if value[0] in positive else no,) for row, value in target.values.items()}
    return replace(target, names=sorted([yes, no]), values={**values})


def _rename(target: Target, sample: Sample | None) -> Target:
    """Call the classes as the sample's columns do: Acer_Rubrum, not acer rubrum. Labels stand in their order."""
    columns = sample.columns if sample else []
    if len(columns) < 2 or target.kind == "numbers":
        return target
    column_of = {name: name for name in target.names} if set(columns) == set(target.names) else {}
    column_of = column_of or shown_as_names(target.names, columns)
    if not column_of:
        return target
    several = target.kind == "labels"
    separator = "|" if several and any(" " in name for name in columns) else target.separator
    values = {}
    for row, (value,) in target.values.items():
        parts = filter(None, value.split(target.separator)) if several else [value]
        values[row] = (separator.join(column_of.get(part, part) for part in parts),)
    return replace(target, names=columns if several else sorted(columns), values={**values}, separator=separator)
