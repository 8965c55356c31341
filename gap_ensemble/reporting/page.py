"""The report: its parts, from the scores to the map, and the page that they make (page.html, page.css, page.js)."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from string import Template

import h5py
import numpy as np
import pandas as pd

from gap_ensemble.experiments.leaderboard import read_leaderboard
from gap_ensemble.paths import GROUPS, METRICS, OVERVIEW
from gap_ensemble.reporting.data import ReportData
from gap_ensemble.reporting.embedding import chosen_rows, embedding
from gap_ensemble.reporting.leaderboard import leaderboard
from gap_ensemble.reporting.markup import Figure, Section, figures, image, table
from gap_ensemble.reporting.of_classes import ClassesView, GradesView
from gap_ensemble.reporting.of_labels import LabelsView
from gap_ensemble.reporting.of_numbers import NumbersView
from gap_ensemble.reporting.thumbnails import SIZE
from gap_ensemble.reporting.view import View
from gap_ensemble.storage.hdf5 import texts

N_SHOWN = 24
# Shown only while a filter is on: so many rows, an equal number of every class.
N_EXTRA = 240
MAX_EXTRA_OF_GROUP = 12
HERE = Path(__file__).parent


VIEWS: dict[str, Callable[[ReportData], View]] = {
    "classes": ClassesView,
    "grades": GradesView,
    "labels": LabelsView,
    "numbers": NumbersView,
}


def page(data: ReportData, features: h5py.File) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    data : ReportData
    features : h5py.File
        `features/ensemble.h5`.
    """
    view = VIEWS[data.task.competition.task.kind](data)
    suspects = view.suspects()
    sections = [
        Section("Scores", scores_table(METRICS)),
        Section("Learning curves and predictions", image(OVERVIEW.read_bytes(), "png")),
        Section("Leaderboard", leaderboard(read_leaderboard())),
        *view.sections(),
        Section("Hardest rows", hardest(data, view, set(suspects.tolist()))),
    ]
    if len(suspects):
        sections.append(Section("Suspected wrong labels", suspected(data, view, suspects)))
    sections.append(Section("Near-duplicates", duplicates(data, view, pd.read_csv(GROUPS, dtype=str))))
    chosen = chosen_rows(len(features["train"]))
    if len(chosen) > 2:
        names = texts(features["train_row"])
        rows = [names[i] for i in chosen]
        sections.append(Section("Map of the training rows", embedding(data, view, rows, features["train"][chosen])))
    return whole_page(data, [section for section in sections if section.content])


def whole_page(data: ReportData, sections: list[Section]) -> str:
    """Return the page of these parts."""
    missing = len(data.pictures.missing)
    note = f"{missing:,} pictures are not there or can't be read; grey squares stand in for them." if missing else ""
    ids = [re.sub(r"\W+", "-", section.title.lower()) for section in sections]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        note=note,
        links=" ".join(
            f'<a href="#{name}">{html.escape(section.title)}</a>' for name, section in zip(ids, sections, strict=True)
        ),
        sections="\n".join(
            f'<section id="{name}"><h2>{html.escape(section.title)}</h2>\n{section.content}</section>'
            for name, section in zip(ids, sections, strict=True)
        ),
    )


def scores_table(path: Path) -> str:
    """Return a table of the metrics in a JSON file, a value and its spread over folds a row."""
    metrics = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for name, value in metrics.items():
        if not name.endswith("_std"):
            spread = metrics.get(f"{name}_std")
            rows.append((name, value, "" if spread is None else f"± {spread:.4f}"))
    return table(("score, out of fold", "value", "standard deviation over folds"), rows, sortable=False)


def hardest(data: ReportData, view: View, suspects: set[int]) -> str:
    """Show the rows whose truth was predicted worst, without those whose labels are suspected."""
    order = [i for i in data.hardest.tolist() if i not in suspects]
    extra = _of_every_group(order[N_SHOWN:], view)
    shown = [_figure(data, view, i) for i in order[:N_SHOWN]] + [_figure(data, view, i, extra=True) for i in extra]
    elsewhere = f" {len(suspects):,} rows with suspected labels stand in the next part, not here." if suspects else ""
    return f"<p>The worst predictions first. A filter shows more of its class or fold.{elsewhere}</p>" + figures(shown)


def _of_every_group(order: list[int], view: View) -> list[int]:
    """Return the first rows of every group, as many of each, in the given order."""
    taken: dict[tuple[str, ...], list[int]] = {}
    for i in order:
        mine = taken.setdefault(view.groups(i), [])
        if len(mine) < MAX_EXTRA_OF_GROUP:
            mine.append(i)
    rounds = [mine[k] for k in range(MAX_EXTRA_OF_GROUP) for mine in taken.values() if k < len(mine)]
    return rounds[:N_EXTRA]


def suspected(data: ReportData, view: View, suspects: np.ndarray) -> str:
    """Show the rows whose labels may be wrong."""
    note = f"<p>{len(suspects):,} of {len(data.row):,} rows, the most suspicious first (confident learning). "
    note += "They are worth a look, no more: a hard picture with the right label is among them as well.</p>"
    return note + figures(_figure(data, view, int(i)) for i in suspects[:N_SHOWN])


def duplicates(data: ReportData, view: View, groups: pd.DataFrame) -> str:
    """Show groups of near-duplicates: first those with different labels, then those across training and test."""
    label = [data.truth_text[data.number_of[row]] if row in data.number_of else None for row in groups["row"]]
    by_group = groups.assign(label=label).groupby("group")
    across = by_group["split"].nunique() > 1
    order = pd.DataFrame({"differ": by_group["label"].nunique() > 1, "across": across})
    order = order.sort_values(["differ", "across"], ascending=False, kind="stable")
    n_leaked = int((groups["group"].map(across) & (groups["split"] == "train")).sum()) if len(groups) else 0
    shown = []
    for group in order.index[:N_SHOWN]:
        rows = groups[groups["group"] == group].head(6)
        members = [_member(data, view, split, row) for split, row in zip(rows["split"], rows["row"], strict=True)]
        shown.append(f'<div class="group">{figures(members)}</div>')
    return (
        f"<p>{len(order):,} groups with {len(groups):,} rows; {n_leaked:,} training rows reappear in the test set.</p>"
        f'<div class="pictures">{"".join(shown)}</div>'
    )


def _member(data: ReportData, view: View, split: str, row: str) -> Figure:
    caption = f"{split}: {row}"
    if split == "train" and row in data.number_of:
        caption += f"\n{view.caption(data.number_of[row])}"
    return Figure(data.pictures.jpeg(split, row, SIZE), caption)


def _figure(data: ReportData, view: View, i: int, extra: bool = False) -> Figure:
    row = data.row[i]
    jpeg = data.pictures.jpeg("train", row, SIZE)
    return Figure(jpeg, f"{row}\n{view.caption(i)}", view.groups(i), int(data.fold[i]), extra)
