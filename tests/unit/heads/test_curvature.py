"""Gradients that are divided by the curvature: the arithmetic, and what it is for."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from gap_ensemble.heads.curvature import Curvature, DividedByCurvature
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.networks.keras_setup import keras
from gap_ensemble.params import Train


@pytest.mark.parametrize("n_rows", [5, 40])
def test_divided_by_second_moments_and_what_is_added(n_rows: int) -> None:
    features = np.random.default_rng(0).normal(size=(n_rows, 12)).astype(np.float32)
    gradient = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)
    moments = features.T @ features / n_rows
    curvature = Curvature(features)
    for added in (0.1, 3.0):
        expected = np.linalg.solve(moments + added * np.eye(12), gradient)
        np.testing.assert_allclose(curvature.divided(gradient, np.float32(added)), expected, rtol=1e-3, atol=1e-5)


def test_the_optimizer_divides_the_kernel_by_its_own_columns_and_leaves_the_bias() -> None:
    features = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    curvature, added = Curvature(features), np.array([0.1, 5.0])
    kernel, bias = keras.Variable(np.zeros((4, 2), np.float32)), keras.Variable(np.zeros(2, np.float32))
    gradients = [np.ones((4, 2), np.float32), np.ones(2, np.float32)]
    optimizer = DividedByCurvature(curvature, added, learning_rate=1.0)
    optimizer.apply(list(map(keras.ops.convert_to_tensor, gradients)), [kernel, bias])
    for column, value in enumerate(added):
        expected = -curvature.divided(gradients[0][:, [column]], np.float32(value))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel)[:, [column]], expected, rtol=1e-4)
    assert keras.ops.convert_to_numpy(bias).tolist() == [-1, -1]


@pytest.mark.slow
def test_a_small_difference_between_features_that_have_much_in_common_is_learnt() -> None:
    rng = np.random.default_rng(0)
    label = np.arange(800) % 2
    own = rng.normal(size=(800, 60))
    own[:, 0] += 2.5 * label
    features = (own + 30 * rng.normal(size=(800, 1))).astype(
        np.float32
    )  # The steepest direction is all that they show.
    fold = np.arange(800) // 2 % 2
    data = EnsembleData(features, label, Outputs("classes", 2), fold, np.arange(800), 0)
    fitted, plain, ours = (
        fit_ensemble(Train(dropout=0, epochs=40, normalize=True), {"all": slice(0, 60)}, data),
        np.zeros(800),
        np.zeros(800),
    )
    for k in range(2):
        for numbers, proba in fitted.out_of_fold(k):
            ours[numbers] = proba[:, 1]
        model = LogisticRegression(max_iter=5000).fit(features[fold != k], label[fold != k])
        plain[fold == k] = model.predict_proba(features[fold == k])[:, 1]
    assert log_loss(label, ours) < 1.25 * log_loss(label, plain)
