"""What was found, in two lines for people."""

import re

import pandas as pd

from gap_ensemble.competition.form import is_called_like
from gap_ensemble.competition.found import Competition, Submission
from gap_ensemble.messages.errors import listed

# What else competitions are often scored by that look alike: the files do not say it, their pages do.
RIVALS = {
    "log_loss": "roc_auc",
    "roc_auc": "log_loss",
    "accuracy": "f1_macro or balanced_accuracy",
    "f1_samples": "f1_micro or f1_macro",
    "quadratic_kappa": "accuracy",
    "rmse": "mae",
}


def summary(competition: Competition, rows: pd.DataFrame, metric: str) -> list[str]:
    """Return what is predicted, from what, and what a row of the submission says.

    Parameters
    ----------
    competition : Competition
    rows : DataFrame
        As `data/rows.csv` holds them.
    metric : str
        `data.metric` of params.yaml.
    """
    task = competition.task
    what = {
        "classes": f"one of {len(task.names):,} classes",
        "grades": f"one of {len(task.names):,} grades",
        "labels": f"any of {len(task.names):,} labels",
        "numbers": f"{len(task.names):,} numbers",
    }[task.kind]
    line = f"{what} ({listed(task.names)}; labels from {task.labels_from}), scored by {task.metric}"
    if metric == "auto" and (rivals := RIVALS.get(task.metric)):
        line += f" (a guess by the form; if the competition's page says {rivals}, for example, set data.metric)"
    if task.kind == "labels":
        targets = rows["target"][rows["split"] == "train"]
        counts = targets.str.count(re.escape(task.separator)) + (targets != "")
        line += f"; {counts.mean():.2f} labels a row, in {targets.nunique():,} combinations"
    n_groups = rows["group"][(rows["split"] == "train") & (rows["group"] != "")].nunique()
    if n_groups:
        line += f"; {n_groups:,} groups stay in one fold each"
    lines = [line, form_summary(competition.submission)]
    if rows["pictures"].max() > 1:
        counts = rows["pictures"][rows["pictures"] > 0]
        several = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else f"{counts.max()}"
        how = f"side by side ({listed(competition.slots, 12)})" if competition.slots else f"their {competition.pooling}"
        lines.append(f"{several} pictures a row, {how}")
    return lines


def form_summary(form: Submission | None) -> str:
    """Return what a row of the submission says, in one line."""
    if form is None:
        return "no sample submission: everything up to the scores runs"
    column, positive = form.columns[-1], form.positive_class or ""
    is_guess = not positive.isdigit() and not is_called_like(column, positive)
    by = " (the last by name, unless data.positive_class says which)" if is_guess else ""
    meaning = {
        "probability": f"{column} = probability of {positive}{by}",
        "probabilities": f"{column} and the other columns = probability of the class or label of that name",
        "class": f"{column} = name of the class",
        "class_confidence": f"{column} = class and confidence",
        "guesses": f"{column} = the {form.n_guesses} most probable classes, the best first",
        "hard": f"{column} = 1 for {positive}, else 0{by}",
        "labels": f"{column} = all labels of the picture, in one field",
        "indicators": "a column a label, 0 or 1",
        "grade": f"{column} = grade",
        "numbers": "a column a target",
        "long": f"{column} = probability, a row for each id and label",
    }
    return f"submission: {meaning[form.form]}"
