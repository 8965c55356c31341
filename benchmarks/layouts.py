"""Run the pipeline on every competition of a folder of layouts, and score the submissions on their answers.

    python -m benchmarks.layouts --layouts FOLDER
    python -m benchmarks.layouts --layouts FOLDER leaf-classification dogs-vs-cats

`FOLDER/NAME/` is a competition as Kaggle ships it, `FOLDER/answers/NAME.csv` its answers in the form of the sample. The
network is small and untrained, so the scores say that ids, forms and decisions are right, and nothing of what pictures
can tell. Scores are computed here with scikit-learn, from the written file alone: a second opinion on the pipeline's.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, fbeta_score, roc_auc_score
from sklearn.preprocessing import MultiLabelBinarizer

from gap_ensemble.competition.found import Competition, read_competition
from gap_ensemble.messages.errors import run
from gap_ensemble.paths import COMPETITION, METRICS, SUBMISSION
from tools.workspace import lay_out

# The lines of params.yaml, below `data:`, that make the competition's own metric and groups known.
LINES: dict[str, dict[str, Any]] = {
    "UBC-OCEAN-one-slide": {"metric": "balanced_accuracy"},
    "aerial-cactus-identification": {"metric": "roc_auc"},
    "alaska2-image-steganalysis": {
        "positive_class": ["JMiPOD", "JUNIWARD", "UERD"],
        "metric": "roc_auc",
        "groups": "([^/]+)$",
    },
    "diabetic-retinopathy-detection": {"groups": r"(\d+)_(left|right)"},
    "dogs-vs-cats": {"metric": "accuracy"},
    "herbarium-2021-fgvc8": {"metric": "f1_macro"},
    "histopathologic-cancer-detection": {"metric": "roc_auc"},
    "human-protein-atlas-image-classification": {"metric": "f1_macro"},
    "inaturalist-2019-fgvc6": {"metric": "top_5_error"},
    "iwildcam-2020-fgvc7": {"groups": "location"},
    "leaf-classification": {"columns": "all"},
    "planet-understanding-the-amazon-from-space": {"metric": "f2_samples"},
    "ranzcr-clip-catheter-line-classification": {"groups": "PatientID"},
    "rsna-breast-cancer-detection": {"groups": "patient_id"},
    "siim-isic-melanoma-classification": {"groups": "patient_id", "metric": "roc_auc"},
    "state-farm-distracted-driver-detection": {"groups": "subject"},
}
STAGES = ("link", "extract", "ensemble", "train", "predict")
# One process for all stages: importing TensorFlow takes longer than any of them.
CALL = """
import importlib, sys
from gap_ensemble.messages.errors import run
for stage, *sys.argv[1:] in {stages}:
    run(importlib.import_module(f"stages.{{stage}}").main)
"""


def main() -> None:
    """Run and score the layouts, one row of a table each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layouts")
    parser.add_argument("--layouts", type=Path, required=True, help="a folder of competitions, and their answers/")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-layouts"))
    parser.add_argument("names", nargs="*", help="competitions; by default all of the folder")
    arguments = parser.parse_args()
    layouts = arguments.layouts.resolve()
    names = arguments.names or sorted(p.name for p in layouts.iterdir() if p.is_dir() and p.name != "answers")
    print(
        "| competition | lines | form | metric | out of fold | on its answers |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in names:
        print(row(name, layouts, arguments.work / name), flush=True)


def row(name: str, layouts: Path, work: Path) -> str:
    """Run the pipeline on one layout and return its row of the table."""
    lines = LINES.get(name, {})
    shown = ", ".join(f"`{key}: {value}`" for key, value in lines.items()) or "none"

    def change(params: dict[str, Any]) -> None:
        params["data"] |= {"raw": str(layouts / name), **lines}
        params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 32}}
        params["ensemble"]["duplicates"] = None  # An untrained network finds pictures of one colour alike.

    shutil.rmtree(work, ignore_errors=True)
    lay_out(work, change)
    stages = [(stage, *(["MobileNet"] if stage == "extract" else [])) for stage in STAGES]
    done = subprocess.run([sys.executable, "-c", CALL.format(stages=stages)], cwd=work, capture_output=True, text=True)
    if done.returncode:
        error = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-200:])
        return f"| {name} | {shown} | refused | | | {error} |"
    competition = read_competition(work / COMPETITION)
    metric = competition.task.metric
    own = json.loads((work / METRICS).read_text(encoding="utf-8"))
    out_of_fold = next((value for key, value in own.items() if key.endswith(metric)), float("nan"))
    form = competition.submission.form if competition.submission else "none"
    score = on_answers(competition, work / SUBMISSION, layouts, name)
    return f"| {name} | {shown} | {form} | {metric} | {out_of_fold:.3f} | {score} |"


