"""What is submitted follows the metric, is fitted out of fold, and is scored on rows that it was not fitted to."""

import numpy as np
import pytest

from gap_ensemble.scoring.calibration import Calibration
from gap_ensemble.scoring.decisions import (
    CutPoints,
    Decision,
    Guesses,
    MostProbable,
    Thresholds,
    Unchanged,
    WithinRange,
    cross_fitted,
)
from gap_ensemble.scoring.metrics import find_metric, log_loss


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def confident_samples(n: int, n_classes: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Return classes drawn from probabilities, and the probabilities made sharper than they are."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, n_classes)) * 1.5
    proba = softmax(logits)
    y = np.array([rng.choice(n_classes, p=row) for row in proba])
    return y, softmax(logits * sharpness)


def test_a_temperature_undoes_confidence() -> None:
    y, values = confident_samples(3000, 4, sharpness=2.0)
    fitted = Calibration().fit(y, values)
    assert fitted.temperature == 2
    assert log_loss(y, fitted.apply(values)) < log_loss(y, values)


def test_a_temperature_undoes_confidence_in_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 2)) * 1.5
    y = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    assert Calibration(labels=True).fit(y, 1 / (1 + np.exp(-2 * logits))).temperature == 2


def test_the_given_clip_is_kept_and_rows_sum_to_one() -> None:
    values = np.array([[1.0, 0.0], [0.3, 0.7]])
    clip = Calibration((0.005, 0.995), positive=1)
    assert clip.fit(np.array([0, 1]), values) == clip
    assert clip.apply(values) == pytest.approx(np.array([[0.995, 0.005], [0.3, 0.7]]))
    of_three = Calibration((0.01, 0.99)).apply(np.array([[1.0, 0.0, 0.0]]))
    assert of_three == pytest.approx(np.array([[0.99, 0.005, 0.005]]), abs=1e-3)
    assert of_three.sum() == pytest.approx(1)


def test_cut_points_find_the_grades_that_the_expectation_blurs() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(5, 800, p=[0.5, 0.1, 0.2, 0.1, 0.1])
    # Probabilities that are drawn to the middle: the expectation of grade 0 is near 1, that of 4 near 3.
    centre = 1 + y / 2 + rng.normal(0, 0.25, 800)
    values = softmax(-((np.arange(5) - centre[:, None]) ** 2) * 2)
    metric = find_metric("quadratic_kappa")
    decision = CutPoints(5, metric)
    fold = np.arange(800) % 5
    assert metric.score(y, cross_fitted(decision, y, values, fold)) > metric.score(y, values) + 0.1
    cuts = decision.fit(y, values).cuts
    assert list(cuts) == sorted(cuts)


def test_cut_points_hardly_follow_single_rows() -> None:
    """Of few rows whose grades are hardly told apart, the best cut points are far from those of the next few."""
    rng = np.random.default_rng(0)
    y = rng.integers(5, size=200)
    values = softmax(rng.normal(0, 1, (200, 5)) + np.eye(5)[y])
    decision = CutPoints(5, find_metric("quadratic_kappa"))
    shuffled = rng.permutation(200)
    assert decision.fit(y[shuffled], values[shuffled]).cuts == decision.fit(y, values).cuts

    expected = values @ np.arange(5)
    halves = [slice(0, 100), slice(100, 200)]
    mean_of_samples = [decision.fit(y[half], values[half]).cuts for half in halves]
    best = [decision._best(y[half], expected[half]) for half in halves]
    assert np.abs(np.diff(mean_of_samples, axis=0)).mean() < 0.7 * np.abs(np.diff(best, axis=0)).mean()


