"""Numbers: one target or several (regression)."""

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Competition, target_columns
from gap_ensemble.heads.head import Outputs
from gap_ensemble.params import Predict
from gap_ensemble.scoring.decisions import Decision, WithinRange
from gap_ensemble.scoring.metrics import METRICS, find_metric, rmse
from gap_ensemble.tasks.submission_columns import in_columns
from gap_ensemble.tasks.task import Encoding, identity

N_STRATA = 10


class Numbers:
    """Numbers. The truth is (n_samples, n_targets) float64."""

    def __init__(self, competition: Competition):
        self.competition = competition
        self.metric = find_metric(competition.task.metric)
        self.names = competition.task.names

    def encode(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the targets, (n_samples, n_targets) float64."""
        return rows[target_columns(self.competition.task)].to_numpy(np.float64)

    def encodings(self, y: np.ndarray) -> list[Encoding]:  # noqa: ARG002
        """Return the only one: numbers."""
        return [Encoding("numbers", Outputs("numbers", len(self.names)), identity, identity)]

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return the tenth in which the mean of the standardised targets lies."""
        mean = ((y - y.mean(axis=0)) / np.where(y.std(axis=0) > 0, y.std(axis=0), 1)).mean(axis=1)
        inner = np.quantile(mean, np.linspace(0, 1, N_STRATA + 1)[1:-1])
        return np.searchsorted(inner, mean, side="right")

    def decision(self, options: Predict) -> Decision:  # noqa: ARG002
        """Return that numbers stay within the range of the targets."""
        return WithinRange()

    def prior(self, y: np.ndarray) -> np.ndarray:
        """Return the mean of every target."""
        return y.mean(axis=0).astype(np.float32)

    def true_values(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return 1 / (1 + error), the error in standard deviations of the target."""
        scale = np.where(y.std(axis=0) > 0, y.std(axis=0), 1)
        return np.asarray(1 / (1 + (np.abs(values - y) / scale).max(axis=1)))

    def text(self, y: np.ndarray) -> list[str]:
        """Return the numbers, short."""
        return [", ".join(f"{value:.4g}" for value in row) for row in y]

    def submitted_text(self, submitted: np.ndarray) -> list[str]:
        """Return the numbers, short."""
        return self.text(submitted)

    def scores(self, y: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Return RMSE and mean absolute error over all targets, and the share of the variance that is explained."""
        explained = 1 - np.square(values - y).sum() / max(np.square(y - y.mean(axis=0)).sum(), 1e-300)
        return {"rmse": rmse(y, values), "mae": METRICS["mae"].score(y, values), "r2": float(explained)}

    def render(self, ids: list[str], submitted: np.ndarray) -> pd.DataFrame:
        """Return rows of the submission: the sample's columns are the targets, by name or in order."""
        form = self.competition.submission
        assert form is not None
        return in_columns(form, ids, submitted, self.names)
