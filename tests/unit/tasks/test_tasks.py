"""Each task: how a target is encoded, which decision follows the metric, and how a row of the submission reads."""

import numpy as np
import pandas as pd
import pytest

from gap_ensemble.competition.found import Competition, Form, Kind, Submission, TaskDescription
from gap_ensemble.params import Predict
from gap_ensemble.scoring.calibration import Calibration
from gap_ensemble.scoring.decisions import CutPoints, Guesses, MostProbable, Thresholds, Unchanged, WithinRange
from gap_ensemble.tasks.task import Task, task_of


def task(
    kind: Kind, names: list[str], metric: str, form: Form = "probabilities", columns: str = "", **options: object
) -> Task:
    """Return a task; `columns` are the sample's, separated by commas."""
    submission = Submission(form, columns.split(",") if columns else ["id", *names], **options)  # type: ignore[arg-type]
    return task_of(Competition(TaskDescription(kind, names, "labels.csv", metric), submission))


def rows(*targets: str) -> pd.DataFrame:
    return pd.DataFrame({"target": targets})


VALUES = np.array([[0.2, 0.7, 0.1], [0.6, 0.1, 0.3]])


def test_a_probability_of_the_positive_class() -> None:
    pets = task("classes", ["cat", "dog"], "log_loss", "probability", "id,label", positive_class="cat")
    assert pets.encode(rows("dog", "cat")).tolist() == [1, 0]
    table = pets.render(["7", "3"], np.array([[0.25, 0.75], [0.995, 0.005]]))
    assert table.to_csv(index=False) == "id,label\n7,0.25\n3,0.995\n"


def test_probabilities_in_the_order_of_the_samples_columns() -> None:
    breeds = task("classes", ["a", "b", "c"], "log_loss", "probabilities", "id,c,a,b")
    assert breeds.render(["x"], VALUES[:1]).to_csv(index=False) == "id,c,a,b\nx,0.1,0.2,0.7\n"


@pytest.mark.parametrize(
    ("form", "options", "expected"),
    [
        ("class", {}, ["b", "a"]),
        ("class_confidence", {}, ["b 0.700000", "a 0.600000"]),
        ("guesses", {"n_guesses": 2}, ["b a", "a c"]),
    ],
)
def test_names_of_classes(form: Form, options: dict[str, object], expected: list[str]) -> None:
    classes = task("classes", ["a", "b", "c"], "accuracy", form, "id,said", **options)
    submitted = classes.decision(Predict()).apply(VALUES)
    assert classes.render(["1", "2"], submitted)["said"].tolist() == expected


def test_hard_zeros_and_ones_where_the_metric_wants_them() -> None:
    pets = task("classes", ["cat", "dog"], "accuracy", "hard", "id,label", positive_class="dog")
    values = np.array([[0.012, 0.988], [0.6, 0.4]])
    submitted = pets.decision(Predict()).apply(values)
    assert pets.render(["1", "2"], submitted).to_csv(index=False) == "id,label\n1,1\n2,0\n"


def test_labels_in_one_field() -> None:
    plants = task("labels", ["healthy", "rust", "scab"], "f1_samples", "labels", "image,labels")
    y = plants.encode(rows("scab rust", "healthy", "rust"))
    assert y.tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 0]]
    assert plants.render(["1", "2", "3"], y == 1)["labels"].tolist() == ["rust scab", "healthy", "rust"]


def test_a_row_for_every_pair_of_id_and_label() -> None:
    bleeds = task("labels", ["any", "epidural"], "log_loss", "long", "ID,Label", id_template="{row}_{label}")
    table = bleeds.render(["ID_1", "ID_2"], np.array([[0.5, 0.25], [0.75, 0.125]]))
    assert table["ID"].tolist() == ["ID_1_any", "ID_1_epidural", "ID_2_any", "ID_2_epidural"]
    assert table["Label"].tolist() == [0.5, 0.25, 0.75, 0.125]


