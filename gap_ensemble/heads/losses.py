"""The loss of every row, and the link that makes scores probabilities: what all heads share."""

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from gap_ensemble.heads.head import Outputs, TrainingData, class_weights

# Factor and offset that leave scores as they are.
NO_LINK = np.array([1.0, 0.0])
# How far a link may be from what is expected of it.
DEVIATION = 2.0


def row_scores(logits: np.ndarray, y: np.ndarray, outputs: Outputs) -> dict[str, np.ndarray]:
    """Return the scores of every row by every head, shape (n, n_heads) each.

    Parameters
    ----------
    logits : ndarray of shape (n, n_heads, n_logits)
        What the heads give before the link function.
    y : ndarray
        Targets of the rows.
    outputs : Outputs
        What is predicted.

    Returns
    -------
    dict of str to ndarray of shape (n, n_heads)
        `loss`: log loss (natural logarithm), the mean over labels, or the mean squared error of numbers. `accuracy`,
        not of numbers: whether the true class is the most probable, or the share of labels on their side of 0.5.
    """
    if outputs.kind == "numbers":
        return {"loss": ((logits - y[:, None]) ** 2).mean(axis=2)}
    if outputs.n_logits > 1 and outputs.kind == "classes":
        true = np.take_along_axis(logits, y[:, None, None], axis=2)[:, :, 0]
        return {"loss": logsumexp(logits, axis=2) - true, "accuracy": logits.argmax(axis=2) == y[:, None]}
    targets = y.reshape(len(y), 1, -1)
    towards_truth = logits * np.where(targets == 1, 1, -1)
    return {"loss": np.logaddexp(0, -towards_truth).mean(axis=2), "accuracy": (towards_truth > 0).mean(axis=2)}


def fit_link(scores: np.ndarray, y: np.ndarray, data: TrainingData, expected: np.ndarray) -> tuple[np.ndarray, float]:
    """Find the factor and the offset that make scores logits: those with the least loss. Numbers stay what they are.

    A few rows hardly move them from what is expected: the logarithm of the factor, and the offset, are normal around it
    before any row is seen, with a deviation of `DEVIATION`. A softmax does not feel an offset; that of several classes
    is zero.

    Parameters
    ----------
    scores : ndarray of shape (n, n_logits)
    y : ndarray
        Targets of the rows.
    data : TrainingData
        Outputs and options.
    expected : ndarray of shape (2,)
        Factor and offset without any row.

    Returns
    -------
    link : ndarray of shape (2,)
        Factor and offset.
    loss : float
        The mean loss with it.
    """
    outputs, weight = data.outputs, None
    if outputs.kind == "classes":
        weight = class_weights(y, outputs.n, data.options.class_weight)[y]

    def loss(factor: float, offset: float) -> float:
        losses = row_scores((scores * factor + offset)[:, None], y, outputs)["loss"][:, 0]
        return float(np.average(losses, weights=weight))

    def penalised(log_factor: float, offset: float) -> float:
        distance = (log_factor - np.log(expected[0])) ** 2 + (offset - expected[1]) ** 2
        return loss(np.exp(log_factor), offset) + distance / (2 * DEVIATION**2 * len(y))

    if outputs.kind == "numbers":
        return NO_LINK, loss(*NO_LINK)
    if outputs.kind == "classes" and outputs.n_logits > 1:
        found = minimize_scalar(
            lambda log_factor: penalised(log_factor, expected[1]),
            bounds=np.log(expected[0]) + np.array([-4.0, 4.0]),
            method="bounded",
            options={"xatol": 1e-2},
        )
        link = np.array([np.exp(found.x), 0.0])
    else:
        start = np.array([np.log(expected[0]), expected[1]])
        options = {"xatol": 1e-2, "fatol": 1e-5, "maxiter": 100}
        found = minimize(lambda both: penalised(*both), start, method="Nelder-Mead", options=options)
        link = np.array([np.exp(found.x[0]), found.x[1]])
    return link, loss(*link)
