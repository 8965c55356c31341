"""Write the submission: the sample's ids, in its order, with its columns.

    python -m stages.predict        # or: dvc repro

Reads the test features, the models of all folds, their out-of-fold predictions and the sample submission. Writes

    submissions/submission.csv      what Kaggle gets
    results/test.h5                 predictions of the test rows as numbers, like those out of fold, for blending
    results/metrics.json            for `dvc metrics`: the competition's metric on what is submitted, first

A prediction is the mean over the models of all folds. What turns it into what is submitted (a clip, cut points,
thresholds, the k best) follows the metric, and is fitted out of fold. Rows are matched by id, never by position. Test
rows whose pictures can't be decoded get the frequencies of the training rows.
"""

import json

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.messages.errors import run
from gap_ensemble.params import Params, load_params
from gap_ensemble.paths import ENSEMBLE, METRICS, MODELS, OOF, SAMPLE, SUBMISSION, TEST
from gap_ensemble.scoring.calibration import Calibration
from gap_ensemble.scoring.decisions import Decision
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.storage.predictions import open_predictions
from gap_ensemble.tasks.choose import load_models
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.predicting import TestRows, never_submitted, predict_test, write_submission
from gap_ensemble.tasks.task import Task, task_of


def main() -> None:
    """Run the stage."""
    params = load_params()
    competition, rows = read_competition(), read_rows()
    task = task_of(competition)
    train, test = (rows[rows["split"] == split].set_index("row", drop=False) for split in ("train", "test"))
    y = task.encode(train)
    decision = decide(params, task, train)
    with open_features(ENSEMBLE, named="row") as file:
        encoding, models = load_models(MODELS, task, task.encode(train.loc[texts(file["train_row"])]))
        predict_test(TEST, TestRows(file, test["row"].tolist(), task.prior(y)), encoding, models)
    if competition.submission is None:
        write_text(SUBMISSION, "")
        print(f"WARNING: {SUBMISSION}: empty, since there is no sample submission; put one beside the pictures")
        return
    with open_predictions(TEST) as predictions, open_predictions(OOF) as out_of_fold:
        n_rows = write_submission(SUBMISSION, SAMPLE, task, decision, predictions)
        never = never_submitted(task, decision, y, predictions, out_of_fold)
    print(f"{SUBMISSION}: {n_rows:,} rows" + ("" if n_rows else "; there are no test pictures yet"))
    word = "grade" if competition.task.kind == "grades" else "class"
    for name, count in never.items():
        print(
            f"{SUBMISSION}: {word} {name} is given to no row, nor is it out of fold, though {count:,} of {len(y):,} "
            f"training rows have it; that may well be best for {task.metric.name}: see its pictures in the report"
        )


def decide(params: Params, task: Task, train: pd.DataFrame) -> Decision:
    """Fit the decision out of fold, and write the scores that it gives to `results/metrics.json`.

    Parameters
    ----------
    params : Params
    task : Task
    train : DataFrame
        The training rows of `data/rows.csv`, by their names.

    Returns
    -------
    Decision
        Fitted to all rows that validate.
    """
    decision = task.decision(params.predict)
    with open_predictions(OOF) as predictions:
        y = task.encode(train.loc[predictions.row])
        evaluation = Evaluation(task, predictions, y)
        scores = evaluation.submitted_scores(decision)
        fitted = evaluation.fit(decision)
        n_folds = len(np.unique(predictions.fold))
        counts = {
            "train_n_samples": len(train) - (len(y) // n_folds if n_folds > 1 else len(y)),
            "val_n_samples": len(y),
        }
        # By their names, because DVC's tables are sorted: what is submitted first.
        submitted = {f"submitted_{key}": value for key, value in fitted.numbers().items()}
        metrics = scores | submitted | counts | evaluation.usual_scores()
        if isinstance(decision, Calibration) and decision.clip != "auto":
            would_be = evaluation.submitted_scores(task.decision(params.predict.model_copy(update={"clip": "auto"})))
            print(f"predict.clip: auto would give {next(iter(would_be.items()))[1]:.4f} out of fold")
        if not isinstance(decision, Calibration) and params.predict.clip != "auto":
            print(
                f"WARNING: params.yaml: predict.clip: changes nothing: {task.metric.name} is not computed on clipped "
                "probabilities, only log_loss is"
            )
    write_text(METRICS, json.dumps(metrics, indent=4) + "\n")
    name, score = next(iter(scores.items()))
    spread = scores.get(f"{name}_std")
    shown = "" if spread is None else f" ± {spread:.4f} over folds"
    said = ", ".join(f"{key} {value:g}" for key, value in fitted.numbers().items())
    print(f"{name}: {score:.4f}{shown}, of {len(y):,} rows out of fold" + (f" ({said})" if said else ""))
    return fitted


if __name__ == "__main__":
    run(main)