def test_grades_are_encoded_in_their_order() -> None:
    knees = task("grades", ["0", "1", "2", "3", "4"], "quadratic_kappa", "grade", "id,grade")
    y = knees.encode(rows("4", "0", "2"))
    assert y.tolist() == [4, 0, 2]
    assert knees.render(["a", "b", "c"], y)["grade"].tolist() == ["4", "0", "2"]


def test_numbers_keep_their_columns() -> None:
    galaxies = task("numbers", ["smooth", "disk"], "rmse", "numbers", "id,disk,smooth")
    y = galaxies.encode(pd.DataFrame({"target_0": ["0.25", "1"], "target_1": ["0.5", "0"]}))
    assert y.tolist() == [[0.25, 0.5], [1, 0]]
    assert galaxies.render(["g"], y[:1]).to_csv(index=False) == "id,disk,smooth\ng,0.5,0.25\n"


@pytest.mark.parametrize(
    ("kind", "metric", "form", "decision"),
    [
        ("classes", "log_loss", "probabilities", Calibration),
        ("classes", "roc_auc", "probabilities", Unchanged),
        ("classes", "accuracy", "class", MostProbable),
        ("classes", "gap", "class_confidence", Unchanged),
        ("classes", "map_at_5", "guesses", Guesses),
        ("labels", "f1_samples", "labels", Thresholds),
        ("labels", "f1_macro", "indicators", Thresholds),
        ("labels", "roc_auc", "probabilities", Unchanged),
        ("labels", "log_loss", "long", Calibration),
        ("grades", "quadratic_kappa", "grade", CutPoints),
        ("numbers", "rmse", "numbers", WithinRange),
    ],
)
def test_the_decision_follows_metric_and_form(kind: Kind, metric: str, form: Form, decision: type) -> None:
    assert isinstance(task(kind, ["0", "1", "2"], metric, form).decision(Predict()), decision)


def test_a_ranking_is_not_clipped() -> None:
    cactus = task("classes", ["0", "1"], "roc_auc", "probability", "id,has_cactus", positive_class="1")
    values = np.array([[0.001, 0.999], [0.0001, 0.9999], [0.4, 0.6]])
    submitted = cactus.decision(Predict(clip=(0.005, 0.995))).apply(values)
    assert len(set(cactus.render(["1", "2", "3"], submitted)["has_cactus"])) == 3


def test_combinations_of_labels_are_tried_as_classes_where_they_are_few() -> None:
    plants = task("labels", ["healthy", "rust", "scab"], "f1_samples", "labels", "image,labels")
    y = plants.encode(rows(*["healthy", "rust", "scab", "rust scab"] * 25))
    labels, combinations = plants.encodings(y)
    assert (labels.outputs.kind, labels.outputs.n) == ("labels", 3)
    assert (combinations.outputs.kind, combinations.outputs.n) == ("classes", 4)
    encoded = combinations.encode(y)
    assert (combinations.decode(np.eye(4)[encoded]) == y).all()
    # A label's probability is the sum over the combinations that hold it.
    assert combinations.decode(np.full((1, 4), 0.25)) == pytest.approx(np.array([[0.25, 0.5, 0.5]]))


def test_many_rare_combinations_are_not_tried() -> None:
    names = [f"l{i}" for i in range(12)]
    many = task("labels", names, "f1_samples", "labels", "id,labels")
    y = (np.random.default_rng(0).random((200, 12)) < 0.5).astype(np.uint8)
    assert [encoding.name for encoding in many.encodings(y)] == ["labels"]


def test_a_row_without_a_picture_gets_the_frequencies() -> None:
    pets = task("classes", ["cat", "dog"], "log_loss", "probability", "id,label", positive_class="dog")
    assert pets.prior(np.array([0, 1, 1, 1])).tolist() == [0.25, 0.75]
    plants = task("labels", ["rust", "scab"], "f1_samples", "labels", "image,labels")
    assert plants.prior(np.array([[1, 0], [1, 1]])).tolist() == [1, 0.5]
