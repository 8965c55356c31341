"""Folds, near-duplicates, scores, clip and temperature."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score, top_k_accuracy_score

from gap_ensemble.heads.blend import fit_blend_weights
from gap_ensemble.scoring.scores import Calibration, Scores, clip_proba, cross_fitted_log_loss, fit_calibration
from gap_ensemble.validation.duplicates import find_duplicates
from gap_ensemble.validation.folds import assign_folds
from tools.blend import blend


def random_proba(n_samples: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_samples, n_classes))
    label = rng.integers(n_classes, size=n_samples)
    logits[np.arange(n_samples), label] += 1.5
    proba = np.exp(logits)
    return label, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_hold_every_class_as_evenly_as_it_goes(n_folds: int) -> None:
    label = np.repeat([0, 1, 2, 3], [100, 51, 7, 2])
    fold = assign_folds(label, n_folds, seed=1)
    counts = np.array([np.bincount(label[fold == k], minlength=4) for k in range(n_folds)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert (assign_folds(label, n_folds, seed=1) == fold).all()
    assert (assign_folds(label, n_folds, seed=2) != fold).any()


def test_one_fold_is_a_stratified_fifth() -> None:
    label = np.repeat([0, 1], [300, 100])
    fold = assign_folds(label, 1, seed=0)
    assert set(fold) == {-1, 0}
    assert np.bincount(label[fold == 0]).tolist() == [60, 20]


def test_near_duplicates_share_a_fold() -> None:
    label, group = np.zeros(60, int), np.repeat(np.arange(20), 3)
    fold = assign_folds(label, 5, seed=0, group=group)
    assert all(len(set(fold[group == g])) == 1 for g in range(20))
    assert len(set(fold)) == 5


def test_near_duplicates_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 64)).astype(np.float32)
    copies = {10: 2000, 11: 2001, 12: 2002, 500: 501}
    for original, copy in copies.items():
        rows[copy] = rows[original] * 1.3 + rng.normal(size=64) * 0.05
    group = find_duplicates(lambda: iter(np.array_split(rows, 7)), lambda i: rows[i], len(rows), 0.95, seed=0)
    assert all(group[original] == group[copy] for original, copy in copies.items())
    assert (np.bincount(group) > 1).sum() == len(copies)


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_scores_in_blocks_are_those_of_scikit_learn(n_classes: int) -> None:
    label, proba = random_proba(500, n_classes)
    scores = Scores(n_classes)
    for rows in np.array_split(np.arange(500), 7):
        scores.add(label[rows], proba[rows])
    result = scores.result()
    assert result["log_loss"] == pytest.approx(log_loss(label, proba))
    assert result["accuracy"] == pytest.approx(np.mean(proba.argmax(axis=1) == label))
    if n_classes == 2:
        assert result["auc"] == pytest.approx(roc_auc_score(label, proba[:, 1]))
    if n_classes > 10:
        assert result["top_5_accuracy"] == pytest.approx(top_k_accuracy_score(label, proba, k=5))


def test_a_constant_guess_earns_no_accuracy() -> None:
    scores = Scores(20)
    scores.add(np.arange(20), np.full((20, 20), 0.05))
    assert scores.result()["accuracy"] == pytest.approx(0.05)
    assert scores.result()["top_5_accuracy"] == 0


def test_clip_of_one_column_is_exact_also_when_it_is_lopsided() -> None:
    positive = np.array([0.0, 0.005, 0.3, 0.9, 1.0])
    proba = np.stack([1 - positive, positive], axis=1)
    assert clip_proba(proba, (0.1, 0.8), positive=1)[:, 1].tolist() == [0.1, 0.1, 0.3, 0.8, 0.8]
    assert clip_proba(proba, (0.1, 0.8), positive=0)[:, 0].tolist() == [0.8, 0.8, 0.7, pytest.approx(0.1), 0.1]


@pytest.mark.parametrize("n_classes", [2, 5, 15_000])
def test_clipped_rows_sum_to_one_and_a_certain_row_stays_certain(n_classes: int) -> None:
    proba = np.zeros((3, n_classes))
    proba[:, 1] = 1
    clipped = clip_proba(proba, (0.005, 0.995))
    assert clipped.sum(axis=1) == pytest.approx(1)
    assert clipped[0, 1] == pytest.approx(0.995, abs=1e-6)
    assert clipped[0, 0] > 0


def test_auto_finds_the_temperature_of_overconfident_probabilities() -> None:
    label, honest = random_proba(4000, 2)
    # Labels drawn from the probabilities make these calibrated; raised to 2, they are too sure.
    label = (np.random.default_rng(1).random(4000) < honest[:, 1]).astype(int)
    overconfident = Calibration(temperature=0.5).apply(honest, None)
    chosen = fit_calibration(label, overconfident, None)
    assert chosen.temperature == pytest.approx(2.0, abs=0.3)
    assert chosen.log_loss(label, overconfident, None) < log_loss(label, overconfident) - 0.02


def test_the_score_of_auto_is_not_flattered_by_its_own_fit() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=60)
    guess = rng.random(60) * 0.02 + 0.49
    proba = np.stack([1 - guess, guess], axis=1)
    fold = np.arange(60) % 5
    fitted = fit_calibration(label, proba, None).log_loss(label, proba, None)
    assert cross_fitted_log_loss(label, proba, fold, None) >= fitted


def test_blend_weights_prefer_what_predicts_best() -> None:
    label, good = random_proba(2000, 3, seed=1)
    noise = random_proba(2000, 3, seed=2)[1]
    true_proba = np.stack([proba[np.arange(2000), label] for proba in (good, noise)], axis=1)
    weights = fit_blend_weights(true_proba)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.9
    best = min(np.linspace(0, 1, 101), key=lambda w: -np.log(true_proba @ [w, 1 - w]).mean())
    assert weights[0] == pytest.approx(best, abs=0.02)


def test_geometric_blend_is_the_normalised_mean_of_logarithms() -> None:
    probas = [np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])]
    blended = blend(probas, np.array([0.5, 0.5]), "geometric")
    assert blended[0, 0] / blended[0, 1] == pytest.approx(3.0)
    assert blend(probas, np.array([0.5, 0.5]), "mean")[0, 0] == pytest.approx(0.7)
