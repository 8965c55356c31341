"""One table of heads and ensembles over several competitions, out of fold, beside plain scikit-learn.

    python -m benchmarks.heads REPOSITORY ...                  # dvc repro ensemble has run in each
    python -m benchmarks.heads REPOSITORY ... --only default auto

Reads `features/ensemble.h5`, `features/groups.csv`, the targets and the folds of each repository as stage train does,
and trains every row of the table on the same folds. `default` is params.yaml as it is; `dense`, `logistic`, `ridge`,
`auto` and `seeds-3` are heads on all features side by side; `only NAME` is the dense head on one backbone. A line has
the log loss (mean squared error of numbers), and the metric of the task on what would be submitted, cross-fitted, both
with their standard deviation over folds, and seconds.
"""

import argparse
import contextlib
import io
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gap_ensemble.competition.found import read_competition
from gap_ensemble.heads.combine import mean_row_loss
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.messages.errors import run
from gap_ensemble.params import Train, load_params
from gap_ensemble.paths import ENSEMBLE
from gap_ensemble.scoring.decisions import cross_fitted
from gap_ensemble.storage.features import open_features
from gap_ensemble.tasks.task import Encoding, Task, task_of
from gap_ensemble.tasks.training import read_training_set

SIDE_BY_SIDE = {"ensemble": "concatenate"}
OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "dense": SIDE_BY_SIDE,
    "logistic": {"head": "logistic", **SIDE_BY_SIDE},
    "ridge": {"head": "ridge", **SIDE_BY_SIDE},
    "auto": {"head": "auto", **SIDE_BY_SIDE},
    "seeds-3": {"seeds": 3, **SIDE_BY_SIDE},
    "blend": {"ensemble": "blend"},
    "auto-blend": {"head": "auto", "ensemble": "blend"},
    "auto-stack": {"head": "auto", "ensemble": "stack"},
}
STRENGTHS = (0.003, 0.01, 0.1, 1.0)
N_COMPONENTS = {"LDA": 300, "SVC": 300, "HistGradientBoosting": 50}


@dataclass
class Case:
    """A competition's features, targets and folds."""

    task: Task
    encoding: Encoding
    columns: dict[str, slice]
    data: EnsembleData
    y: np.ndarray


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads")
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", help="rows of the table; default: all")
    arguments = parser.parse_args()
    print("| competition | rows × features | outputs | head | loss ± std | metric ± std | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    home = Path.cwd()
    for repository in arguments.repositories:
        os.chdir(home / repository)
        for case in cases():
            alone = [f"only {name}" for name in case.columns] if len(case.columns) > 1 else []
            for name in [*OURS, *alone, *plain_names(case)]:
                if not arguments.only or name in arguments.only:
                    print(line(repository.name, name, case), flush=True)


def cases() -> list[Case]:
    """Read the repository in the current folder: a case for each encoding of its task."""
    params, task = load_params(), task_of(read_competition())
    with open_features(ENSEMBLE, named="row") as file:
        training, features = read_training_set(task, file, params), file["train"][:]
    return [
        Case(task, encoding, training.columns, training.data(features, encoding), training.y)
        for encoding in task.encodings(training.y)
    ]


def plain_names(case: Case) -> list[str]:
    """Return what scikit-learn is measured with."""
    if case.data.outputs.kind == "numbers":
        return [f"scikit-learn Ridge {strength:g}" for strength in STRENGTHS]
    others = [f"scikit-learn {name} on {n} components" for name, n in N_COMPONENTS.items()]
    return [*(f"scikit-learn LogisticRegression {strength:g}" for strength in STRENGTHS), *others]


def plain_model(name: str) -> Pipeline:
    """Return the model of a name that `plain_names` returns."""
    _, kind, *rest = name.split()
    if kind == "Ridge":
        return make_pipeline(StandardScaler(), Ridge(alpha=1 / float(rest[0])))
    if kind == "LogisticRegression":
        return make_pipeline(StandardScaler(), LogisticRegression(C=float(rest[0]), max_iter=1000))
    model: Any = {
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "SVC": SVC(probability=True, random_state=0),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    }[kind]
    return make_pipeline(StandardScaler(), PCA(N_COMPONENTS[kind], random_state=0), model)


def line(competition: str, name: str, case: Case, options: dict[str, Any] | None = None) -> str:
    """Train one row of the table on all folds, and return it; `options` of `train` in place of those of its name."""
    data, columns, start = case.data, case.columns, time.perf_counter()
    if name.startswith("only "):  # The default head on one backbone.
        span = columns[name.removeprefix("only ")]
        data = replace(data, features=np.ascontiguousarray(data.features[:, span]))
        columns = {name: slice(0, span.stop - span.start)}
    if not name.startswith("scikit-learn"):
        predictions = np.zeros((len(data.y), data.outputs.n), np.float32)
        with contextlib.redirect_stdout(io.StringIO()):
            fitted = fit_ensemble(Train(**(options or OURS.get(name, {}))), columns, data)
        for k in range(data.n_folds):
            for numbers, values in fitted.out_of_fold(k):
                predictions[numbers] = values
    else:
        predictions = plain(name, data)
    seconds = time.perf_counter() - start
    loss = mean_row_loss(data.outputs)
    of_folds = [loss(data.y[data.fold == k], predictions[data.fold == k]) for k in range(data.n_folds)]
    scored = data.fold >= 0
    values = case.encoding.decode(predictions)
    submitted = cross_fitted(
        case.task.decision(load_params().predict), case.y[scored], values[scored], data.fold[scored]
    )
    metric, of_row = case.task.metric, data.fold[scored]
    score = metric.score(case.y[scored], submitted)
    spread = np.std([metric.score(case.y[scored][of_row == k], submitted[of_row == k]) for k in range(data.n_folds)])
    shape = f"{len(data.y):,} × {data.features.shape[1]:,}"
    total = loss(data.y[scored], predictions[scored])
    return (
        f"| {competition} | {shape} | {data.outputs.n} {data.outputs.kind} | {name} | {total:.4f} ± "
        f"{np.std(of_folds):.4f} | {metric.name} {score:.4f} ± {spread:.4f} | {seconds:.0f} |"
    )


def plain(name: str, data: EnsembleData) -> np.ndarray:
    """Return what scikit-learn predicts out of fold from standardised features, shape (n_rows, outputs.n)."""
    predictions = np.zeros((len(data.y), data.outputs.n))
    for k in range(data.n_folds):
        trains, validates = data.fold != k, data.fold == k
        model: Any = plain_model(name)
        if data.outputs.kind == "labels":
            model = OneVsRestClassifier(model)
        model.fit(data.features[trains], data.y[trains])
        if data.outputs.kind == "numbers":
            predictions[validates] = model.predict(data.features[validates]).reshape(-1, data.outputs.n)
        elif data.outputs.kind == "labels":
            predictions[validates] = model.predict_proba(data.features[validates])
        else:
            predictions[np.ix_(validates, model.classes_)] = model.predict_proba(data.features[validates])
    return predictions


if __name__ == "__main__":
    run(main)
