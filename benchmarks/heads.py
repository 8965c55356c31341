"""Compare heads, clips and flip averaging on real pictures, all on the same folds.

    python -m benchmarks.heads --raw data/raw --weights xception.weights.h5

`--raw` is a competition's folder with two classes, `--weights` a weights file of `--backbone` (without it, Keras's own
ImageNet weights). Features are extracted once, and once more with flip averaging, in a repository of their own
(`--work`), so that a second run starts with the heads.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gap_ensemble.scoring.scores import CLIPS, Calibration, Scores, cross_fitted_log_loss, fit_calibration
from sklearn.linear_model import LogisticRegression

from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.messages.errors import run
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.params import Train
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.validation.folds import assign_folds
from stages.train import group_numbers
from tools.workspace import dvc, lay_out

SEED = 2017
RECIPE = {"normalize": False, "optimizer": "adadelta", "epochs": 8, "dropout": 0.5, "l2": 0.0, "batch_size": 128}
DENSE, LOGISTIC = "dense (`head: dense`, the default)", "logistic (`head: logistic`)"
HEADS: dict[str, dict[str, Any]] = {
    "2017 recipe, Keras 1's adadelta (rate 1.0)": {**RECIPE, "learning_rate": 1.0},
    "2017 recipe, Keras 3's adadelta (rate 0.001)": {**RECIPE, "learning_rate": 0.001},
    DENSE: {},
    "dense, early stopping (`epochs: 50`, `patience: 3`)": {"epochs": 50, "patience": 3},
    LOGISTIC: {"head": "logistic"},
}
FIXED_CLIP = Calibration(0.005, 0.995)


def main() -> None:
    """Extract if needed, then print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads")
    parser.add_argument("--raw", type=Path, required=True, help="a competition's folder")
    parser.add_argument("--weights", default="imagenet", help="a weights file; default: %(default)s")
    parser.add_argument("--backbone", default="Xception", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-heads"), help="default: %(default)s")
    arguments = parser.parse_args()
    make_deterministic(SEED)

    plain, plain_seconds = extract(arguments, flip=False)
    flipped, flip_seconds = extract(arguments, flip=True)
    features, label, fold = plain
    print(f"\n{len(label):,} pictures, {features.shape[1]:,} features of {arguments.backbone}, 5 folds, out of fold\n")
    print("| head | log loss | clipped | accuracy | AUC | seconds |\n| --- | --- | --- | --- | --- | --- |")
    out_of_fold = {}
    for name, changes in HEADS.items():
        start = time.perf_counter()
        out_of_fold[name] = pipeline_head(Train(**changes), features, label, fold)
        print_row(name, out_of_fold[name], label, fold, time.perf_counter() - start)
    start = time.perf_counter()
    proba = plain_logistic(features, label, fold)
    print_row("scikit-learn `LogisticRegression(C=1)`", proba, label, fold, time.perf_counter() - start)

    print("\n| clip | dense head, log loss | logistic head, log loss |\n| --- | --- | --- |")
    for low in CLIPS:
        losses = [Calibration(low, 1 - low).log_loss(label, out_of_fold[name], None) for name in (DENSE, LOGISTIC)]
        print(f"| [{low:g}, {1 - low:g}] | {losses[0]:.4f} | {losses[1]:.4f} |")
    losses = [cross_fitted_log_loss(label, out_of_fold[name], fold, None) for name in (DENSE, LOGISTIC)]
    print(f"| auto, fitted without the fold that it judges | {losses[0]:.4f} | {losses[1]:.4f} |")
    for name in (DENSE, LOGISTIC):
        chosen = fit_calibration(label, out_of_fold[name], None)
        print(f"\nauto, {name}: clip {chosen.low:g}, temperature {chosen.temperature:g}")

    print("\n| features | extraction, relative | dense head, log loss | logistic head, log loss |")
    print("| --- | --- | --- | --- |")
    for kind, rows, seconds in (("plain", features, plain_seconds), ("with flip", flipped[0], flip_seconds)):
        losses = []
        for name in (DENSE, LOGISTIC):
            proba = out_of_fold[name] if kind == "plain" else pipeline_head(Train(**HEADS[name]), rows, label, fold)
            losses.append(Calibration().log_loss(label, proba, None))
        print(f"| {kind} | {seconds / plain_seconds:.2f} | {losses[0]:.4f} | {losses[1]:.4f} |")


def extract(arguments: argparse.Namespace, flip: bool) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], float]:
    """Run the stages up to ensemble, and return features, labels and folds, and the seconds that extraction took."""

    def change(params: dict[str, Any]) -> None:
        weights = arguments.weights
        weights = weights if weights in ("imagenet", "random") else str(Path(weights).resolve())
        params["data"]["raw"] = str(arguments.raw.resolve())
        params["backbones"] = {arguments.backbone: {"weights": weights}}
        params["extract"]["flip"] = flip

    lay_out(arguments.work, change)
    dvc("repro", "link", cwd=arguments.work)
    start = time.perf_counter()
    dvc("repro", f"extract@{arguments.backbone}", cwd=arguments.work)
    seconds = time.perf_counter() - start
    # A later run finds the features in DVC's cache; the time is that of the run that made them.
    timing = arguments.work / f"seconds-{arguments.backbone}-{flip}.json"
    seconds = max(seconds, json.loads(timing.read_text()) if timing.exists() else 0.0)
    timing.write_text(json.dumps(seconds))
    dvc("repro", "ensemble", cwd=arguments.work)
    with open_features(arguments.work / "features/ensemble.h5") as file:
        features, label, files = file["train"][:], file["label"][:], texts(file["train_file"])
    groups = group_numbers(files, pd.read_csv(arguments.work / "features/groups.csv"))
    return (features, label, assign_folds(label, 5, SEED, groups)), seconds


def pipeline_head(options: Train, features: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the out-of-fold probabilities of a head of the pipeline, shape (n_samples, 2)."""
    data = EnsembleData(features, label, Outputs("classes", 2), fold, np.arange(len(label)), SEED)
    fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
    proba = np.empty((len(label), 2))
    for k in range(data.n_folds):
        for rows, predictions in fitted.out_of_fold(k):
            proba[rows] = predictions
    return proba


def plain_logistic(features: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the out-of-fold probabilities of `LogisticRegression(C=1)` straight on the features."""
    proba = np.empty((len(label), 2))
    for k in range(fold.max() + 1):
        model = LogisticRegression(C=1, max_iter=2000).fit(features[fold != k], label[fold != k])
        proba[fold == k] = model.predict_proba(features[fold == k])
    return proba


def print_row(name: str, proba: np.ndarray, label: np.ndarray, fold: np.ndarray, seconds: float) -> None:
    """Print a row of the table of heads: each score over all rows, and its standard deviation over folds."""

    def scores_of(chosen: np.ndarray) -> dict[str, float]:
        scores = Scores(2)
        scores.add(label[chosen], proba[chosen])
        return {**scores.result(), "clipped": FIXED_CLIP.log_loss(label[chosen], proba[chosen], None)}

    total = scores_of(np.ones(len(label), bool))
    folds = [scores_of(fold == k) for k in range(fold.max() + 1)]
    shown = [
        f"{total[key]:.4f} ± {np.std([scores[key] for scores in folds]):.4f}"
        for key in ("log_loss", "clipped", "accuracy", "auc")
    ]
    print(f"| {name} | {' | '.join(shown)} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    run(main)
