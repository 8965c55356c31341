"""Concatenate the features of all backbones and shuffle the rows.

    python -m stages.ensemble        # or: dvc repro ensemble

Reads `features/gap/<name>.h5` of every backbone in params.yaml, in that order. Writes `features/ensemble.h5`, a feature
file like those (`gap_ensemble/storage/features.py`). The training rows are shuffled with the seed, because a head that
reads them in class order learns nothing; the test rows keep their order, because the submission goes by their names.

Also writes `features/groups.csv` (columns group, split, file): the near-duplicates, found from the features. The train
stage keeps a group in one fold.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import h5py
import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import load_params
from gap_ensemble.paths import ENSEMBLE, FEATURES, GROUPS
from gap_ensemble.storage.features import create_features, open_features
from gap_ensemble.storage.files import require_room
from gap_ensemble.storage.hdf5 import atomic_hdf5, block_slices, texts
from gap_ensemble.storage.tables import write_table
from gap_ensemble.validation.duplicates import find_duplicates


def main() -> None:
    """Run the stage."""
    params = load_params()
    with ExitStack() as stack:
        files = {name: stack.enter_context(open_features(FEATURES / f"{name}.h5")) for name in params.backbones}
        check_same_rows(files)
        first = next(iter(files.values()))
        order = np.random.default_rng(params.seed).permutation(len(first["label"]))
        rows = {name: first[name][:] for name in ("label", "train_file", "test_file", "class_names")}
        rows["label"], rows["train_file"] = rows["label"][order], rows["train_file"][order]
        seen = [file["seen"][:] for file in files.values() if "seen" in file]
        if seen:
            rows["seen"] = np.logical_or.reduce(seen)[order]
        columns = columns_of({name: file["train"].shape[1] for name, file in files.items()})
        n_features = max(stop for _, stop in columns.values())

        n_rows = len(order) + len(rows["test_file"])
        require_room(ENSEMBLE, n_rows * n_features * 4 + sum(array.nbytes for array in rows.values()))
        ensemble = stack.enter_context(atomic_hdf5(ENSEMBLE))
        create_features(ensemble, n_features, rows, {"columns": json.dumps(columns)})
        with Progress(n_rows, "Concatenating", unit="rows") as progress:
            copy_rows(files, "train", order, ensemble["train"], progress)
            copy_rows(files, "test", np.arange(len(rows["test_file"])), ensemble["test"], progress)
    print(f"{ENSEMBLE}: {n_features:,} features of {len(files)} backbones, {len(order):,} training rows shuffled")
    groups = group_duplicates(params.ensemble.duplicates, params.seed)
    write_table(GROUPS, groups)
    print(f"{GROUPS}: {len(groups):,} pictures in {groups['group'].nunique():,} groups of near-duplicates")
    largest = int(groups["group"].value_counts().max()) if len(groups) else 0
    if largest > max(10, n_rows // 50):
        print(
            f"WARNING: one group holds {largest:,} pictures, which makes the folds uneven; raise ensemble.duplicates, "
            "or set it to null where every network is untrained"
        )


def columns_of(n_features: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the first column of every backbone in the ensemble and the one after its last."""
    stops = np.cumsum(list(n_features.values())).tolist()
    return {name: (stop - n, stop) for (name, n), stop in zip(n_features.items(), stops, strict=True)}


def group_duplicates(threshold: float | None, seed: int) -> pd.DataFrame:
    """Find the near-duplicates among all pictures of the ensemble, training and test.

    Parameters
    ----------
    threshold : float or None
        Cosine similarity of standardised features; None finds no groups.
    seed : int
        Seed of the search.

    Returns
    -------
    DataFrame with columns group, split, file
        One row for every picture that has a near-duplicate.
    """
    with open_features(ENSEMBLE) as file:
        names = [("train", name) for name in texts(file["train_file"])] + [
            ("test", n) for n in texts(file["test_file"])
        ]
        frame = pd.DataFrame(names, columns=["split", "file"])
        if threshold is None:
            return frame.assign(group=0)[["group", "split", "file"]].head(0)
        n_train = len(file["train"])
        scaler = StandardScaler()
        for rows in _blocks(file):
            scaler.partial_fit(rows)

        def scaled_blocks() -> Iterator[np.ndarray]:
            return (scaler.transform(rows) for rows in _blocks(file))

        def scaled_rows(numbers: np.ndarray) -> np.ndarray:
            rows = [file["train"][i] if i < n_train else file["test"][i - n_train] for i in numbers]
            return np.asarray(scaler.transform(np.stack(rows)))

        frame["group"] = find_duplicates(scaled_blocks, scaled_rows, len(frame), threshold, seed)
    frame = frame[frame["group"].duplicated(keep=False)].sort_values(["group", "split", "file"])
    return frame.assign(group=pd.factorize(frame["group"])[0] + 1)[["group", "split", "file"]]


def _blocks(file: h5py.File) -> Iterator[np.ndarray]:
    """Yield all rows of a feature file, training first, a block at a time."""
    for name in ("train", "test"):
        for block in block_slices(len(file[name]), file[name].shape[1] * 4):
            yield file[name][block]


def check_same_rows(files: dict[str, h5py.File]) -> None:
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
        for dataset in ("class_names", "label", "train_file", "test_file"):
            expected, found = first[dataset][:], file[dataset][:]
            if expected.shape != found.shape:
                problem = f"{len(found):,} rows of {dataset} instead of {len(expected):,}"
            elif (expected != found).any():
                row = int(np.flatnonzero(expected != found)[0])
                problem = f"{dataset} row {row} is {_shown(found[row])} instead of {_shown(expected[row])}"
            else:
                continue
            problems.append(
                f"{FEATURES / name}.h5: not the same pictures in the same order as {first_name}.h5: {problem}; run "
                f"`dvc repro --force extract@{name} extract@{first_name}`"
            )
            break
    if problems:
        raise UserError(problems)


def copy_rows(
    sources: dict[str, h5py.File], name: str, order: np.ndarray, target: h5py.Dataset, progress: Progress
) -> None:
    """Write the rows of all sources side by side, in the given order, a block at a time.

    Parameters
    ----------
    sources : dict of str to h5py.File
        Feature files.
    name : str
        The dataset to copy, of shape (n, d) in each source.
    order : ndarray of shape (n,), integer
        Row of the sources for each row of the target.
    target : h5py.Dataset of shape (n, sum of d), float32
        Where to write.
    progress : Progress
        Counts the rows.
    """
    for block in block_slices(len(order), target.shape[1] * 4):
        rows = np.empty((block.stop - block.start, target.shape[1]), np.float32)
        first_column = 0
        for source in sources.values():
            dataset = source[name]
            columns = slice(first_column, first_column + dataset.shape[1])
            # One row at a time: h5py's own selection of scattered rows is slower by orders of magnitude.
            for i, row in enumerate(order[block]):
                dataset.read_direct(rows, np.s_[row], np.s_[i, columns])
            first_column = columns.stop
        target[block] = rows
        progress.add(len(rows))


def _shown(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    run(main)
