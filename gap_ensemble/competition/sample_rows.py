"""The pictures of every id of the sample submission: by name, never by position."""

from collections import Counter

from gap_ensemble.competition.matching import Pictures
from gap_ensemble.competition.reading import Reading, is_test, where
from gap_ensemble.competition.rows import Key, Rows, locate, locate_ids
from gap_ensemble.competition.sample_submission import Sample
from gap_ensemble.messages.errors import UserError, listed

APART = "say with data.train and data.test which folders hold which"


def read_test_rows(reading: Reading) -> None:
    """Find the pictures of the sample's ids, and what of them is missing or left over.

    Raises
    ------
    UserError
        If there are test pictures and no id means one of them.
    """
    sample, splits = reading.sample, reading.splits
    if sample is None:
        return
    files = splits.train if splits.together else splits.test
    if not files:
        reading.warnings.append(
            f"{reading.raw}: no test pictures{where(reading.tree).partition('; pictures')[0]}; everything up to the "
            "scores runs, and the submission is written when they are there"
        )
        return
    path, name = reading.raw / sample.name, sample.id_column
    tables = sorted(reading.plain_tables, key=lambda file: not is_test(file.name))
    found = locate_ids(reading.raw, sample.ids, name, Pictures(files), tables)
    if found is None:
        raise UserError(
            f"{path}: no {name} is the name of a test picture: found {sample.ids[0]!r}, and pictures like {files[0]}; "
            f"expected the same names in both, or a table that has both; {APART}"
        )
    if found.key is None and not found.single:
        found.key = Key([name])
    reading.test = found
    reading.read.add(found.file.name)
    _check_ids(reading, sample, found)
    used = {file for pictures in found.files_of.values() for file, _ in pictures}
    used |= {file for claimed in found.claimed.values() for file in claimed}
    left = [file for file in files if file not in used]
    if splits.together:
        splits.train, splits.test = left, [file for file in files if file in used]
    elif left:
        reading.warnings.append(
            f"{reading.raw}: {len(left):,} test pictures have no id in {sample.name} and are left unread: "
            f"{listed(left, 3)}"
        )
    if not splits.train:
        raise UserError(
            [
                *reading.problems,
                f"{reading.raw}: every picture is a test picture of {sample.name}; put the others in "
                f"train/, or {APART}",
            ]
        )


def _check_ids(reading: Reading, sample: Sample, found: Rows) -> None:
    path, name = reading.raw / sample.name, sample.id_column
    counts = Counter(sample.table[name])
    reading.problems += [f"{path}: {name} {i!r} stands {n} times; keep one row" for i, n in counts.items() if n > 1]
    reading.problems += [
        f"{path}: {name} {i!r} is claimed by {listed(claimed)}; keep one picture"
        for i, claimed in found.claimed.items()
    ]
    missing = [i for i in sample.ids if i not in found.files_of and i not in found.claimed]
    reading.skip_or_refuse(
        [f"{path}: {name} {i!r} has no picture among the test files; add it or remove the row" for i in missing],
        f"{path}: {len(missing):,} ids have no picture among the test files: {listed(map(repr, missing))}; they get "
        "what is predicted without a picture",
    )
    if found.key is None:
        id_of: dict[str, str] = {}
        for i, pictures in found.files_of.items():
            for file, _ in pictures:
                if id_of.setdefault(file, i) != i:
                    reading.problems.append(f"{path}: {name} {id_of[file]!r} and {i!r} both mean {file}; keep one row")


def tables_of_test(reading: Reading) -> list[Rows]:
    """Find the tables that say something of test pictures; those with a line a picture come first."""
    sample, test = reading.sample, reading.test
    if test is None or sample is None:
        return []
    pictures = Pictures(sorted({file for files in test.files_of.values() for file, _ in files}))
    located = []
    for file in sorted(reading.plain_tables, key=lambda file: not is_test(file.name)):
        by_row = sample.id_column in file.table and set(sample.ids) <= set(file.table[sample.id_column])
        if (is_test(file.name) or reading.splits.together) and not (by_row and test.single):
            rows = locate(reading.raw, file, pictures, "" if test.key else sample.id_column)
            located += [rows] if rows is not None else []
        if by_row:
            located.append(Rows(file, file.table[sample.id_column], [sample.id_column], test.files_of))
    reading.read |= {rows.file.name for rows in located}
    return located
