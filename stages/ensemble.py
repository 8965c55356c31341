"""Put the features of all backbones side by side, a row for each row of the submission, and shuffle them.

    python -m stages.ensemble        # or: dvc repro ensemble

Reads `features/gap/<name>.h5` of every backbone in params.yaml, in that order. Where a row has several pictures, their
features are pooled. Writes `features/ensemble.h5`, a feature file like those (`gap_ensemble/storage/features.py`). The
training rows are shuffled with the seed, because a head that reads them in class order learns nothing; the test rows
keep the order of the sample submission.

Also writes `features/groups.csv` (columns group, split, row): the near-duplicates, found from the features. The train
stage keeps a group in one fold.
"""

import json
from contextlib import ExitStack

import h5py
import numpy as np
import pandas as pd

from gap_ensemble.competition.column_encoding import column_features
from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.messages.errors import run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import load_params
from gap_ensemble.paths import ENSEMBLE, FEATURES, GROUPS
from gap_ensemble.storage.concatenate import (
    check_same_pictures,
    columns_of,
    copy_rows,
    fill_missing,
    pool_of,
    rows_with_pictures,
)
from gap_ensemble.storage.features import create_features, open_features
from gap_ensemble.storage.files import require_room
from gap_ensemble.storage.hdf5 import atomic_hdf5, text_array
from gap_ensemble.storage.manifest import whole_pictures
from gap_ensemble.storage.tables import write_table
from gap_ensemble.validation.duplicates import group_duplicates


def main() -> None:
    """Run the stage."""
    params = load_params()
    competition, rows = read_competition(), read_rows()
    pictures = {split: whole_pictures(split) for split in ("train", "test")}
    names = {split: rows_with_pictures(pictures[split], rows, split) for split in pictures}
    order = np.random.default_rng(params.seed).permutation(len(names["train"]))
    names["train"] = [names["train"][i] for i in order]
    pools = {
        split: pool_of(pictures[split], names[split], competition.pooling, competition.slots) for split in pictures
    }
    of_split = {split: rows[rows["split"] == split].set_index("row").loc[names[split]] for split in pictures}
    tables = dict(zip(("train", "test"), column_features(of_split["train"], of_split["test"]), strict=True))

    with ExitStack() as stack:
        files = {name: stack.enter_context(open_features(FEATURES / f"{name}.h5")) for name in params.backbones}
        check_same_pictures(files)
        columns = columns_of(
            {name: file["train"].shape[1] * pools["train"].n_slots for name, file in files.items()}
            | ({"columns": tables["train"].shape[1]} if tables["train"].shape[1] else {})
        )
        n_features = max(stop for _, stop in columns.values())
        n_networks = n_features - tables["train"].shape[1]
        datasets = {f"{split}_row": text_array(names[split]) for split in pictures}
        if any("fine_tuned_on" in file for file in files.values()):
            datasets["fine_tuned_on"] = _fine_tuned_on(files, pools["train"].pictures, pools["train"].first)

        n_rows = sum(map(len, names.values()))
        require_room(ENSEMBLE, n_rows * n_features * 4 + sum(array.nbytes for array in datasets.values()))
        with atomic_hdf5(ENSEMBLE) as ensemble:
            create_features(ensemble, n_features, datasets, {"columns": json.dumps(columns)}, named="row")
            with Progress(n_rows, "Concatenating", unit="rows") as progress:
                for split in pictures:
                    copy_rows(files, split, pools[split], ensemble[split], progress)
                    ensemble[split][:, n_networks:] = tables[split]
            if competition.pooling == "side_by_side" and competition.slots:
                fill_missing(ensemble["test"], fill_missing(ensemble["train"]))
    print(f"{ENSEMBLE}: {n_features:,} features of {', '.join(columns)}, {len(order):,} training rows shuffled")

    with open_features(ENSEMBLE, named="row") as file:
        hashes = {split: _hashes(pictures[split], names[split]) for split in pictures}
        groups = group_duplicates(file, n_networks, hashes, params.ensemble.duplicates, params.seed)
    write_table(GROUPS, groups)
    print(f"{GROUPS}: {len(groups):,} rows in {groups['group'].nunique():,} groups of near-duplicates")
    largest = int(groups["group"].value_counts().max()) if len(groups) else 0
    if largest > max(10, n_rows // 50):
        print(
            f"WARNING: one group holds {largest:,} rows, which makes the folds uneven; raise ensemble.duplicates, or "
            "set it to null where every network is untrained"
        )


def _fine_tuned_on(files: dict[str, h5py.File], pictures: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the rows of which any fine-tuned network knows the label of any picture, (n_rows,) bool."""
    known = np.logical_or.reduce([file["fine_tuned_on"][:] for file in files.values() if "fine_tuned_on" in file])
    return np.logical_or.reduceat(known[pictures], first[:-1])


def _hashes(pictures: pd.DataFrame, names: list[str]) -> list[str]:
    """Return the hashes of every row's pictures as one text."""
    return pictures.groupby("id")["md5"].agg(" ".join).loc[names].tolist()


if __name__ == "__main__":
    run(main)
