"""The report's part on submissions: the leaderboard's scores against those out of fold."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from gap_ensemble.reporting.markup import image, table


def leaderboard(submissions: pd.DataFrame) -> str:
    """Return a table of submissions and a plot of those that have a score; nothing if there are none.

    Parameters
    ----------
    submissions : DataFrame
        What `read_leaderboard` returns.
    """
    if submissions.empty:
        return ""
    rows = [
        (row.experiment, row.date, row.metric, _number(row.out_of_fold), _number(row.public), _number(row.private))
        for row in submissions.itertuples()
    ]
    header = ("experiment", "sent", "metric", "out of fold", "public", "private")
    return table(header, rows) + _drawn(submissions[submissions["public"] != ""])


def _number(text: str) -> float:
    return float(text) if text else float("nan")


def _drawn(scored: pd.DataFrame) -> str:
    if scored.empty:
        return ""
    out_of_fold, public = scored["out_of_fold"].astype(float), scored["public"].astype(float)
    figure, panel = plt.subplots(figsize=(6, 5), layout="constrained")
    panel.scatter(out_of_fold, public)
    for x, y, name in zip(out_of_fold, public, scored["experiment"], strict=True):
        panel.annotate(name[:30], (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    panel.axline((out_of_fold.iloc[0], out_of_fold.iloc[0]), slope=1, color="grey", linewidth=0.8)
    panel.set(xlabel=f"{scored['metric'].iloc[-1]} out of fold", ylabel="public leaderboard")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    return image(buffer.getvalue(), "png")
