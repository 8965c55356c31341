"""What link says of a competition, in lines for people, and the parameters that it takes."""

from pathlib import Path

import pytest
from made_competitions import found, table
from pydantic import ValidationError

from gap_ensemble.competition.summary import summary
from gap_ensemble.params import Data

COLOURS = ["blue", "red"]
FILES = [*(f"train/i{i}_{colour}.png" for i in range(6) for colour in COLOURS), *(f"test/q_{c}.png" for c in COLOURS)]
TABLES = {
    "train.csv": table("Id,Target,patient", [(f"i{i}", ("0 7", "7", "0")[i % 3], i // 2) for i in range(6)]),
    "sample_submission.csv": "Id,Predicted\nq,0\n",
}


def test_labels_groups_and_several_pictures_are_said(tmp_path: Path) -> None:
    result = found(tmp_path, FILES, TABLES, groups="patient", metric="f1_macro")

    assert summary(result.competition, result.rows, "f1_macro") == [
        "any of 2 labels (0, 7; labels from train.csv:Target), scored by f1_macro; 1.33 labels a row, in 3 combinations"
        "; 3 groups stay in one fold each",
        "submission: Predicted = all labels of the picture, in one field",
        "2 pictures a row, side by side (blue, red)",
    ]


def test_uneven_numbers_of_pictures_are_said(tmp_path: Path) -> None:
    result = found(tmp_path, FILES[1:], TABLES)

    assert summary(result.competition, result.rows, "auto")[-1] == "1 to 2 pictures a row, their mean"


def test_a_metric_that_was_guessed_is_called_a_guess(tmp_path: Path) -> None:
    files = [f"train/{colour}.{i}.png" for i in range(3) for colour in COLOURS] + ["test/1.png"]
    result = found(tmp_path, files, {"sample_submission.csv": "id,label\n1,0.5\n"})
    assert (
        "scored by log_loss (a guess by the form; if the competition's page says roc_auc, for example, set data.metric)"
        in summary(result.competition, result.rows, "auto")[0]
    )
    assert summary(result.competition, result.rows, "log_loss")[0].endswith("scored by log_loss")


def test_another_metric_than_the_one_that_was_guessed_is_named(tmp_path: Path) -> None:
    result = found(tmp_path, FILES, {**TABLES, "sample_submission.csv": "Id,0,7\nq,0,0\n"})
    assert (
        "scored by roc_auc (a guess by the form; if the competition's page says log_loss"
        in summary(result.competition, result.rows, "auto")[0]
    )


@pytest.mark.parametrize(
    "metric", ["auto", "roc_auc", "f2_samples", "map_at_5", "map_at_12", "top_3_error", "rmse", "gap"]
)
def test_metrics_that_are_known(metric: str) -> None:
    assert Data(raw="raw", metric=metric).metric == metric


@pytest.mark.parametrize("metric", ["auc", "f3_macro", "map_at_0", "map_at_k", "top_error", ""])
def test_other_metrics_are_refused_with_those_that_are_known(metric: str) -> None:
    with pytest.raises(ValidationError, match=r"accepted: auto, log_loss, .*roc_auc.* map_at_5 or top_5_error"):
        Data(raw="raw", metric=metric)
