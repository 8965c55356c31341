"""What is known of a competition's files while they are read: the object that the steps of `find.py` hand on."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from gap_ensemble.competition.matching import Pictures
from gap_ensemble.competition.rows import Rows
from gap_ensemble.competition.sample_submission import Known, Sample, choose_sample, is_sample
from gap_ensemble.competition.splits import Splits, find_splits, is_split
from gap_ensemble.competition.table_files import TableFile, read_table_file
from gap_ensemble.competition.targets import long_target
from gap_ensemble.competition.tree import Tree
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.params import Data
from gap_ensemble.unpacking.archives import archive_hint

# Tasks that a prediction for a whole picture does not solve, by the columns of their samples.
OTHER_TASKS = {
    "encodedpixels": "masks of pixels (segmentation)",
    "rle": "masks of pixels (segmentation)",
    "rle_mask": "masks of pixels (segmentation)",
    "predictionstring": "boxes (detection)",
    "bbox": "boxes (detection)",
}


@dataclass
class Reading:
    """A competition that is being read.

    Attributes
    ----------
    tree : Tree
    data : Data
    tables : list of TableFile
        Every table that is readable.
    broken : list of str
        A line for every table that is not.
    read : set of str
        The tables of which something was used.
    sample : Sample or None
    splits : Splits
    test : Rows or None
        The pictures of the sample's ids.
    problems, warnings : list of str
        A line each.
    """

    tree: Tree
    data: Data
    tables: list[TableFile] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    sample: Sample | None = None
    splits: Splits = field(default_factory=lambda: Splits([], []))
    test: Rows | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def raw(self) -> Path:
        """The raw folder."""
        return self.tree.raw

    @property
    def plain_tables(self) -> list[TableFile]:
        """Every table but samples and those that hold pictures."""
        return [file for file in self.tables if not is_sample(file.name) and not file.pixels]

    def skip_or_refuse(self, lines: list[str], summary: str) -> None:
        """Add problems that data.bad_images: skip turns into one warning."""
        if lines and self.data.bad_images == "skip":
            self.warnings.append(f"{summary} (data.bad_images: skip)")
        else:
            self.problems += [f"{line}, or set data.bad_images: skip" for line in lines]


def is_test(name: str) -> bool:
    """Tell whether a table, or its folder, is called like one of test rows."""
    return any(is_split(part, "test") for part in name.rpartition(".")[0].split("/"))


def read_tables(reading: Reading) -> None:
    """Read every table; a broken one is a problem only where nothing else says what it should.

    Raises
    ------
    UserError
        If the sample submission is broken or empty, or if the pictures stand inside of tables.
    """
    for name in reading.tree.tables:
        path = reading.raw / name
        try:
            file = read_table_file(reading.raw, name)
        except UserError as error:
            if is_sample(name):
                raise
            reading.broken += error.problems
            continue
        n_rows, n_columns = file.table.shape if file else (0, 0)
        if is_sample(name) and (n_rows < 1 or n_columns < 2):
            raise UserError(
                f"{path}: found {n_rows:,} rows and {n_columns} columns; expected an id column and at least one more, "
                "separated by commas, semicolons or tabs"
            )
        if file and not n_rows:
            reading.broken.append(f"{path}: found no rows; put the competition's file there, or move it away")
        reading.tables += [file] if file and n_rows else []
    inside = [file.name for file in reading.tables if file.pixels] + reading.tree.containers
    if inside and not reading.tree.pictures:
        raise UserError(
            f"{reading.raw}: no pictures; {listed(inside, 3)} holds them as numbers; write them out with `python -m "
            f"tools.convert auto {reading.raw} --to data/converted`, and set data.raw: data/converted"
        )


def read_sample(reading: Reading) -> None:
    """Choose the sample submission.

    Raises
    ------
    UserError
        If it asks for what this pipeline does not predict.
    """
    pictures = Pictures(reading.tree.pictures)
    known = Known(lambda ids: pictures.match_any(ids).n_ids, [file.table for file in reading.plain_tables])
    sample, others = choose_sample([file for file in reading.tables if is_sample(file.name)], known)
    if sample is None:
        reading.warnings.append(
            f"{reading.raw}: no sample_submission.csv (or sampleSubmission.csv); everything up to the scores runs, and "
            "no submission is written: put the competition's own there"
        )
        return
    if others:
        reading.warnings.append(f"{reading.raw}: {sample.name} is the sample submission; left unread: {listed(others)}")
    reading.read |= {sample.name, *others}
    reading.sample = sample if _labels_stand(reading, sample) else replace(sample, labels=[])
    other_task = next((OTHER_TASKS[name.lower()] for name in sample.columns if name.lower() in OTHER_TASKS), None)
    if other_task:
        raise UserError(
            f"{reading.raw / sample.name}: the column {listed(sample.columns)} asks for {other_task}; accepted: "
            "classes, labels, grades or numbers of whole pictures; set data.raw to such a competition"
        )


def _labels_stand(reading: Reading, sample: Sample) -> bool:
    """Tell whether a table of training rows has the labels that the ids of a sample seem to end with."""
    return any(
        set(sample.labels) <= set(file.table.columns)
        or (sample.id_column in file.table and long_target(file.table, sample.id_column, sample) is not None)
        for file in reading.plain_tables
    )


def read_splits(reading: Reading) -> None:
    """Tell the training from the test pictures.

    Raises
    ------
    UserError
        If there are no training pictures, or their folder may not be read.
    """
    ids = reading.sample.ids if reading.sample else []

    def n_wanted(files: list[str]) -> int:
        return Pictures(files).match_any(ids).n_ids if ids and files else 0

    splits = reading.splits = find_splits(reading.tree, reading.data, n_wanted)
    if reading.data.train == "auto" and len(splits.train_folders) > 1:
        reading.warnings.append(
            f"{reading.raw}: training pictures are read from {listed(splits.train_folders)}; data.train may name some"
        )
    used = [*splits.train_folders, *splits.test_folders]
    blocked = [
        name
        for name in reading.tree.unreadable
        if name == "."
        or any(is_split(name.rpartition("/")[2], word) for word in ("train", "test"))
        or any(name.startswith(f"{folder}/") for folder in used)
    ]
    if blocked:
        raise UserError(
            [f"{reading.raw / name}: not readable by this user; change its permissions" for name in blocked]
        )
    if not splits.train:
        raise UserError(
            f"{reading.raw}: no training pictures; expected in {reading.raw / 'train'}/{where(reading.tree)}"
        )


def where(tree: Tree) -> str:
    """Say where pictures that are not there may be; the end of a message."""
    archives = [name for name in tree.archives if not re.search(r"\.(csv|json|txt|tsv)\.", name)]
    if archives:
        return f"; {archive_hint(tree.raw, (tree.raw / name for name in archives))}"
    if tree.pictures:
        folders = listed(sorted(tree.folders_of_pictures()), 3)
        return f"; pictures lie in {folders}: name the folders in data.train and data.test"
    return "; put the competition's files there, or run `python -m tools.raw download COMPETITION`"
