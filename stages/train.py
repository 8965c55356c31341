"""Train the heads, fold by fold, and predict every row by the one model that was trained without it.

    python -m stages.train        # or: dvc exp run -S train.dropout=0.3

Reads `features/ensemble.h5`, the targets in `data/rows.csv` and the groups of near-duplicates. Writes

    models/fold_<k>/        the heads of each fold
    results/oof.h5          out-of-fold predictions, as numbers (`gap_ensemble/storage/predictions.py`)
    results/training/       learning curves and other plots, through DVCLive

A group (near-duplicates, `data.groups`) stays in one fold: a row is predicted without its group mates.
"""

import json
import shutil

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.messages.errors import run
from gap_ensemble.params import Predict, load_params
from gap_ensemble.paths import ENSEMBLE, GROUPS, MODELS, OOF
from gap_ensemble.reporting.live import log_training, open_live
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.storage.predictions import open_predictions
from gap_ensemble.tasks.choose import choose_encoding
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import task_of
from gap_ensemble.validation.folds import validation_folds, warn_of_rare_strata
from gap_ensemble.validation.groups import connected_groups


def main() -> None:
    """Run the stage."""
    params = load_params()
    live = open_live()
    task = task_of(read_competition())
    with open_features(ENSEMBLE, named="row") as file:
        names = texts(file["train_row"])
        rows = read_rows()
        rows = rows[rows["split"] == "train"].set_index("row", drop=False).loc[names]
        y = task.encode(rows)
        duplicates = pd.read_csv(GROUPS, dtype=str)
        of_row = dict(duplicates.loc[duplicates["split"] == "train", ["row", "group"]].itertuples(index=False))
        group = connected_groups([rows["group"].tolist(), [of_row.get(name, "") for name in names]])
        fine_tuned_on = file["fine_tuned_on"][:] if "fine_tuned_on" in file else np.zeros(len(y), bool)
        strata = task.strata(y)
        fold = validation_folds(strata, group, fine_tuned_on, params.train.folds, params.seed)
        warn_of_rare_strata(task.text(y), fold, params.train.folds)

        columns = {name: slice(*span) for name, span in json.loads(file.attrs["columns"]).items()}
        fitted = [
            fit_ensemble(
                params.train,
                columns,
                EnsembleData(file["train"], encoding.encode(y), encoding.outputs, fold, group, params.seed),
            )
            for encoding in task.encodings(y)
        ]
        chosen = choose_encoding(task, task.encodings(y), fitted, y, task.decision(Predict()))
        # Folds of an earlier run by hand, with more of them, must not be averaged in.
        shutil.rmtree(MODELS, ignore_errors=True)
        chosen.save(MODELS)
        chosen.write_out_of_fold(OOF, names)
    with open_predictions(OOF) as predictions:
        order = pd.Index(names).get_indexer(predictions.row)
        evaluation = Evaluation(task, predictions, y[order])
        log_training(live, task, chosen.curves, evaluation)
        for name, value in evaluation.usual_scores().items():
            print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    run(main)
