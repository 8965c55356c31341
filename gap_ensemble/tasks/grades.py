"""Grades: one of ordered whole numbers, most often scored by quadratic weighted kappa."""

import numpy as np

from gap_ensemble.params import Predict
from gap_ensemble.scoring.decisions import CutPoints, Decision, MostProbable
from gap_ensemble.scoring.metrics import accuracy, log_loss, quadratic_kappa
from gap_ensemble.tasks.classes import Classes


class Grades(Classes):
    """One of several grades. The truth is the place of the grade in order, (n_samples,) int32."""

    def decision(self, options: Predict) -> Decision:
        """Return cut points on the expected grade for kappa; else the most probable grade, or what classes have."""
        form = self.competition.submission
        if self.metric.name == "quadratic_kappa":
            return CutPoints(len(self.names), self.metric)
        if form is None or form.form == "grade":
            return MostProbable(self.metric)
        return super().decision(options)

    def true_values(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return 1 / (1 + distance of the expected grade from the true one)."""
        return 1 / (1 + np.abs(values @ np.arange(len(self.names)) - y))

    def scores(self, y: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Return log loss, and accuracy and quadratic kappa of the most probable grade."""
        return {
            "log_loss": log_loss(y, values),
            "accuracy": accuracy(y, values),
            "quadratic_kappa": quadratic_kappa(y, values),
        }
