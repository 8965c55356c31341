"""The weights with which predictions are averaged."""

import numpy as np
from scipy.optimize import nnls


def fit_blend_weights(true_proba: np.ndarray, n_iterations: int = 500) -> np.ndarray:
    """Find the weights of a mean of probabilities that minimise its log loss.

    They are the maximum likelihood proportions of a mixture, found by expectation maximisation (Dempster, Laird and
    Rubin 1977): every step multiplies a weight by the mean share that its part has in the mixture.

    Parameters
    ----------
    true_proba : ndarray of shape (n_samples, n_parts)
        Probability that each part gives the true class.
    n_iterations : int
        Steps; each lowers the loss or leaves it.

    Returns
    -------
    ndarray of shape (n_parts,)
        Not negative, sum to one.
    """
    weights = np.full(true_proba.shape[1], 1 / true_proba.shape[1])
    true_proba = np.maximum(true_proba, 1e-12)
    for _ in range(n_iterations):
        weights = weights * np.mean(true_proba / (true_proba @ weights)[:, None], axis=0)
    return weights / weights.sum()


def fit_number_weights(predictions: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Find the weights of a mean of numbers that minimise its squared error.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_parts)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_parts,)
        Not negative, sum to one: non-negative least squares with one more equation, which weighs more than all others.
    """
    heavy = 1e3 * np.abs(predictions).max() * np.sqrt(len(y)) or 1.0
    matrix = np.vstack([predictions, np.full((1, predictions.shape[1]), heavy)])
    weights, _ = nnls(matrix.astype(np.float64), np.append(y, heavy))
    return np.asarray(weights / weights.sum())