def plant_samples(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return healthy plants, and sick ones with one or two of three labels; all probabilities are too low by half."""
    rng = np.random.default_rng(0)
    y = np.zeros((n, 4), np.uint8)
    sick = rng.random(n) < 0.6
    y[~sick, 0] = 1
    y[sick, 1:] = rng.random((sick.sum(), 3)) < 0.5
    y[sick & ~y.any(axis=1), 1] = 1
    return y, (0.4 * y + rng.random((n, 4)) * 0.2).clip(0, 1)


def test_thresholds_find_labels_that_one_half_misses() -> None:
    y, values = plant_samples()
    metric = find_metric("f1_samples")
    fold = np.arange(len(y)) % 5
    assert metric.score(y, cross_fitted(Thresholds(metric), y, values, fold)) > 0.95
    assert metric.score(y, values) < 0.6


@pytest.mark.parametrize("wrong", [[], [1, 1, 0, 0], [0, 0, 0, 0]])
def test_labels_that_never_meet_are_never_submitted_together_and_no_row_is_empty(wrong: list[int]) -> None:
    y, values = plant_samples()
    if wrong:  # A mistyped row changes nothing.
        y[0] = wrong
    fitted = Thresholds(find_metric("f1_samples")).fit(y, values)
    said = fitted.apply(np.array([[0.9, 0.8, 0.7, 0.1], [0.01, 0.02, 0.01, 0.0], [0.3, 0.9, 0.8, 0.1]]))
    assert said.tolist() == [[True, False, False, False], [False, True, False, False], [False, True, True, False]]


def test_balanced_accuracy_raises_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.1).astype(int)
    proba = 1 / (1 + np.exp(-(rng.normal(0, 1, 2000) + 2 * y - 2.8)))
    values = np.stack([1 - proba, proba], axis=1)
    balanced, plain = (find_metric(name) for name in ("balanced_accuracy", "accuracy"))
    fold = np.arange(len(y)) % 5
    raised = cross_fitted(MostProbable(balanced), y, values, fold)
    assert balanced.score(y, raised) > balanced.score(y, values) + 0.1
    assert (cross_fitted(MostProbable(plain), y, values, fold) == values.argmax(axis=1)).all()


def test_guesses_are_the_best_k_in_order() -> None:
    assert Guesses(2).apply(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])).tolist() == [[1, 2], [0, 2]]


def test_numbers_stay_within_the_range_of_the_targets() -> None:
    fitted = WithinRange().fit(np.array([[1.0, 0.0], [100.0, 0.5]]), np.zeros((2, 2)))
    assert fitted.apply(np.array([[-25.0, 0.7], [110.0, 0.2]])).tolist() == [[1, 0.5], [100, 0.2]]


class Remembers:
    """Submits 1 for rows that it was fitted to, and 0 for others: what a leak would look like."""

    def __init__(self, seen: np.ndarray | None = None):
        self.seen = np.empty(0) if seen is None else seen

    def fit(self, y: np.ndarray, values: np.ndarray) -> "Remembers":  # noqa: ARG002
        return Remembers(values[:, 0])

    def apply(self, values: np.ndarray) -> np.ndarray:
        return np.isin(values[:, 0], self.seen).astype(int)

    def numbers(self) -> dict[str, float]:
        return {}


def test_cross_fitting_never_shows_a_row_to_the_decision_that_it_gets() -> None:
    values = np.arange(20.0)[:, None]
    fold = np.arange(20) % 4
    assert cross_fitted(Remembers(), np.zeros(20, int), values, fold).sum() == 0
    assert Remembers().fit(np.zeros(20, int), values).apply(values).sum() == 20


def test_with_one_fold_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remembers, "fit", lambda *_: pytest.fail("fitted to nothing, or to the rows that are scored"))
    values = np.arange(20.0)[:, None]
    assert cross_fitted(Remembers(), np.zeros(20, int), values, np.zeros(20, int)).sum() == 0


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("log_loss", Calibration()),
        ("accuracy", MostProbable(find_metric("accuracy"))),
        ("balanced_accuracy", MostProbable(find_metric("balanced_accuracy"))),
        ("f1_macro", MostProbable(find_metric("f1_macro"))),
        ("quadratic_kappa", CutPoints(4, find_metric("quadratic_kappa"))),
        ("map_at_2", Guesses(2)),
        ("roc_auc", Unchanged()),
    ],
)
def test_shuffled_classes_stay_at_chance_with_the_decision(name: str, decision: Decision) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 1000)
    values = softmax(rng.normal(size=(1000, 4)))
    score = find_metric(name).score(y, cross_fitted(decision, y, values, np.arange(1000) % 5))
    chance = {"log_loss": np.log(4), "quadratic_kappa": 0, "map_at_2": (1 + 1 / 2) / 4, "roc_auc": 0.5}.get(name, 0.25)
    if name == "log_loss":
        assert score > chance - 0.01
    else:
        assert score < chance + 0.05


def test_shuffled_labels_stay_at_chance_with_thresholds() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random((600, 5)) < 0.3).astype(np.uint8)
    metric = find_metric("f1_samples")
    score = metric.score(y, cross_fitted(Thresholds(metric), y, rng.random((600, 5)), np.arange(600) % 5))
    everything = metric.score(y, np.ones_like(y, bool))  # The best that is possible without knowing anything.
    assert score < everything + 0.03


def test_the_order_of_the_rows_breaks_no_tie() -> None:
    """Sums in another order differ in the last digit: programs would give one experiment different scores."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = (rng.random((30, 3)) < 0.35).astype(np.int32)
        values = np.round(np.clip(0.2 * y + 0.8 * rng.random((30, 3)), 0, 1), 1)
        orders = [np.arange(30), *(rng.permutation(30) for _ in range(4))]
        decision = Thresholds(find_metric("f1_samples"))
        thresholds = [np.array(decision.fit(y[rows], values[rows]).thresholds) for rows in orders]
        assert np.ptp(thresholds, axis=0).max() == 0
