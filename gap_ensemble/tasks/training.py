"""What heads are trained on: the rows of the ensemble's features with their targets, groups and folds."""

import json
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from gap_ensemble.competition.found import read_rows
from gap_ensemble.heads.ensemble import EnsembleData
from gap_ensemble.heads.rows import Features
from gap_ensemble.params import Params
from gap_ensemble.paths import GROUPS
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.tasks.task import Encoding, Task
from gap_ensemble.validation.folds import validation_folds
from gap_ensemble.validation.groups import connected_groups


@dataclass(frozen=True)
class TrainingSet:
    """The training rows, in the order of `features/ensemble.h5`.

    Attributes
    ----------
    name : list of str
        The rows, as `data/rows.csv` names them.
    y : ndarray of shape (n_rows, ...)
        Targets, as `Task.encode` gives them.
    group : ndarray of shape (n_rows,), integer
        Near-duplicates and the rows of one of `data.groups` are one group.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row validates, from 0; -1 for a row that only trains.
    columns : dict of str to slice
        The columns of each backbone.
    seed : int
    """

    name: list[str]
    y: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    columns: dict[str, slice]
    seed: int

    def data(self, features: Features, encoding: Encoding) -> EnsembleData:
        """Return what an ensemble of heads is trained on, in one encoding of the targets."""
        return EnsembleData(features, encoding.encode(self.y), encoding.outputs, self.fold, self.group, self.seed)


def read_training_set(task: Task, file: h5py.File, params: Params) -> TrainingSet:
    """Read the rows of an open ensemble file, with targets and groups of the stages before.

    Raises
    ------
    UserError
        If there are too few groups for `train.folds`.
    """
    name = texts(file["train_row"])
    rows = read_rows()
    rows = rows[rows["split"] == "train"].set_index("row", drop=False).loc[name]
    y = task.encode(rows)
    duplicates = pd.read_csv(GROUPS, dtype=str)
    of_row = dict(duplicates.loc[duplicates["split"] == "train", ["row", "group"]].itertuples(index=False))
    group = connected_groups([rows["group"].tolist(), [of_row.get(one, "") for one in name]])
    fine_tuned_on = file["fine_tuned_on"][:] if "fine_tuned_on" in file else np.zeros(len(y), bool)
    fold = validation_folds(task.strata(y), group, fine_tuned_on, params.train.folds, params.seed)
    columns = {backbone: slice(*span) for backbone, span in json.loads(file.attrs["columns"]).items()}
    return TrainingSet(name, y, group, fold, columns, params.seed)
