"""Scores of out-of-fold predictions: the competition's metric on what is submitted, and the task's usual scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gap_ensemble.scoring.decisions import Decision, by_fold
from gap_ensemble.storage.predictions import PredictionFile
from gap_ensemble.tasks.task import Task

# Takes truth and predictions.
Scores = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass
class Evaluation:
    """Out-of-fold predictions of a task, scored.

    Attributes
    ----------
    task : Task
    predictions : PredictionFile
        Every row has a fold.
    y : ndarray
        The truth of the same rows.
    """

    task: Task
    predictions: PredictionFile
    y: np.ndarray

    def __post_init__(self) -> None:
        self.folds = np.unique(self.predictions.fold)
        # Of thousands of classes, evenly spread rows are looked at together.
        self.numbers, self.values = self.predictions.sample()
        self.truth, self.fold = self.y[self.numbers], self.predictions.fold[self.numbers]
        # One class of thousands: such scores are means over rows, and all rows are scored, a block at a time.
        self.in_blocks = len(self.numbers) < len(self.predictions.row) and self.y.ndim == 1

    def fit(self, decision: Decision) -> Decision:
        """Return the decision fitted to all rows: what the submission gets."""
        return decision.fit(self.truth, self.values)

    def submitted_scores(self, decision: Decision) -> dict[str, float]:
        """Return the metric on what is submitted, by decisions that are fitted without the rows that they score.

        Returns
        -------
        dict of str to float
            `submission_<metric>`, and with several folds its standard deviation over them, `submission_<metric>_std`.
        """
        metric, fitted = self.task.metric, self._cross_fitted(decision)

        def overall(y: np.ndarray, values: np.ndarray) -> dict[str, float]:
            return {metric.name: metric.score(y, by_fold(fitted, values, self.fold))}

        return self._scores("submission_", lambda k: self._submitted(fitted[k]), overall)

    def submitted_score_of_folds(self, decision: Decision) -> np.ndarray:
        """Return the metric on what is submitted of every fold's rows, shape (n_folds,), cross-fitted."""
        fitted, name = self._cross_fitted(decision), self.task.metric.name
        return np.array([self._of_fold(k, self._submitted(fitted[k]))[name] for k in self.folds])

    def _cross_fitted(self, decision: Decision) -> dict[int, Decision]:
        """Return for every fold the decision that is fitted without its rows."""
        if len(self.folds) == 1:
            return dict.fromkeys(self.folds, decision)
        return {k: decision.fit(self.truth[self.fold != k], self.values[self.fold != k]) for k in self.folds}

    def _submitted(self, decision: Decision) -> Scores:
        metric = self.task.metric
        return lambda y, values: {metric.name: metric.score(y, decision.apply(values))}

    def usual_scores(self) -> dict[str, float]:
        """Return the task's scores of predictions before any decision, `val_<name>`, and their `_std` over folds."""
        return self._scores("val_", lambda _: self.task.scores, self.task.scores)

    def _scores(self, prefix: str, score_of: Callable[[int], Scores], overall: Scores) -> dict[str, float]:
        of_fold = [self._of_fold(k, score_of(k)) for k in self.folds]
        n_rows = [np.sum(self.predictions.fold == k) for k in self.folds]
        of_all = _mean(of_fold, n_rows) if self.in_blocks else overall(self.truth, self.values)
        scores: dict[str, float] = {}
        for name, value in of_all.items():
            scores[f"{prefix}{name}"] = float(value)
            if len(self.folds) > 1:
                values = [scores_of_one[name] for scores_of_one in of_fold]
                # Folds without a score (such as AUC of one class) are left out.
                scores[f"{prefix}{name}_std"] = float(np.nanstd(values)) if np.isfinite(values).any() else float("nan")
        return scores

    def _of_fold(self, k: int, scores: Scores) -> dict[str, float]:
        """Return the scores of one fold's rows."""
        if not self.in_blocks:
            return scores(self.truth[self.fold == k], self.values[self.fold == k])
        parts, n_rows = [], []
        for block, values in self.predictions.blocks():
            mine = self.predictions.fold[block] == k
            if mine.any():
                parts.append(scores(self.y[block][mine], values[mine]))
                n_rows.append(mine.sum())
        return _mean(parts, n_rows)


def _mean(parts: list[dict[str, float]], n_rows: Sequence[int]) -> dict[str, float]:
    """Return the means of scores, weighted by numbers of rows."""
    return {name: float(np.average([part[name] for part in parts], weights=n_rows)) for name in parts[0]}
