"""Test predictions: by name, the mean of all folds; the submission in the sample's order."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gap_ensemble.competition.found import Competition, Submission, TaskDescription
from gap_ensemble.heads.head import Outputs
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Predict
from gap_ensemble.scoring.decisions import Unchanged
from gap_ensemble.storage import hdf5
from gap_ensemble.storage.features import create_features
from gap_ensemble.storage.hdf5 import text_array
from gap_ensemble.storage.predictions import open_predictions, prediction_writer
from gap_ensemble.tasks import predicting
from gap_ensemble.tasks.predicting import never_submitted, predict_test, write_submission
from gap_ensemble.tasks.task import Encoding, identity, task_of

PETS = task_of(
    Competition(
        TaskDescription("classes", ["cat", "dog"], "prefix", "log_loss"),
        Submission("probability", ["id", "label"], "dog"),
    )
)
ENCODING = Encoding("classes", Outputs("classes", 2), identity, identity)


class Scaled:
    """A model that predicts its factor times the first feature for dog."""

    def __init__(self, factor: float):
        self.factor = factor

    def predict(self, features: np.ndarray) -> np.ndarray:
        dog = self.factor * features[:, 0]
        return np.stack([1 - dog, dog], axis=1)


def predicted(folder: Path, names: list[str], *models: Any) -> dict[str, float]:
    """Return the probability of dog for test rows; the file has features 0.1 of a, 0.2 of b, and so on to d."""
    with h5py.File(folder / "ensemble.h5", "w") as file:
        create_features(file, 1, {"train_row": text_array([]), "test_row": text_array("dbac")}, {}, named="row")
        file["test"][:, 0] = [0.4, 0.2, 0.1, 0.3]
        predict_test(
            folder / "test.h5", predicting.TestRows(file, names, np.array([0.75, 0.25])), ENCODING, list(models)
        )
    with open_predictions(folder / "test.h5") as found:
        return dict(zip(found.row, found.values(np.arange(len(names)))[:, 1].tolist(), strict=True))


@pytest.mark.parametrize("block_bytes", [2**20, 8])
def test_a_row_gets_the_mean_over_all_folds_of_its_own_features(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", block_bytes)
    found = predicted(tmp_path, ["a", "b", "c", "d"], Scaled(0.5), Scaled(2), Scaled(0.5))
    assert found == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})


def test_a_row_without_features_gets_the_frequencies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = predicted(tmp_path, ["x", "b", "y", "a"], Scaled(1))
    assert found == pytest.approx({"x": 0.25, "b": 0.2, "y": 0.25, "a": 0.1})
    assert "WARNING: 2 test rows have no picture that can be decoded" in capsys.readouterr().out


def submitted(folder: Path, sample: str, names: list[str]) -> str:
    predicted(folder, names, Scaled(1))
    (folder / "sample.csv").write_text(sample)
    with open_predictions(folder / "test.h5") as test:
        write_submission(folder / "submission.csv", folder / "sample.csv", PETS, Unchanged(), test)
    return (folder / "submission.csv").read_text()


def test_the_submission_has_the_samples_order(tmp_path: Path) -> None:
    text = submitted(tmp_path, "id,label\nc,0\na,0\nb,0\n", ["a", "b", "c"])
    lines = [line.split(",") for line in text.splitlines()]
    assert lines[0] == ["id", "label"]
    assert {name: float(value) for name, value in lines[1:]} == pytest.approx({"c": 0.3, "a": 0.1, "b": 0.2})
    assert [name for name, _ in lines[1:]] == ["c", "a", "b"]


def test_an_id_without_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sample\.csv: no test row for id z; run `dvc repro`$"):
        submitted(tmp_path, "id,label\na,0\nz,0\n", ["a", "b"])
    assert not (tmp_path / "submission.csv").exists()


@pytest.mark.parametrize(
    ("n_test", "test", "out_of_fold", "expected"),
    [
        (30, [0, 2], [0, 2], {"mild": 20}),
        (29, [0, 2], [0, 2], {}),  # Too few to say.
        (30, [0, 1, 2], [0, 2], {}),
        (30, [0, 2], [0, 1, 2], {}),
    ],
)
def test_a_grade_that_no_row_is_given_is_named(
    n_test: int, test: list[int], out_of_fold: list[int], expected: dict[str, int], tmp_path: Path
) -> None:
    description = TaskDescription("grades", ["none", "mild", "severe"], "train.csv", "quadratic_kappa")
    task = task_of(Competition(description, Submission("grade", ["id", "grade"])))
    for name, n_rows, given in (("test.h5", n_test, test), ("oof.h5", 60, out_of_fold)):
        with prediction_writer(tmp_path / name, [str(i) for i in range(n_rows)], np.ones(n_rows), 3) as writer:
            writer.add(np.eye(3)[np.resize(given, n_rows)])
    with open_predictions(tmp_path / "test.h5") as of_test, open_predictions(tmp_path / "oof.h5") as of_folds:
        decided = never_submitted(task, task.decision(Predict()), np.arange(60) % 3, of_test, of_folds)
    assert decided == expected


def test_probabilities_give_no_class(tmp_path: Path) -> None:
    predicted(tmp_path, ["a", "b", "c", "d"] * 5, Scaled(1))
    with open_predictions(tmp_path / "test.h5") as found:
        assert never_submitted(PETS, Unchanged(), np.arange(20) % 2, found, found) == {}
