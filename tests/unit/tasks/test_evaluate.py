"""Scores of out-of-fold predictions, also of thousands of classes, of which only the most probable are kept."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gap_ensemble.competition.found import Competition, Submission, TaskDescription
from gap_ensemble.params import Predict
from gap_ensemble.storage import predictions as predictions_module
from gap_ensemble.storage.predictions import open_predictions, prediction_writer
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import Task, task_of


def many_classes(n: int) -> Task:
    description = TaskDescription("classes", [f"{i:05d}" for i in range(n)], "train.csv", "accuracy")
    return task_of(Competition(description, Submission("class", ["id", "class"])))


def write(path: Path, y: np.ndarray, values: np.ndarray) -> None:
    fold = np.arange(len(y)) * 3 // len(y) + 1
    with prediction_writer(path, [str(i) for i in range(len(y))], fold, values.shape[1]) as writer:
        for start in range(0, len(y), 50):
            writer.add(values[start : start + 50])


@pytest.fixture
def truth_and_values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 60, 300)
    values = rng.random((300, 60)).astype(np.float32) ** 8
    values[np.arange(300), y] += 0.5
    return y, values / values.sum(axis=1, keepdims=True)


def test_predictions_come_back_as_they_were(tmp_path: Path, truth_and_values: tuple[np.ndarray, np.ndarray]) -> None:
    write(tmp_path / "oof.h5", *truth_and_values)
    with open_predictions(tmp_path / "oof.h5") as found:
        assert found.row == [str(i) for i in range(300)]
        assert (found.values(np.arange(300)) == truth_and_values[1]).all()
        assert np.bincount(found.fold).tolist() == [0, 100, 100, 100]


def test_blocks_and_the_most_probable_classes_give_the_same_scores(
    tmp_path: Path, truth_and_values: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    y, values = truth_and_values
    task = many_classes(60)
    scores = []
    for max_outputs, max_numbers in ((1000, 10**7), (50, 60 * 100)):
        monkeypatch.setattr(predictions_module, "MAX_OUTPUTS", max_outputs)
        monkeypatch.setattr(predictions_module.PredictionFile.sample, "__defaults__", (max_numbers,))
        write(tmp_path / "oof.h5", y, values)
        with open_predictions(tmp_path / "oof.h5") as found:
            evaluation = Evaluation(task, found, y)
            assert evaluation.in_blocks == (max_outputs == 50)
            scores.append(evaluation.submitted_scores(task.decision(Predict())) | evaluation.usual_scores())
    whole, blocks = scores
    for name in ("submission_accuracy", "submission_accuracy_std", "val_accuracy", "val_top_5_accuracy"):
        assert blocks[name] == pytest.approx(whole[name]), name
    # Classes beyond the most probable share what is left, so that only their loss is an estimate.
    assert blocks["val_log_loss"] == pytest.approx(whole["val_log_loss"], rel=0.05)


def test_the_score_of_the_submission_is_that_of_the_decision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    description = TaskDescription("classes", ["a", "b"], "train.csv", "log_loss")
    task = task_of(Competition(description, Submission("probability", ["id", "b"], "b")))
    y = rng.integers(0, 2, 300)
    sure = np.where(rng.random(300) < 0.9, y, 1 - y)  # Certain, and wrong one time in ten.
    values = np.stack([1.0 - sure, sure], axis=1)
    write(tmp_path / "oof.h5", y, values)
    with open_predictions(tmp_path / "oof.h5") as found:
        evaluation = Evaluation(task, found, y)
        clipped = evaluation.submitted_scores(task.decision(Predict(clip=(0.1, 0.9))))
        raw = evaluation.submitted_scores(task.decision(Predict(clip=None)))
    wrong = np.mean(sure != y)
    assert clipped["submission_log_loss"] == pytest.approx(-wrong * np.log(0.1) - (1 - wrong) * np.log(0.9))
    assert raw["submission_log_loss"] > 1


@dataclass(frozen=True)
class Remembers:
    """Submits the true class of rows that it was fitted to, and class 0 for others: what a leak would look like."""

    truth: dict[float, int] = field(default_factory=dict)

    def fit(self, y: np.ndarray, values: np.ndarray) -> "Remembers":
        return Remembers(dict(zip(values[:, 0].tolist(), y.tolist(), strict=True)))

    def apply(self, values: np.ndarray) -> np.ndarray:
        return np.array([self.truth.get(value, 0) for value in values[:, 0].tolist()])

    def numbers(self) -> dict[str, float]:
        return {}


def test_a_decision_is_scored_on_rows_that_it_was_not_fitted_to(tmp_path: Path) -> None:
    y = np.ones(90, int)
    values = np.random.default_rng(0).random((90, 3)).astype(np.float32)
    write(tmp_path / "oof.h5", y, values)
    with open_predictions(tmp_path / "oof.h5") as found:
        evaluation = Evaluation(many_classes(3), found, y)
        assert evaluation.submitted_scores(Remembers())["submission_accuracy"] == 0
        assert (evaluation.fit(Remembers()).apply(values) == y).all()


def test_a_score_in_blocks_weighs_every_row_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.zeros(100, int)
    values = np.tile([0.9, 0.1, 0.0], (100, 1)).astype(np.float32)
    values[:10] = [0.1, 0.9, 0.0]  # All rows of the small fold are wrong.
    monkeypatch.setattr(predictions_module.PredictionFile.sample, "__defaults__", (3 * 50,))
    with prediction_writer(tmp_path / "oof.h5", [str(i) for i in range(100)], np.repeat([1, 2], [10, 90]), 3) as writer:
        writer.add(values)
    with open_predictions(tmp_path / "oof.h5") as found:
        evaluation = Evaluation(many_classes(3), found, y)
        assert evaluation.in_blocks
        assert evaluation.usual_scores()["val_accuracy"] == pytest.approx(0.9)
