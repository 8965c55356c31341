"""Several labels a sample: a probability a label, or the labels themselves."""

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Competition
from gap_ensemble.heads.head import Outputs
from gap_ensemble.params import Predict
from gap_ensemble.scoring.calibration import Calibration
from gap_ensemble.scoring.decisions import Decision, Thresholds, Unchanged
from gap_ensemble.scoring.metrics import accuracy, as_labels, f_score, find_metric, log_loss, roc_auc
from gap_ensemble.tasks.submission_columns import in_columns, in_long_rows, in_one_column
from gap_ensemble.tasks.task import Encoding, identity

# Combinations of labels are tried as classes if there are few, and each has pictures to learn from.
MAX_COMBINATIONS = 200
MIN_ROWS_A_COMBINATION = 5


class Labels:
    """Any number of labels a sample. The truth is 0 or 1 a label, (n_samples, n_labels) uint8."""

    def __init__(self, competition: Competition):
        self.competition = competition
        self.metric = find_metric(competition.task.metric)
        self.names = competition.task.names

    def encode(self, rows: pd.DataFrame) -> np.ndarray:
        """Return 0 or 1 a label, (n_samples, n_labels) uint8."""
        index_of = {name: index for index, name in enumerate(self.names)}
        y = np.zeros((len(rows), len(self.names)), np.uint8)
        for row, text in enumerate(rows["target"]):
            for name in text.split(self.competition.task.separator):
                if name:
                    y[row, index_of[name]] = 1
        return y

    def encodings(self, y: np.ndarray) -> list[Encoding]:
        """Return a sigmoid a label, and where combinations are few those that occur as classes."""
        ways = [Encoding("labels", Outputs("labels", len(self.names)), identity, identity)]
        combinations = np.unique(y, axis=0)
        n_combinations = len(combinations)
        if len(self.names) < n_combinations <= min(MAX_COMBINATIONS, len(y) // MIN_ROWS_A_COMBINATION) or (
            1 < n_combinations <= len(self.names)
        ):
            number_of = {row.tobytes(): number for number, row in enumerate(combinations)}

            def encode(truth: np.ndarray) -> np.ndarray:
                return np.array([number_of[row.tobytes()] for row in np.ascontiguousarray(truth)], np.int32)

            def decode(predictions: np.ndarray) -> np.ndarray:
                # The probability of a label is the sum over the combinations that hold it.
                return np.minimum(predictions @ combinations.astype(np.float32), 1)

            ways.append(Encoding("combinations", Outputs("classes", n_combinations), encode, decode))
        return ways

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return the rarest label of every sample; rare labels are what folds miss."""
        counts = y.sum(axis=0)
        rarity = np.where(y == 1, counts, counts.max(initial=0) + 1)
        return np.where(y.any(axis=1), rarity.argmin(axis=1), y.shape[1])

    def decision(self, options: Predict) -> Decision:
        """Return thresholds where labels are submitted, a calibration for log loss, else nothing."""
        form = self.competition.submission
        if form.form in ("labels", "indicators") if form else self.metric.name.startswith("f"):
            return Thresholds(self.metric)
        if self.metric.name == "log_loss":
            return Calibration(options.clip, labels=True)
        return Unchanged()

    def prior(self, y: np.ndarray) -> np.ndarray:
        """Return the frequency of every label."""
        return y.mean(axis=0).astype(np.float32)

    def true_values(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the probability of what is true of the label that is predicted worst."""
        return np.where(y == 1, values, 1 - values).min(axis=1)

    def text(self, y: np.ndarray) -> list[str]:
        """Return labels, joined by the task's separator."""
        return [self.competition.task.separator.join(self.names[i] for i in np.flatnonzero(row)) for row in y]

    def submitted_text(self, submitted: np.ndarray) -> list[str]:
        """Return labels, joined by the task's separator."""
        return self.text(as_labels(submitted))

    def scores(self, y: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Return log loss and ROC AUC, means over labels, and F1 and accuracy (all labels right) at one half."""
        return {
            "log_loss": log_loss(y, values),
            "roc_auc": roc_auc(y, values),
            "f1_samples": f_score(1, "samples")(y, values),
            "accuracy": accuracy(y, values),
        }

    def render(self, ids: list[str], submitted: np.ndarray) -> pd.DataFrame:
        """Return rows of the submission."""
        form = self.competition.submission
        assert form is not None
        if form.form == "labels":
            return in_one_column(form, ids, self.submitted_text(submitted))
        if form.form == "long":
            return in_long_rows(form, ids, submitted, self.names)
        return in_columns(form, ids, submitted, self.names)
