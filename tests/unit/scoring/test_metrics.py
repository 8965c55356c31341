"""Metrics agree with scikit-learn where it has them, and with hand-worked values where it has not."""

import numpy as np
import pytest
from sklearn import metrics as sk

from gap_ensemble.scoring.metrics import METRICS, find_metric


@pytest.fixture
def classes() -> tuple[np.ndarray, np.ndarray]:
    """Return the truth of 60 samples of four classes, and probabilities."""
    rng = np.random.default_rng(0)
    values = rng.dirichlet(np.ones(4), 60)
    return rng.integers(0, 4, 60), values


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    """Return the truth of 60 samples with four labels, and probabilities."""
    rng = np.random.default_rng(1)
    return (rng.random((60, 4)) < 0.4).astype(np.uint8), rng.random((60, 4))


def test_of_classes_as_scikit_learn(classes: tuple[np.ndarray, np.ndarray]) -> None:
    y, values = classes
    said = values.argmax(axis=1)
    expected = {
        "log_loss": sk.log_loss(y, values),
        "accuracy": sk.accuracy_score(y, said),
        "balanced_accuracy": sk.balanced_accuracy_score(y, said),
        "roc_auc": sk.roc_auc_score(y, values, multi_class="ovr"),
        "f1_macro": sk.f1_score(y, said, average="macro"),
        "f2_macro": sk.fbeta_score(y, said, beta=2, average="macro"),
        "f1_micro": sk.f1_score(y, said, average="micro"),
        "quadratic_kappa": sk.cohen_kappa_score(y, said, weights="quadratic"),
        "top_2_error": 1 - sk.top_k_accuracy_score(y, values, k=2),
    }
    for name, value in expected.items():
        assert find_metric(name).score(y, values) == pytest.approx(value), name


def test_of_labels_as_scikit_learn(labels: tuple[np.ndarray, np.ndarray]) -> None:
    y, values = labels
    said = values >= 0.5
    for average in ("micro", "macro", "samples"):
        for beta in (1, 2):
            expected = sk.fbeta_score(y, said, beta=beta, average=average, zero_division=0)
            assert find_metric(f"f{beta}_{average}").score(y, said) == pytest.approx(expected), (beta, average)
    assert find_metric("roc_auc").score(y, values) == pytest.approx(sk.roc_auc_score(y, values))
    mean_loss = np.mean([sk.log_loss(column, value) for column, value in zip(y.T, values.T, strict=True)])
    assert find_metric("log_loss").score(y, values) == pytest.approx(mean_loss)
    assert find_metric("accuracy").score(y, said) == pytest.approx(sk.accuracy_score(y, said))


def test_map_counts_the_place_of_the_true_class() -> None:
    guesses = np.array([[3, 1, 2], [1, 3, 2], [0, 1, 2]])
    assert find_metric("map_at_3").score(np.array([3, 3, 3]), guesses) == pytest.approx((1 + 1 / 2 + 0) / 3)
    # Of probabilities, the best k are the guesses.
    values = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert find_metric("map_at_2").score(np.array([2]), values) == pytest.approx(1 / 2)
    assert find_metric("map_at_2").score(np.array([1]), values) == 0


def test_gap_by_hand() -> None:
    # Confidences 0.9 right, 0.8 wrong, 0.6 right: precisions 1, 1/2, 2/3 at the right ones, of three samples.
    values = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
    assert METRICS["gap"].score(np.array([0, 1, 1]), values) == pytest.approx((1 + 2 / 3) / 3)


def test_a_constant_guess_earns_nothing_among_the_best_k() -> None:
    y, values = np.arange(10), np.full((10, 10), 0.1)
    assert find_metric("top_5_error").score(y, values) == 1


def test_a_column_of_one_kind_has_no_area_and_is_left_out() -> None:
    y = np.array([[0, 1], [1, 1], [0, 1]])
    values = np.array([[0.1, 0.5], [0.9, 0.5], [0.2, 0.5]])
    assert find_metric("roc_auc").score(y, values) == 1


@pytest.mark.parametrize("name", [*METRICS, "map_at_5", "top_5_error"])
def test_a_loss_is_less_for_better_predictions(name: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 200)
    good, bad = np.full((200, 6), 0.02), np.full((200, 6), 0.02)
    good[np.arange(200), y] = 0.9
    bad[np.arange(200), rng.integers(0, 6, 200)] = 0.9
    metric = find_metric(name)
    if name in ("rmse", "mae"):
        y, good, bad = y[:, None], y[:, None] + 0.1, y[:, None] + 2.0
    assert metric.loss(y, good) < metric.loss(y, bad)
