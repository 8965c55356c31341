"""Train the heads, fold by fold, and predict every row by the one model that was trained without it.

    python -m stages.train        # or: dvc exp run -S train.dropout=0.3

Reads `features/ensemble.h5`, the targets in `data/rows.csv` and the groups of near-duplicates. Writes

    models/fold_<k>/        the heads of each fold
    results/oof.h5          out-of-fold predictions, as numbers (`gap_ensemble/storage/predictions.py`)
    results/training/       learning curves and other plots, through DVCLive

A group (near-duplicates, `data.groups`) stays in one fold: a row is predicted without its group mates.
"""

import shutil

import pandas as pd

from gap_ensemble.competition.found import read_competition
from gap_ensemble.heads.ensemble import fit_ensemble
from gap_ensemble.messages.errors import run
from gap_ensemble.params import Predict, load_params
from gap_ensemble.paths import ENSEMBLE, MODELS, OOF
from gap_ensemble.reporting.live import log_training, open_live
from gap_ensemble.reporting.plots import Training
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.predictions import open_predictions
from gap_ensemble.tasks.choose import choose_encoding
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import task_of
from gap_ensemble.tasks.training import read_training_set
from gap_ensemble.validation.folds import warn_of_rare_strata


def main() -> None:
    """Run the stage."""
    params = load_params()
    live = open_live()
    task = task_of(read_competition())
    with open_features(ENSEMBLE, named="row") as file:
        training = read_training_set(task, file, params)
        warn_of_rare_strata(task.text(training.y), training.fold, params.train.folds)
        encodings = task.encodings(training.y)
        fitted = []
        for encoding in encodings:
            if len(encodings) > 1:
                print(f"Learning {encoding.name}, one of {len(encodings)} ways; the better one is taken", flush=True)
            fitted.append(fit_ensemble(params.train, training.columns, training.data(file["train"], encoding)))
        chosen = choose_encoding(task, encodings, fitted, training.y, task.decision(Predict()))
        # Folds of an earlier run by hand, with more of them, must not be averaged in.
        shutil.rmtree(MODELS, ignore_errors=True)
        chosen.save(MODELS)
        chosen.write_out_of_fold(OOF, training.name)
    with open_predictions(OOF) as predictions:
        order = pd.Index(training.name).get_indexer(predictions.row)
        evaluation = Evaluation(task, predictions, training.y[order])
        log_training(live, task, Training(chosen.learned, chosen.curves), evaluation)
        print("Out of fold, of the predictions as they are (stage predict scores what is submitted):")
        for name, value in evaluation.usual_scores().items():
            print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    run(main)
