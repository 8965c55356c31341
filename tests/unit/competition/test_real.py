"""Real competitions with real pictures, from a folder that COMPETITIONS names: all is found without a parameter."""

import os
from pathlib import Path

import pytest

from gap_ensemble.competition.find import find_competition
from gap_ensemble.params import Data

COMPETITIONS = Path(os.environ.get("COMPETITIONS", "/nowhere"))
pytestmark = pytest.mark.skipif(not COMPETITIONS.is_dir(), reason="COMPETITIONS names no folder of competitions")

# Kind, number of names, where the labels are, metric, form of the submission, training rows.
EXPECTED = {
    "aerial-cactus": ("classes", 2, "train.csv:has_cactus", "log_loss", "probability", 3000),
    "chest-xray": ("classes", 2, "folders", "accuracy", "class", 1600),
    "corel-5": ("classes", 5, "labels.csv:category", "log_loss", "probabilities", 400),
    "dogs-vs-cats": ("classes", 2, "prefix", "log_loss", "probability", 1602),
    "faces-whale": ("classes", 201, "train.csv:Id", "map_at_5", "guesses", 2470),
    "knee-oa": ("grades", 5, "train.csv:diagnosis", "quadratic_kappa", "grade", 800),
    "leaf": ("classes", 99, "train.csv:species", "log_loss", "probabilities", 792),
    "plant-pathology-2021": ("labels", 6, "train.csv:labels", "f1_samples", "labels", 1200),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_competition_is_read_as_kaggle_ships_it(name: str) -> None:
    folder = COMPETITIONS / name
    if not folder.is_dir():
        pytest.skip(f"COMPETITIONS has no {name}")
    found = find_competition(folder, Data(raw=str(folder)))
    assert found.submission is not None
    n_train = int((found.rows["split"] == "train").sum())
    task = found.task
    assert (task.kind, len(task.names), task.labels_from, task.metric, found.submission.form, n_train) == EXPECTED[name]
