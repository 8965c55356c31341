"""What is found for the dense head on held-out rows: scaling, penalty, label smoothing and link."""

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from gap_ensemble.heads import dense
from gap_ensemble.heads.dense import DenseHead, Search
from gap_ensemble.heads.head import Outputs, TrainingData
from gap_ensemble.heads.losses import NO_LINK, fit_link
from gap_ensemble.heads.rows import Rows
from gap_ensemble.heads.side_by_side import Pace
from gap_ensemble.params import Train
from gap_ensemble.validation.folds import assign_folds

TWO = Outputs("classes", 2)


def data_of(options: Train, features: np.ndarray, y: np.ndarray, outputs: Outputs = TWO) -> TrainingData:
    rows = Rows(features.astype(np.float32), np.ones(len(y), bool), slice(0, features.shape[1]))
    fold = assign_folds(outputs.strata(y), options.folds, 0)
    return TrainingData(options, rows, y, outputs, fold, np.arange(len(y)), options.folds, 0)


def fit(options: Train, features: np.ndarray, y: np.ndarray, outputs: Outputs = TWO) -> list[Any]:
    heads, _ = DenseHead.fit_folds(data_of(options, features, y, outputs), lambda _: None)
    return heads


def apart(n_rows: int = 300, n_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return classes that are far apart, in 40 features."""
    rng = np.random.default_rng(0)
    label = np.arange(n_rows) % n_classes
    return 2 * rng.normal(size=(n_classes, 40))[label] + rng.normal(size=(n_rows, 40)), label


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 4])
def test_label_smoothing_pulls_probabilities_towards_each_other(n_classes: int) -> None:
    features, label = apart(n_classes=n_classes)
    outputs = Outputs("classes", n_classes)
    proba = []
    for smoothing in (0.0, 0.3):
        options = Train(folds=2, l2=1e-4, epochs=60, label_smoothing=smoothing)
        proba.append(fit(options, features, label, outputs)[0].predict(features))
    sure, cautious = proba
    # What the loss asks for of the true class.
    assert cautious.max(axis=1).mean() == pytest.approx(1 - 0.3 + 0.3 / n_classes, abs=0.06)
    assert sure.max(axis=1).mean() > 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("outputs", "n_classes"), [(TWO, 2), (Outputs("classes", 4), 4), (Outputs("labels", 2), 4)])
def test_the_link_undoes_the_caution_of_label_smoothing(outputs: Outputs, n_classes: int) -> None:
    features, label = apart(n_classes=n_classes)
    y = label if outputs.kind == "classes" else np.stack([label >= 2, label % 2], axis=1).astype(np.int32)
    data = data_of(Train(folds=2, epochs=40, label_smoothing=0.3, normalize=True), features, y, outputs)
    heads, curves = DenseHead.fit_folds(data, lambda _: None)
    for k, (head, curve) in enumerate(zip(heads, curves, strict=True)):
        proba = head.predict(features[data.fold == k])
        of_true = proba[np.arange(len(proba)), y[data.fold == k]] if outputs.kind == "classes" else None
        certainty = of_true if of_true is not None else np.where(y[data.fold == k] == 1, proba, 1 - proba)
        assert -np.log(certainty).mean() < 0.05  # Label smoothing alone leaves 0.16 and more.
        assert curve["val_loss"][-1] == pytest.approx(-np.log(certainty).mean(), rel=1e-2, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.02, 30.0])
def test_features_are_scaled_in_the_way_that_held_out_rows_prefer(noise: float) -> None:
    """Features that say nothing are either faint, and standardising would blow them up, or loud."""
    rng = np.random.default_rng(0)
    label = np.arange(240) % 2
    signal = rng.normal(size=(240, 4)) + 1.5 * label[:, None]
    features = np.hstack([signal, noise * rng.normal(size=(240, 200))])
    for head in fit(Train(folds=2, epochs=30), features, label):
        assert np.allclose(head.scale, head.scale[0]) == (noise < 1)


def test_a_penalty_that_is_given_is_taken_without_a_trial() -> None:
    features, label = apart(60)
    data = data_of(Train(folds=2, l2=0.01, epochs=2), features, label)
    assert DenseHead.n_steps(data) == 2 * 2
    steps: list[int] = []
    DenseHead.fit_folds(data, steps.append)
    assert sum(steps) == 4


@pytest.mark.parametrize(("options", "outputs"), [({}, TWO), ({"normalize": True}, TWO), ({}, Outputs("numbers", 1))])
def test_progress_comes_to_what_was_announced(options: dict[str, Any], outputs: Outputs) -> None:
    features, label = apart(60)
    y = label if outputs.kind == "classes" else label[:, None].astype(float)
    data = data_of(Train(folds=2, epochs=2, **options), features, y, outputs)
    steps: list[int] = []
    DenseHead.fit_folds(data, steps.append)
    assert sum(steps) == DenseHead.n_steps(data)


def test_the_link_finds_factor_and_offset() -> None:
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=5000)
    label = (rng.random(5000) < expit(logits)).astype(np.int64)
    data = data_of(Train(), np.zeros((5000, 1)), label)
    scores = ((logits + 1) / 4)[:, None]
    (factor, offset), loss = fit_link(scores, label, data, NO_LINK)
    assert factor == pytest.approx(4, rel=0.15)
    assert offset == pytest.approx(-1, abs=0.15)
    assert loss == pytest.approx(log_loss(label, expit(logits)), rel=0.01)


def test_a_few_rows_hardly_move_the_link() -> None:
    data = data_of(Train(folds=2), np.zeros((4, 1)), np.array([0, 1, 0, 1]))
    (factor, _), _ = fit_link(np.array([[-1.0], [1.0]]), np.array([0, 1]), data, NO_LINK)
    assert factor < 20  # Without a bound it would be infinite: both are right.


@pytest.mark.parametrize("limit", ["FEW_ROWS", "MAX_WEIGHTS_OF_FEW", "MAX_TRIED_WEIGHTS"])
def test_many_rows_and_many_classes_are_learnt_with_fewer_trials(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, label = apart(n_classes=4)
    options, outputs = Train(folds=2, epochs=60), Outputs("classes", 4)
    n_steps = DenseHead.n_steps(data_of(options, features, label, outputs))
    monkeypatch.setattr(dense, limit, 1)
    data = data_of(options, features, label, outputs)
    assert DenseHead.n_steps(data) < n_steps
    heads, _ = DenseHead.fit_folds(data, lambda _: None)
    for k, head in enumerate(heads):
        assert log_loss(label[data.fold == k], head.predict(features[data.fold == k])) < 0.2


def test_what_is_given_takes_the_place_of_what_many_classes_and_many_rows_get(monkeypatch: pytest.MonkeyPatch) -> None:
    features, label = apart(n_classes=4)

    def pace(**options: Any) -> Pace:
        return Search.of(data_of(Train(folds=2, **options), features, label, Outputs("classes", 4))).pace

    assert (pace().batch_size, pace().dropout) == (128, 0.5)
    larger = pace(batch_size=256)
    assert (larger.share_of_rate, larger.n_steps) == (2 * pace().share_of_rate, pace().n_steps / 2)
    monkeypatch.setattr(dense, "MAX_WEIGHTS_OF_FEW", 1)
    assert (pace().batch_size, pace().dropout) == (512, 0.1)
    assert (pace(batch_size=64).batch_size, pace(dropout=0.3).dropout) == (64, 0.3)
    assert pace(batch_size=4096).n_steps == pace().n_steps  # There are no longer steps than the longest.
    for options in ({"hidden": [8]}, {"optimizer": "adam"}, {"learning_rate": 0.1}):
        assert pace(**options).dropout == 0.5
