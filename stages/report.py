"""Write a page to look at: the scores, the curves, and the mistakes.

    python -m stages.report        # or: dvc repro report; then open results/report.html

One HTML file that needs no server and no network: scores with their spread over folds, learning curves, ROC,
calibration, confusion matrix; the pictures with the highest loss; suspected wrong labels (cleanlab); near-duplicates,
and training pictures that reappear in the test set; figures of every class.
"""

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from PIL import Image

from gap_ensemble.competition.competition import Competition, read_competition
from gap_ensemble.images.decoding import read_picture
from gap_ensemble.messages.errors import run
from gap_ensemble.params import load_params
from gap_ensemble.paths import GROUPS, JUDGED, METRICS, OOF, OVERVIEW, REPORT, SCORES
from gap_ensemble.storage.files import write_text
from gap_ensemble.tasks.submission import MAX_NUMBERS, PROBABILITY_FORMS, proba_of_rows, read_rows

N_SHOWN = 24
THUMBNAIL = 160  # pixels
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


def main() -> None:
    """Run the stage."""
    raw = Path(load_params().data.raw)
    competition = read_competition()
    judged = read_rows(JUDGED, "file").set_index("file")
    sections = [
        ("Scores", scores_table(METRICS, SCORES)),
        ("Curves", _image(OVERVIEW.read_bytes(), "png")),
        ("Highest loss", highest_loss(raw, judged)),
        ("Suspected wrong labels", suspects(raw, judged, competition)),
        ("Near-duplicates", duplicates(raw, judged, pd.read_csv(GROUPS, dtype=str))),
        ("Classes", class_table(judged)),
    ]
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections)
    write_text(
        REPORT,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Report</title><style>{STYLE}</style>'
        f"</head><body><h1>What the head gets right, and what not</h1>\n{body}\n</body></html>\n",
    )
    print(f"{REPORT}: {REPORT.stat().st_size / 1e6:.1f} MB")


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


def highest_loss(raw: Path, judged: pd.DataFrame) -> str:
    """Show the pictures whose true class got the lowest probability."""
    worst = judged.sort_values("true_proba", kind="stable").head(N_SHOWN)
    return _pictures(raw, [(file, _caption(judged, file)) for file in worst.index])


def suspects(raw: Path, judged: pd.DataFrame, competition: Competition) -> str:
    """Show the pictures whose labels cleanlab suspects: confident learning on out-of-fold probabilities.

    See Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021.
    """
    if competition.submission.kind not in PROBABILITY_FORMS:
        return "<p>Not looked for: this submission's form keeps no probabilities of all classes.</p>"
    id_column = competition.submission.columns[0]
    oof = read_rows(OOF, id_column, max_numbers=MAX_NUMBERS)
    label = pd.Index(competition.class_names).get_indexer(judged.loc[oof[id_column], "class"])
    proba = proba_of_rows(competition, oof)
    if len(np.unique(label)) < len(competition.class_names):
        return "<p>Not looked for: not every class has a judged picture.</p>"
    found = find_label_issues(label, proba, return_indices_ranked_by="self_confidence", n_jobs=1)
    files = oof[id_column].to_numpy()[found]
    pictures = _pictures(raw, [(file, _caption(judged, file)) for file in files[:N_SHOWN]])
    return f"<p>{len(files):,} of {len(oof):,} pictures, the most suspicious first.</p>{pictures}"


def duplicates(raw: Path, judged: pd.DataFrame, groups: pd.DataFrame) -> str:
    """Show groups of near-duplicates: first those with different labels, then those across training and test."""
    classes = groups["file"].map(judged["class"])
    by_group = groups.assign(label=classes).groupby("group")
    across = by_group["split"].nunique() > 1
    order = pd.DataFrame({"differ": by_group["label"].nunique() > 1, "across": across})
    order = order.sort_values(["differ", "across"], ascending=False, kind="stable")
    n_leaked = int((groups["group"].map(across) & (groups["split"] == "train")).sum()) if len(groups) else 0
    shown = []
    for group in order.index[:N_SHOWN]:
        files = groups["file"][groups["group"] == group]
        shown.append(
            f'<div class="group">{_pictures(raw, [(file, _caption(judged, file)) for file in files[:6]])}</div>'
        )
    return (
        f"<p>{len(order):,} groups with {len(groups):,} pictures; {n_leaked:,} training pictures reappear in the test "
        f'set.</p><div class="pictures">{"".join(shown)}</div>'
    )


def class_table(judged: pd.DataFrame) -> str:
    """Return the figures of every class, the worst log loss first."""
    loss = -np.log(judged["true_proba"].clip(lower=float(np.finfo(np.float32).eps)))
    figures = judged.assign(loss=loss, hit=judged["predicted"] == judged["class"]).groupby("class")
    table = figures.agg(n=("hit", "size"), accuracy=("hit", "mean"), log_loss=("loss", "mean"))
    table = table.sort_values("log_loss", ascending=False, kind="stable")
    rows = [(row.Index, f"{row.n:,}", f"{row.accuracy:.4f}", f"{row.log_loss:.4f}") for row in table.itertuples()]
    more = f"<p>The worst {MAX_CLASS_ROWS} of {len(rows):,} classes.</p>" if len(rows) > MAX_CLASS_ROWS else ""
    return more + _table(("class", "pictures", "accuracy", "log loss"), rows[:MAX_CLASS_ROWS])


def _caption(judged: pd.DataFrame, file: str) -> str:
    if file not in judged.index:
        return f"{file}"
    row = judged.loc[file]
    return f"{file}\nlabel {row['class']}: p = {row['true_proba']:.4f}\npredicted {row['predicted']}"


def _pictures(raw: Path, captions: Iterable[tuple[str, str]]) -> str:
    figures = []
    for file, caption in captions:
        buffer = io.BytesIO()
        Image.fromarray(read_picture((raw / file).read_bytes(), THUMBNAIL)).save(buffer, "JPEG", quality=80)
        text = html.escape(caption).replace("\n", "<br>")
        figures.append(f"<figure>{_image(buffer.getvalue(), 'jpeg')}<figcaption>{text}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>'


def _image(content: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = ["".join(f"<th>{html.escape(name)}</th>" for name in header)]
    lines += ["".join(f"<td>{html.escape(str(value))}</td>" for value in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


if __name__ == "__main__":
    run(main)
