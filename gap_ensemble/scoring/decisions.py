"""Decisions: what turns predictions into what is submitted. They follow the metric.

    log loss                        clip and temperature (`Calibration`, in calibration.py)
    ROC AUC, GAP, top-k error       none (`Unchanged`): nothing that keeps the order changes such a score
    RMSE, MAE                       numbers stay within the range of the targets (`WithinRange`)
    accuracy                        the most probable class (`MostProbable`)
    balanced accuracy, F of classes the same, with rare classes raised (`MostProbable`)
    F of labels                     a threshold a label (`Thresholds`)
    quadratic kappa                 cut points on the expected grade (`CutPoints`)
    MAP@k                           the k best (`Guesses`)

A decision is fitted to out-of-fold predictions. Scored on the rows that it was fitted to it would look too good, so
`cross_fitted` gives the rows of each fold what was fitted without them.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from gap_ensemble.scoring.metrics import Metric, best_guesses


class Decision(Protocol):
    """What is done to predictions before they are submitted."""

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:
        """Return this decision, fitted to the truth and to predictions out of fold, (n_samples, n_outputs)."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return what is submitted for predictions of shape (n_samples, n_outputs)."""

    def numbers(self) -> dict[str, float]:
        """Return what was fitted, for `dvc metrics`."""


