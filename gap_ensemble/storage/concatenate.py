"""Put the features of all backbones side by side, a row for each row of `data/rows.csv`."""

from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from gap_ensemble.messages.errors import UserError
from gap_ensemble.messages.progress import Progress
from gap_ensemble.paths import FEATURES
from gap_ensemble.storage.hdf5 import block_slices, texts


@dataclass(frozen=True)
class Pool:
    """Which pictures make a row, and how their features become one vector.

    Attributes
    ----------
    pictures : ndarray of shape (n_pictures,), integer
        Rows of the feature files, those of the first row first.
    first : ndarray of shape (n_rows + 1,), integer
        Row i has the pictures first[i] to first[i + 1].
    slot : ndarray of shape (n_pictures,), integer
        The place of every picture, for `side_by_side`.
    how : str
        `mean`, `max` or `side_by_side`.
    n_slots : int
        Vectors that stand side by side: 1 for `mean` and `max`.
    """

    pictures: np.ndarray
    first: np.ndarray
    slot: np.ndarray
    how: str
    n_slots: int = 1

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.first) - 1

    def read(self, dataset: h5py.Dataset, rows: slice) -> np.ndarray:
        """Return the features of some rows, (n, n_slots * n_features) float32; NaN where a slot has no picture."""
        span = slice(self.first[rows.start], self.first[rows.stop])
        pictures = np.empty((span.stop - span.start, dataset.shape[1]), np.float32)
        # One row at a time: h5py's own selection of scattered rows is slower by orders of magnitude.
        for i, picture in enumerate(self.pictures[span]):
            dataset.read_direct(pictures, np.s_[picture], np.s_[i])
        starts = self.first[rows.start : rows.stop] - span.start
        counts = np.diff(self.first[rows.start : rows.stop + 1])
        if self.how == "side_by_side":
            pooled = np.full((len(counts), self.n_slots, dataset.shape[1]), np.nan, np.float32)
            pooled[np.repeat(np.arange(len(counts)), counts), self.slot[span]] = pictures
            return pooled.reshape(len(counts), -1)
        if (counts == 1).all():
            return pictures
        if self.how == "max":
            return np.maximum.reduceat(pictures, starts, axis=0)
        return np.add.reduceat(pictures, starts, axis=0) / counts[:, None].astype(np.float32)


def pool_of(pictures: pd.DataFrame, rows: Sequence[str], how: str, slots: list[str]) -> Pool:
    """Return which pictures make each of some rows.

    Parameters
    ----------
    pictures : DataFrame with columns id, slot
        The pictures of one split, in the order of the feature files.
    rows : sequence of str
        Rows of data/rows.csv; every one has a picture.
    how : str
        `mean`, `max` or `side_by_side`.
    slots : list of str
        The places, in order.
    """
    place = pd.Index(rows).get_indexer(pictures["id"])
    order = np.argsort(place, kind="stable")
    order = order[place[order] >= 0]
    first = np.searchsorted(place[order], np.arange(len(rows) + 1))
    slot = pd.Index(slots).get_indexer(pictures["slot"])[order] if slots else np.zeros(len(order), np.int64)
    return Pool(order, first, slot, how if slots or how == "max" else "mean", max(len(slots), 1))


def rows_with_pictures(pictures: pd.DataFrame, rows: pd.DataFrame, split: str) -> list[str]:
    """Return the rows of a split that have a picture, in an order that no file's name decides.

    Training rows come in the order of their first pictures' hashes, test rows in that of the sample submission.

    Parameters
    ----------
    pictures : DataFrame with column id
        The split's pictures, in the order of the manifest.
    rows : DataFrame with columns row, split
        `data/rows.csv`.
    split : str
        `train` or `test`.
    """
    listed = rows["row"][rows["split"] == split]
    if split == "test":
        return listed[listed.isin(pictures["id"])].tolist()
    known = set(listed)
    return [row for row in pictures["id"].drop_duplicates() if row in known]


def check_same_pictures(files: dict[str, h5py.File]) -> None:
    """Refuse files whose rows are not the same pictures in the same order.

    Parameters
    ----------
    files : dict of str to h5py.File
        Feature files by the names of their backbones.

    Raises
    ------
    UserError
        Naming each file that differs from the first, and where.
    """
    (first_name, first), *others = files.items()
    problems = []
    for name, file in others:
        for dataset in ("train_file", "test_file"):
            expected, found = texts(first[dataset]), texts(file[dataset])
            if len(expected) != len(found):
                problem = f"{len(found):,} rows of {dataset} instead of {len(expected):,}"
            elif expected != found:
                row = next(i for i, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1])
                problem = f"{dataset} row {row} is {found[row]} instead of {expected[row]}"
            else:
                continue
            problems.append(
                f"{FEATURES / name}.h5: not the same pictures in the same order as {first_name}.h5: {problem}; run "
                f"`dvc repro --force extract@{name} extract@{first_name}`"
            )
            break
    if problems:
        raise UserError(problems)


def copy_rows(sources: dict[str, h5py.File], split: str, pool: Pool, target: h5py.Dataset, progress: Progress) -> None:
    """Write the pooled rows of all sources side by side, a block at a time.

    Parameters
    ----------
    sources : dict of str to h5py.File
        Feature files.
    split : str
        The dataset to copy, `train` or `test`.
    pool : Pool
        The pictures of every row of the target.
    target : h5py.Dataset of shape (pool.n_rows, at least the sum of all features), float32
        Where to write.
    progress : Progress
        Counts the rows.
    """
    for block in block_slices(pool.n_rows, target.shape[1] * 4):
        first_column = 0
        for source in sources.values():
            rows = pool.read(source[split], block)
            target[block, first_column : first_column + rows.shape[1]] = rows
            first_column += rows.shape[1]
        progress.add(block.stop - block.start)


def fill_missing(target: h5py.Dataset, mean: np.ndarray | None = None) -> np.ndarray:
    """Replace NaN, of places without a picture, by the mean of the column; return the means, (n_features,).

    Parameters
    ----------
    target : h5py.Dataset of shape (n, n_features)
    mean : ndarray of shape (n_features,), optional
        Those of the training rows, for the test rows.
    """
    if mean is None:
        total, count = np.zeros(target.shape[1]), np.zeros(target.shape[1])
        for block in block_slices(len(target), target.shape[1] * 4):
            rows = target[block]
            total += np.nansum(rows, axis=0, dtype=np.float64)
            count += (~np.isnan(rows)).sum(axis=0)
        mean = total / np.maximum(count, 1)
    for block in block_slices(len(target), target.shape[1] * 4):
        rows = target[block]
        missing = np.isnan(rows)
        if missing.any():
            target[block] = np.where(missing, mean.astype(np.float32), rows)
    return mean


def columns_of(n_features: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the first column of every block of features and the one after its last."""
    stops = np.cumsum(list(n_features.values())).tolist()
    return {name: (stop - n, stop) for (name, n), stop in zip(n_features.items(), stops, strict=True)}
