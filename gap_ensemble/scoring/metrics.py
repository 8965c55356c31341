"""Metrics, by the names of `data.metric`. A metric scores what is submitted, not what a head said.

`submitted` is what a decision (`decisions.py`) makes of predictions. It is one of

    probabilities   (n_samples, n_outputs) float     a column a class, a label or a target
    classes         (n_samples,) integer             the index of one class, or a grade
    guesses         (n_samples, k) integer           indices of classes, the best first
    labels          (n_samples, n_labels) bool       which labels a sample has

and `y` is the truth, as the task encodes it: (n_samples,) integer for classes and grades, (n_samples, n_labels) 0 and 1
for labels, (n_samples, n_targets) float for numbers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import mean_absolute_error, roc_auc_score

from gap_ensemble.storage.predictions import top_k

# The smallest probability that a logarithm is taken of; scikit-learn's log_loss does the same for float32.
EPSILON = float(np.finfo(np.float32).eps)

Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """How submissions are compared.

    Attributes
    ----------
    name : str
        As in `data.metric`.
    score : callable
        Takes (y, submitted) and returns the score.
    greater_is_better : bool
    mean_over_rows : bool
        Whether the score of many samples is the mean of the scores of its parts, so that it can be computed in blocks.
    """

    name: str
    score: Score
    greater_is_better: bool = True
    mean_over_rows: bool = False

    def loss(self, y: np.ndarray, submitted: np.ndarray) -> float:
        """Return the score, negative where greater is better: less is always better. NaN becomes infinite."""
        score = self.score(y, submitted)
        return float("inf") if np.isnan(score) else -score if self.greater_is_better else score


def find_metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises
    ------
    KeyError
        If there is none of this name; `params.py` refuses such names before.
    """
    match = re.fullmatch(r"(map_at|top)_(\d+)(_error)?", name)
    if match and match[1] == "map_at" and not match[3]:
        k = int(match[2])
        return Metric(name, lambda y, submitted: mean_average_precision(y, submitted, k), mean_over_rows=True)
    if match and match[1] == "top" and match[3]:
        k = int(match[2])
        return Metric(name, lambda y, submitted: top_error(y, submitted, k), False, mean_over_rows=True)
    return METRICS[name]


