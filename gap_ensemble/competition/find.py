"""Read what a competition's folder holds."""

from pathlib import Path

import pandas as pd

from gap_ensemble.competition import competition as one_class
from gap_ensemble.competition.found import Competition, Found, Submission, TaskDescription
from gap_ensemble.params import Data


def find_competition(raw: Path, data: Data) -> Found:
    """Read what a competition's folder holds, without opening the pictures."""
    found = one_class.find_competition(raw, data)
    old = found.competition
    metric = "log_loss" if old.submission.kind.startswith("prob") else "accuracy"
    if old.submission.kind == "class_confidence":
        metric = "gap"
    is_train = found.pictures["split"] == "train"
    pictures = found.pictures.assign(id=found.pictures["id"].where(~is_train, found.pictures["file"]), slot="")
    rows = pd.DataFrame(
        {"row": pictures["id"], "split": pictures["split"], "pictures": 1, "group": "", "target": pictures["class"]}
    )
    order = {row: i for i, row in enumerate(found.sample.iloc[:, 0])}
    test = rows[~is_train].sort_values("row", key=lambda ids: ids.map(order))
    return Found(
        Competition(
            TaskDescription("classes", old.class_names, old.labels_from, metric),
            Submission(old.submission.kind, old.submission.columns, old.submission.positive_class),
        ),
        pictures.drop(columns="class"),
        pd.concat([rows[is_train], test], ignore_index=True),
        found.sample,
    )
