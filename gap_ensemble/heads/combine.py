"""How predictions of several heads become one: a weighted mean, or a second level on top of them.

A mean of probabilities has weights that sum to one. The second level (stacking, Wolpert 1992) is a logistic regression
on the logits of all heads, with one weight for each head and not one for each head and class: few weights, so that they
can be fitted to few rows and to any number of classes. Its weights need not sum to one, so it calibrates, too. For
numbers both are sums of predictions.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from gap_ensemble.heads.blend_weights import fit_blend_weights, fit_number_weights
from gap_ensemble.heads.head import Outputs
from gap_ensemble.heads.losses import row_scores

# The smallest probability that a logit is taken of.
EPSILON = 1e-7


def mean_of(predictions: Iterable[np.ndarray], weights: Iterable[float]) -> np.ndarray:
    """Return the weighted sum of predictions of shape (n, outputs.n), float32."""
    total = sum(weight * values for weight, values in zip(weights, predictions, strict=True))
    return np.asarray(total, np.float32)


def stack_of(predictions: Iterable[np.ndarray], weights: Iterable[float], outputs: Outputs) -> np.ndarray:
    """Return what the second level makes of predictions of shape (n, outputs.n), float32."""
    total = sum(weight * logits_of(values, outputs) for weight, values in zip(weights, predictions, strict=True))
    return np.asarray(outputs.link(np.asarray(total)), np.float32)


def logits_of(predictions: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Return logits whose link gives the predictions, shape (n, n_logits); logarithms for more than two classes."""
    if outputs.kind == "numbers":
        return predictions
    clipped = np.clip(predictions.astype(np.float64), EPSILON, 1 - EPSILON)
    if outputs.kind == "labels":
        return np.asarray(logit(clipped))
    return np.asarray(logit(clipped[:, 1:]) if outputs.n == 2 else np.log(clipped))


def mean_row_loss(outputs: Outputs) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the loss that choices minimise by default: log loss, mean log loss of labels, or mean squared error."""

    def loss(y: np.ndarray, predictions: np.ndarray) -> float:
        return float(row_scores(logits_of(predictions, outputs)[:, None], y, outputs)["loss"].mean())

    return loss


def fit_mean_weights(predictions: np.ndarray, y: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Find the weights of a mean with the least log loss, or squared error of numbers.

    Parameters
    ----------
    predictions : ndarray of shape (n_members, n, outputs.n)
    y : ndarray
        Targets of the n rows.
    outputs : Outputs

    Returns
    -------
    ndarray of shape (n_members,)
        Not negative, sum to one.
    """
    if outputs.kind == "classes":
        return fit_blend_weights(predictions[:, np.arange(len(y)), y].T)
    if outputs.kind == "labels":
        return fit_blend_weights(np.where(y == 1, predictions, 1 - predictions).reshape(len(predictions), -1).T)
    # Standardised, so that targets of every scale count alike.
    scale = np.where(y.std(axis=0) > 0, y.std(axis=0), 1)
    rows, target = ((values - y.mean(axis=0)) / scale for values in (predictions, y))
    return fit_number_weights(rows.reshape(len(rows), -1).T, target.ravel())


def fit_stack_weights(predictions: np.ndarray, y: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Find the weights of the second level with the least log loss, or squared error of numbers.

    A weak penalty, worth one row, draws them to equal weights that sum to one: of heads that agree, all get a share.

    Parameters
    ----------
    predictions : ndarray of shape (n_members, n, outputs.n)
    y : ndarray
        Targets of the n rows.
    outputs : Outputs

    Returns
    -------
    ndarray of shape (n_members,)
        Not negative.
    """
    n_members = len(predictions)
    if outputs.kind == "numbers":
        return fit_mean_weights(predictions, y, outputs)
    logits = np.stack([logits_of(values, outputs) for values in predictions])
    equal = np.full(n_members, 1 / n_members)
    if outputs.kind == "labels" or outputs.n == 2:
        targets = y.reshape(len(y), -1).astype(np.float64)
    else:
        targets = (y[:, None] == np.arange(outputs.n)).astype(np.float64)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total = np.tensordot(weights, logits, axes=1)
        losses = row_scores(total[:, None], y, outputs)["loss"]
        link = outputs.link(total)
        residual = (link[:, 1:] if outputs.kind == "classes" and outputs.n == 2 else link) - targets
        if outputs.kind == "labels":
            residual = residual / outputs.n
        gradient = (logits * residual).sum(axis=(1, 2)) / len(y)
        away = weights - equal
        return float(losses.mean() + (away**2).sum() / len(y)), gradient + 2 * away / len(y)

    found = minimize(loss_and_gradient, equal, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_members)
    return np.asarray(found.x) if found.x.any() else equal