def log_loss(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the log loss (natural logarithm): of the true class, or the mean over labels."""
    probability = np.asarray(submitted, np.float64)
    if y.ndim == 2:
        true = np.where(y == 1, probability, 1 - probability)
    else:
        true = np.take_along_axis(probability, y[:, None].astype(np.intp), axis=1)
    return float(-np.log(np.clip(true, EPSILON, 1)).mean())


def most_probable(submitted: np.ndarray) -> np.ndarray:
    """Return the index of one class a sample, shape (n_samples,): of classes themselves, probabilities or guesses."""
    if submitted.ndim == 1:
        return submitted
    return submitted[:, 0] if np.issubdtype(submitted.dtype, np.integer) else submitted.argmax(axis=1)


def best_guesses(submitted: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the k best classes, shape (n_samples, at most k), the best first; ties by index."""
    if submitted.ndim == 1:
        return submitted[:, None]
    if np.issubdtype(submitted.dtype, np.integer):
        return submitted[:, :k]
    return top_k(submitted, k)


def accuracy(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the share of samples that are right; of samples with labels, those that are right in every label."""
    if y.ndim == 2:
        return float((as_labels(submitted) == (y == 1)).all(axis=1).mean())
    return float((most_probable(submitted) == y).mean())


def balanced_accuracy(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the mean over classes of the share of their samples that are right."""
    hit = most_probable(submitted) == y
    counts = np.bincount(y)
    return float((np.bincount(y, weights=hit)[counts > 0] / counts[counts > 0]).mean())


def top_error(y: np.ndarray, submitted: np.ndarray, k: int) -> float:
    """Return the share of samples whose class is not among the k best guesses."""
    if submitted.ndim == 2 and not np.issubdtype(submitted.dtype, np.integer):
        true = np.take_along_axis(submitted, y[:, None].astype(np.intp), axis=1)
        # The true class counts in this sum, and so do ties with it: a constant guess earns nothing.
        return float(((submitted >= true).sum(axis=1) > k).mean())
    return float((best_guesses(submitted, k) != y[:, None]).all(axis=1).mean())


def mean_average_precision(y: np.ndarray, submitted: np.ndarray, k: int) -> float:
    """Return MAP@k for one true class a sample: the mean of 1 / (place of the true class among k guesses), or 0."""
    hit = best_guesses(submitted, k) == y[:, None]
    return float((hit / np.arange(1, hit.shape[1] + 1)).sum(axis=1).mean())


def roc_auc(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the area under the ROC curve: of the second of two classes, else the mean over classes or labels.

    A column in which all samples are alike has no such area, and is left out.
    """
    if y.ndim == 1:
        if submitted.ndim == 1:  # Decisions of 0 and 1 have an area as well.
            submitted = np.eye(2)[submitted]
        if submitted.shape[1] == 2:
            submitted, y = submitted[:, 1:], (y == 1)[:, None]
        else:
            y = y[:, None] == np.arange(submitted.shape[1])
    areas = [
        roc_auc_score(truth, column)
        for truth, column in zip((y == 1).T, np.asarray(submitted, np.float64).T, strict=True)
        if 0 < truth.sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def as_labels(submitted: np.ndarray) -> np.ndarray:
    """Return which labels a sample has, bool; of probabilities, those of one half and more."""
    return submitted if submitted.dtype == bool else submitted >= 0.5


def f_score(beta: int, average: str) -> Score:
    """Return the F score of a beta and a way to average, over labels or classes.

    F = (1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp), as scikit-learn's `fbeta_score` with `zero_division=0` gives
    it; without its checks, because thresholds are fitted by thousands of such scores.
    """

    def score(y: np.ndarray, submitted: np.ndarray) -> float:
        if y.ndim == 1:
            said = most_probable(submitted)
            if average != "macro":  # Of one class a sample, all ways to count but the one by class are the accuracy.
                return float((said == y).mean())
            n_classes = int(max(y.max(), said.max())) + 1
            hits = np.bincount(y[said == y], minlength=n_classes)
            true, found = np.bincount(y, minlength=n_classes), np.bincount(said, minlength=n_classes)
            present = (true + found) > 0
            return float(_f_of_counts(hits, true, found, beta)[present].mean())
        truth, said = y == 1, as_labels(submitted)
        axis = {"samples": 1, "macro": 0, "micro": None}[average]
        hits, true, found = (array.sum(axis=axis) for array in (truth & said, truth, said))
        return float(np.mean(_f_of_counts(hits, true, found, beta)))

    return score


def _f_of_counts(hits: np.ndarray, true: np.ndarray, found: np.ndarray, beta: int) -> np.ndarray:
    """Return F of the numbers of right, true and found labels; 0 where there are neither."""
    total = beta**2 * true + found
    return np.divide((1 + beta**2) * hits, total, out=np.zeros(np.shape(total)), where=total > 0)


def quadratic_kappa(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return Cohen's kappa with quadratic weights, of grades.

    1 - sum(w O) / sum(w E), with the observed and the expected confusion matrix and w = (i - j)² (Cohen, "Weighted
    kappa", Psychological Bulletin 1968). Both sums are means of squared differences: over samples, and over all pairs
    of a true and a submitted grade, which is var(y) + var(said) + (mean(y) - mean(said))².
    """
    said = most_probable(submitted).astype(np.float64)
    expected = np.var(y) + np.var(said) + (np.mean(y) - np.mean(said)) ** 2
    return float(1 - np.mean((y - said) ** 2) / expected) if expected else float("nan")


def rmse(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the root of the mean squared error, over samples and targets."""
    return float(np.sqrt(np.mean(np.square(np.asarray(submitted, np.float64) - y))))


def gap(y: np.ndarray, submitted: np.ndarray) -> float:
    """Return the global average precision: samples in the order of their confidence, precision at every right one.

    The micro average precision of Google Landmark Recognition (Weyand et al., CVPR 2020); every sample has a class.
    """
    confidence = np.asarray(submitted).max(axis=1)
    hit = (most_probable(submitted) == y)[np.argsort(-confidence, kind="stable")]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float((precision * hit).sum() / len(hit))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("log_loss", log_loss, False, mean_over_rows=True),
        Metric("accuracy", accuracy, mean_over_rows=True),
        Metric("balanced_accuracy", balanced_accuracy),
        Metric("roc_auc", roc_auc),
        *(Metric(f"f{beta}_{kind}", f_score(beta, kind)) for beta in (1, 2) for kind in ("micro", "macro", "samples")),
        Metric("quadratic_kappa", quadratic_kappa),
        Metric("rmse", rmse, False),
        Metric("mae", lambda y, submitted: float(mean_absolute_error(y, submitted)), False),
        Metric("gap", gap),
    )
}