def on_answers(competition: Competition, submission: Path, layouts: Path, name: str) -> str:
    """Check ids and header of a submission against the sample, and score it on the answers, if there are some."""
    form = competition.submission
    if form is None:
        return "no sample submission"
    submitted = pd.read_csv(submission, dtype=str, keep_default_na=False)
    if list(submitted.columns) != form.columns:
        return f"WRONG HEADER {list(submitted.columns)}"
    path = layouts / "answers" / f"{name}.csv"
    if not path.is_file():
        return f"no answers; {len(submitted):,} rows"
    answers = pd.read_csv(path, dtype=str, keep_default_na=False).set_index(form.id_column)
    table = submitted.set_index(form.id_column)
    if not set(answers.index) <= set(table.index):
        return "WRONG IDS"
    table = table.loc[answers.index]
    score = next(score for pattern, score in SCORES.items() if re.fullmatch(pattern, competition.task.metric))
    return f"{score(competition, answers, table):.3f}"


def _numbers(table: pd.DataFrame) -> np.ndarray:
    return table.to_numpy().astype(float)


def _log_loss(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    truth, proba = _numbers(answers), np.clip(_numbers(table[answers.columns]), 1e-15, 1 - 1e-15)
    if truth.shape[1] > 1 and (truth.sum(axis=1) == 1).all():
        return float(-np.log(proba / proba.sum(axis=1, keepdims=True))[truth == 1].mean())
    return float(-(truth * np.log(proba) + (1 - truth) * np.log(1 - proba)).mean())


def _roc_auc(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    columns = [column for column in answers if answers[column].nunique() > 1]
    return float(
        np.mean([roc_auc_score(answers[column].astype(float), table[column].astype(float)) for column in columns])
    )


def _one(function: Callable[[pd.Series, pd.Series], float]) -> Callable[..., float]:
    return lambda _, answers, table: function(answers.iloc[:, 0], table.iloc[:, 0])


def _kappa(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    return cohen_kappa_score(answers.iloc[:, 0].astype(int), table.iloc[:, 0].astype(int), weights="quadratic")


def _f_score(competition: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    beta, _, average = competition.task.metric[1:].partition("_")
    truth, said = answers.iloc[:, 0], table.iloc[:, 0]
    if competition.task.kind != "labels":
        return fbeta_score(truth, said, beta=float(beta), average=average, zero_division=0)
    sets = [[value.split(competition.task.separator) for value in column] for column in (truth, said)]
    marks = MultiLabelBinarizer().fit(sets[0] + sets[1])
    both = [marks.transform(values) for values in sets]
    return fbeta_score(*both, beta=float(beta), average=average, zero_division=0)


def _ranks(answers: pd.DataFrame, table: pd.DataFrame) -> list[int | None]:
    """Return the place of the truth among the guesses of every row."""
    pairs = zip(answers.iloc[:, 0], table.iloc[:, 0].str.split(), strict=True)
    return [guesses.index(truth) if truth in guesses else None for truth, guesses in pairs]


def _mean_precision(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    return float(np.mean([0 if rank is None else 1 / (rank + 1) for rank in _ranks(answers, table)]))


def _top_error(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    return float(np.mean([rank is None for rank in _ranks(answers, table)]))


def _rmse(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    return float(np.sqrt(np.mean((_numbers(answers) - _numbers(table[answers.columns])) ** 2)))


def _gap(_: Competition, answers: pd.DataFrame, table: pd.DataFrame) -> float:
    """Return the micro average precision of confidences."""
    said = table.iloc[:, 0].str.rsplit(" ", n=1, expand=True)
    order = np.argsort(-said[1].astype(float).to_numpy(), kind="stable")
    right = (said[0].to_numpy() == answers.iloc[:, 0].to_numpy())[order]
    return float(np.sum(right * np.cumsum(right) / np.arange(1, len(right) + 1)) / len(right))


SCORES: dict[str, Callable[..., float]] = {
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
    "accuracy": _one(accuracy_score),
    "balanced_accuracy": _one(balanced_accuracy_score),
    "quadratic_kappa": _kappa,
    r"f[12]_\w+": _f_score,
    r"map_at_\d+": _mean_precision,
    r"top_\d+_error": _top_error,
    "rmse": _rmse,
    "gap": _gap,
}


if __name__ == "__main__":
    run(main)