def cross_fitted(decision: Decision, y: np.ndarray, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return what is submitted for every sample, by the decision fitted without the sample's fold.

    With a single fold there are no other samples, and the decision is used as it is.

    Parameters
    ----------
    decision : Decision
        Not fitted.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    values : ndarray of shape (n_samples, n_outputs)
        Predictions out of fold.
    fold : ndarray of shape (n_samples,), integer
    """
    folds = np.unique(fold)
    if len(folds) < 2:
        return decision.apply(values)
    return by_fold({k: decision.fit(y[fold != k], values[fold != k]) for k in folds}, values, fold)


def by_fold(fitted: dict[int, Decision], values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return what is submitted for every sample by the decision of its fold.

    Parameters
    ----------
    fitted : dict of int to Decision
        Of every fold.
    values : ndarray of shape (n_samples, n_outputs)
    fold : ndarray of shape (n_samples,), integer
    """
    parts = {k: decision.apply(values[fold == k]) for k, decision in fitted.items()}
    first = next(iter(parts.values()))
    submitted = np.empty((len(values), *first.shape[1:]), first.dtype)
    for k, part in parts.items():
        submitted[fold == k] = part
    return submitted


@dataclass(frozen=True)
class Unchanged:
    """Nothing is done."""

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:  # noqa: ARG002
        """Return this decision: there is nothing to fit."""
        return self

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the predictions."""
        return values

    def numbers(self) -> dict[str, float]:
        """Return nothing."""
        return {}


@dataclass(frozen=True)
class WithinRange:
    """Numbers are kept within the range of the targets that the decision was fitted to.

    Attributes
    ----------
    low, high : ndarray of shape (n_targets,) or None
    """

    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:  # noqa: ARG002
        """Return the range of every target."""
        return replace(self, low=y.min(axis=0), high=y.max(axis=0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the numbers, (n_samples, n_targets)."""
        return values if self.low is None else np.clip(values, self.low, self.high)

    def numbers(self) -> dict[str, float]:
        """Return nothing: the range is the data's."""
        return {}


@dataclass(frozen=True)
class MostProbable:
    """One class a sample: the one with the largest probability / frequency ** raised.

    Attributes
    ----------
    metric : Metric
        What the exponent is fitted for. Accuracy wants 0; balanced accuracy and F scores gain by more.
    raised : float
        From 0 (the most probable class) to 1 (the class whose probability is largest for its frequency).
    frequency : ndarray of shape (n_classes,) or None
        Of the classes among the samples it was fitted to.
    """

    metric: Metric
    raised: float = 0.0
    frequency: np.ndarray | None = None

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:
        """Return the exponent with the best score; of equals the smallest."""
        if self.metric.mean_over_rows:
            return self
        frequency = np.maximum(np.bincount(y, minlength=values.shape[1]), 1) / len(y)
        candidates = [replace(self, raised=raised, frequency=frequency) for raised in (0.0, 0.25, 0.5, 0.75, 1.0)]
        return min(candidates, key=lambda candidate: _to_compare(candidate.metric.loss(y, candidate.apply(values))))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the index of a class, shape (n_samples,)."""
        if self.frequency is not None:
            values = values / self.frequency**self.raised
        return np.asarray(values.argmax(axis=1))

    def numbers(self) -> dict[str, float]:
        """Return the exponent, where it was fitted."""
        return {} if self.frequency is None else {"rare_classes_raised": self.raised}


@dataclass(frozen=True)
class Guesses:
    """The k best classes, the best first."""

    k: int

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:  # noqa: ARG002
        """Return this decision: there is nothing to fit."""
        return self

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return indices of classes, shape (n_samples, at most k)."""
        return best_guesses(values, self.k)

    def numbers(self) -> dict[str, float]:
        """Return nothing."""
        return {}


def _to_compare(loss: float) -> float:
    """Return a loss without its last digits, which depend on the order of the rows: ties are not theirs to break."""
    return round(loss, 10)


# Cut points are the mean of those of so many samples of the rows, of at most so many rows each.
N_SAMPLES, MAX_SAMPLE = 10, 5000
# Where cut points may lie between two grades, in grades.
CUT_STEP = 0.1


@dataclass(frozen=True)
class CutPoints:
    """A grade from the expected grade, by cut points that maximise a metric (quadratic kappa).

    The expectation is the estimate with the least squared error, which is what quadratic weights punish; cut points
    undo that it is drawn to the middle. They are found one after the other, on a grid, until none improves, on samples
    of the rows, of which the mean is taken: what is best on all rows follows the noise of single ones.

    Attributes
    ----------
    n_grades : int
    metric : Metric
    cuts : tuple of n_grades - 1 floats
        Increasing; the grade is the number of cuts below the expectation.
    """

    n_grades: int
    metric: Metric
    cuts: tuple[float, ...] = ()

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:
        """Return the mean of the cut points that are best on samples of the rows, drawn with replacement."""
        rng, expected = np.random.default_rng(0), self._expected(values)
        order = np.lexsort((y, expected))  # The samples are the same in whatever order the rows come.
        y, expected, n = y[order], expected[order], min(len(y), MAX_SAMPLE)
        samples = (rng.integers(len(y), size=n) for _ in range(N_SAMPLES))
        mean = np.mean([self._best(y[sample], expected[sample]) for sample in samples], axis=0)
        return replace(self, cuts=tuple(float(cut) for cut in mean))

    def _best(self, y: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return the cut points with the best score; at first, they give every grade as often as it is true."""
        grid = np.arange(0, self.n_grades - 1 + CUT_STEP, CUT_STEP)
        shares = np.cumsum(np.bincount(y, minlength=self.n_grades))[:-1] / len(y)
        return self._climb(y, expected, np.maximum.accumulate(np.quantile(expected, shares)), grid)

    def _climb(self, y: np.ndarray, expected: np.ndarray, cuts: np.ndarray, grid: np.ndarray) -> np.ndarray:
        def loss(candidate: np.ndarray) -> float:
            return _to_compare(self.metric.loss(y, np.searchsorted(candidate, expected, side="right")))

        least = loss(cuts)
        for _ in range(5):
            before = least
            for i in range(len(cuts)):
                low = cuts[i - 1] if i else -np.inf
                high = cuts[i + 1] if i + 1 < len(cuts) else np.inf
                for cut in grid[(grid >= low) & (grid <= high)]:
                    candidate = cuts.copy()
                    candidate[i] = cut
                    if (found := loss(candidate)) < least:
                        cuts, least = candidate, found
            if least == before:
                break
        return cuts

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return a grade, shape (n_samples,), from 0 to n_grades - 1."""
        return np.searchsorted(self.cuts or self._half_way(), self._expected(values), side="right")

    def numbers(self) -> dict[str, float]:
        """Return the cut points."""
        return {f"cut_{i + 1}": cut for i, cut in enumerate(self.cuts)}

    def _expected(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float64) @ np.arange(self.n_grades)

    def _half_way(self) -> np.ndarray:
        return np.arange(self.n_grades - 1) + 0.5


# More labels than this share one threshold: with few samples a label, own ones only fit noise.
MAX_THRESHOLDS = 100
THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
# Two labels exclude each other if chance would have them meet so many times, and they hardly ever do: one mistyped row
# must not undo it. Likewise, one row without a label does not make it usual.
MIN_EXPECTED_MEETINGS, MAX_SHARE_OF_EXPECTED = 5, 0.02
MIN_LABELLED = 0.99


@dataclass(frozen=True)
class Thresholds:
    """Which labels a sample has: those whose probability reaches the label's threshold, and that go together.

    Attributes
    ----------
    metric : Metric
        An F score, which the thresholds maximise.
    thresholds : ndarray of shape (n_labels,) or None
        None stands for one half.
    excludes : ndarray of shape (n_labels, n_labels), bool, or None
        Which labels do not stand together (healthy and any disease).
    at_least_one : bool
        Whether nearly every sample that it was fitted to has a label: then every sample gets one.
    """

    metric: Metric
    thresholds: np.ndarray | None = None
    excludes: np.ndarray | None = None
    at_least_one: bool = False

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:
        """Return thresholds with the best score: one for all labels, then one label after the other."""
        n_labels = values.shape[1]
        truth = y == 1
        expected = np.outer(truth.mean(axis=0), truth.sum(axis=0))
        meetings = truth.T.astype(np.float32) @ truth.astype(np.float32)
        fitted = replace(
            self,
            excludes=(expected >= MIN_EXPECTED_MEETINGS) & (meetings <= MAX_SHARE_OF_EXPECTED * expected),
            at_least_one=bool(truth.any(axis=1).mean() >= MIN_LABELLED),
        )

        def loss(thresholds: np.ndarray) -> float:
            return _to_compare(self.metric.loss(y, replace(fitted, thresholds=thresholds).apply(values)))

        best = min((np.full(n_labels, t) for t in THRESHOLDS), key=loss)
        least = loss(best)
        for label in [*range(n_labels)] * 2 if n_labels <= MAX_THRESHOLDS else ():
            candidates = np.repeat(best[None], len(THRESHOLDS), axis=0)
            candidates[:, label] = THRESHOLDS
            candidate = min(candidates, key=loss)
            if (found := loss(candidate)) < least:
                best, least = candidate, found
        return replace(fitted, thresholds=best)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return which labels every sample has, shape (n_samples, n_labels), bool."""
        values = np.asarray(values, np.float64)
        thresholds = np.full(values.shape[1], 0.5) if self.thresholds is None else self.thresholds
        strength = values / thresholds
        said = strength >= 1
        if self.at_least_one:
            said[np.arange(len(said)), strength.argmax(axis=1)] = True
        if self.excludes is not None and self.excludes.any():
            for row in np.flatnonzero((said & (said.astype(np.float32) @ self.excludes > 0)).any(axis=1)):
                # The strongest label first; what it excludes is dropped.
                for label in np.argsort(-strength[row], kind="stable"):
                    if said[row, label]:
                        said[row, self.excludes[label]] = False
        return said

    def numbers(self) -> dict[str, float]:
        """Return the mean threshold; those of all labels stand in the report."""
        return {} if self.thresholds is None else {"threshold_mean": float(self.thresholds.mean())}
