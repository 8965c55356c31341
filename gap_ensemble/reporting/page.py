"""The parts of the report, and the page that they make."""

import base64
import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues

from gap_ensemble.images.grey import Scale
from gap_ensemble.paths import GROUPS, METRICS, OVERVIEW
from gap_ensemble.reporting.thumbnails import thumbnail
from gap_ensemble.tasks.evaluate import Evaluation

N_SHOWN = 24
MAX_CLASS_ROWS = 100

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2 { font-weight: 600 } h2 { margin-top: 2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td, th { padding: .25em .9em; text-align: right; border-bottom: 1px solid #eee }
th:first-child, td:first-child { text-align: left }
.pictures { display: flex; flex-wrap: wrap; gap: 14px } figure { margin: 0; width: 160px }
figcaption { font-size: 12px; overflow-wrap: anywhere; line-height: 1.35 } img { max-width: 100% }
.group { border: 1px solid #ddd; border-radius: 6px; padding: 8px }
"""


@dataclass
class ReportData:
    """What the report is made of.

    Attributes
    ----------
    raw : Path
        The folder from which files are seen.
    grey_scale : Scale or None
    manifest : DataFrame
    evaluation : Evaluation
        Out-of-fold predictions and the truth.
    """

    raw: Path
    grey_scale: Scale | None
    manifest: pd.DataFrame
    evaluation: Evaluation

    @cached_property
    def file_of(self) -> dict[tuple[str, str], str]:
        """The first picture of every row, by split and row."""
        first = self.manifest.drop_duplicates(["split", "id"])
        return {(split, row): file for split, row, file in zip(first["split"], first["id"], first["file"], strict=True)}

    @cached_property
    def validated(self) -> pd.DataFrame:
        """A line a row that validates, by its name: truth, predicted, fold, true_value."""
        task, evaluation = self.evaluation.task, self.evaluation
        predictions = evaluation.predictions
        return pd.DataFrame(
            {
                "truth": task.text(evaluation.truth),
                "predicted": task.submitted_text(evaluation.values),
                "fold": evaluation.fold,
                "true_value": task.true_values(evaluation.truth, evaluation.values),
            },
            index=[predictions.row[i] for i in evaluation.numbers],
        )


def page(data: ReportData) -> str:
    """Return the page as HTML."""
    sections = [
        ("Scores", scores_table(METRICS)),
        ("Curves", _image(OVERVIEW.read_bytes(), "png")),
        ("Worst predictions", worst(data)),
        ("Suspected wrong labels", suspects(data)),
        ("Near-duplicates", duplicates(data, pd.read_csv(GROUPS, dtype=str))),
        ("Classes", class_table(data)),
    ]
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections if content)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Report</title><style>{STYLE}</style>'
        f"</head><body><h1>What the heads get right, and what not</h1>\n{body}\n</body></html>\n"
    )


def scores_table(*paths: Path) -> str:
    """Return a table of the metrics in JSON files, a value and its spread over folds a row."""
    metrics: dict[str, float] = {}
    for path in paths:
        metrics |= json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for name, value in metrics.items():
        if not name.endswith("_std"):
            spread = metrics.get(f"{name}_std")
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
            rows.append((name, shown, "" if spread is None else f"± {spread:.4f}"))
    return _table(("metric, out of fold", "value", "standard deviation over folds"), rows)


def worst(data: ReportData) -> str:
    """Show the rows whose truth was predicted worst."""
    rows = data.validated.sort_values("true_value", kind="stable").head(N_SHOWN)
    return _pictures(data, [("train", str(row)) for row in rows.index])


def suspects(data: ReportData) -> str:
    """Show the rows whose labels cleanlab suspects: confident learning on out-of-fold probabilities.

    See Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021.
    """
    y, values = data.evaluation.truth, data.evaluation.values
    if y.ndim != 1 or len(np.unique(y)) < values.shape[1]:
        return ""
    found = find_label_issues(y, values, return_indices_ranked_by="self_confidence", n_jobs=1)
    rows = [("train", str(row)) for row in data.validated.index[found]]
    return f"<p>{len(rows):,} of {len(y):,} rows, the most suspicious first.</p>{_pictures(data, rows[:N_SHOWN])}"


def duplicates(data: ReportData, groups: pd.DataFrame) -> str:
    """Show groups of near-duplicates: first those with different labels, then those across training and test."""
    by_group = groups.assign(label=groups["row"].map(data.validated["truth"])).groupby("group")
    across = by_group["split"].nunique() > 1
    order = pd.DataFrame({"differ": by_group["label"].nunique() > 1, "across": across})
    order = order.sort_values(["differ", "across"], ascending=False, kind="stable")
    n_leaked = int((groups["group"].map(across) & (groups["split"] == "train")).sum()) if len(groups) else 0
    shown = []
    for group in order.index[:N_SHOWN]:
        rows = groups[groups["group"] == group].head(6)
        pairs = list(zip(rows["split"], rows["row"], strict=True))
        shown.append(f'<div class="group">{_pictures(data, pairs)}</div>')
    return (
        f"<p>{len(order):,} groups with {len(groups):,} rows; {n_leaked:,} training rows reappear in the test set.</p>"
        f'<div class="pictures">{"".join(shown)}</div>'
    )


def class_table(data: ReportData) -> str:
    """Return the figures of every class, the worst first."""
    if data.evaluation.truth.ndim != 1:
        return ""
    rows = data.validated
    figures = rows.assign(hit=rows["predicted"] == rows["truth"]).groupby("truth")
    table = figures.agg(n=("hit", "size"), accuracy=("hit", "mean"), true_value=("true_value", "mean"))
    table = table.sort_values("true_value", kind="stable")
    lines = [(row.Index, f"{row.n:,}", f"{row.accuracy:.4f}", f"{row.true_value:.4f}") for row in table.itertuples()]
    more = f"<p>The worst {MAX_CLASS_ROWS} of {len(lines):,} classes.</p>" if len(lines) > MAX_CLASS_ROWS else ""
    return more + _table(("class", "rows", "accuracy", "probability of the class"), lines[:MAX_CLASS_ROWS])


def _caption(data: ReportData, split: str, row: str) -> str:
    if split != "train" or row not in data.validated.index:
        return row
    line = data.validated.loc[row]
    return f"{row}\n{line['truth']}: {line['true_value']:.4f}\npredicted {line['predicted']}"


def _pictures(data: ReportData, rows: Iterable[tuple[str, str]]) -> str:
    figures = []
    for split, row in rows:
        text = html.escape(_caption(data, split, row)).replace("\n", "<br>")
        picture = _image(thumbnail(data.raw / data.file_of[split, row], data.grey_scale), "jpeg")
        figures.append(f"<figure>{picture}<figcaption>{text}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>'


def _image(content: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = ["".join(f"<th>{html.escape(name)}</th>" for name in header)]
    lines += ["".join(f"<td>{html.escape(str(value))}</td>" for value in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
