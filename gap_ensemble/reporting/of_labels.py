"""The report's parts for several labels a row."""

import warnings

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.metrics import roc_auc_score

from gap_ensemble.reporting.data import ReportData
from gap_ensemble.reporting.markup import Section, table
from gap_ensemble.scoring.decisions import Thresholds
from gap_ensemble.scoring.metrics import as_labels

# So many labels are looked through for wrong ones.
MAX_SEARCHED = 100


class LabelsView:
    """How labels are shown.

    Parameters
    ----------
    data : ReportData
    """

    def __init__(self, data: ReportData):
        self.data, self.names = data, data.task.names
        self.truth, self.said = data.y == 1, as_labels(np.asarray(data.submitted))
        fitted = data.decision.fit(data.y, data.values)
        thresholds = fitted.thresholds if isinstance(fitted, Thresholds) else None
        self.thresholds = np.full(len(self.names), 0.5) if thresholds is None else thresholds

    def caption(self, i: int) -> str:
        """Return what stands below the picture of row i: its labels, what is submitted, the worst probability."""
        of_truth = np.where(self.truth[i], self.data.values[i], 1 - self.data.values[i])
        worst = int(of_truth.argmin())
        has = "has" if self.truth[i, worst] else "has no"
        return (
            f"{self._text(self.truth[i])}\npredicted {self._text(self.said[i])}\n"
            f"{has} {self.names[worst]}: {self.data.values[i, worst]:.4f}"
        )

    def _text(self, has: np.ndarray) -> str:
        return ", ".join(self.names[label] for label in np.flatnonzero(has)) or "no label"

    def groups(self, i: int) -> tuple[str, ...]:
        """Return what the filter finds row i by."""
        return tuple(self.names[label] for label in np.flatnonzero(self.truth[i])) or ("no label",)

    def hue(self, i: int) -> float:
        """Return the colour of row i on the map, in degrees: of its first label."""
        return float(int(self.truth[i].argmax()) * 137.508 % 360)

    def is_right(self, i: int) -> bool:
        """Whether what is submitted for row i is the truth."""
        return bool((self.said[i] == self.truth[i]).all())

    def suspects(self) -> np.ndarray:
        """Return numbers of rows with a label that confident learning suspects, each label looked at by itself."""
        doubt = np.zeros(len(self.truth))
        for label in range(min(len(self.names), MAX_SEARCHED)):
            truth, values = self.truth[:, label], self.data.values[:, label].astype(np.float64)
            if truth.all() or not truth.any():
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = find_label_issues(truth.astype(int), np.stack([1 - values, values], axis=1), n_jobs=1)
            doubt = np.maximum(doubt, found * np.abs(truth - values))
        order = np.argsort(-doubt, kind="stable")
        return order[doubt[order] > 0]

    def sections(self) -> list[Section]:
        """Return the parts that only labels have."""
        lines = [self._line(label) for label in range(len(self.names))]
        header = ("label", "rows", "threshold", "precision", "recall", "F1", "ROC AUC", "mostly said in its place")
        note = (
            "<p>Of what is submitted, out of fold: a row gets the labels whose probability is above their threshold. "
            "The thresholds in the table are those of the submission, fitted to all rows; each row here was decided by "
            "thresholds that were fitted without its fold.</p>"
        )
        return [Section("Labels", note + table(header, lines))]

    def _line(self, label: int) -> tuple[object, ...]:
        truth, said = self.truth[:, label], self.said[:, label]
        hits, n_truth, n_said = int((truth & said).sum()), int(truth.sum()), int(said.sum())
        area = float("nan")
        if 0 < n_truth < len(truth):
            area = float(roc_auc_score(truth, self.data.values[:, label]))
        missed = truth & ~said
        instead = (self.said[missed] & ~self.truth[missed]).sum(axis=0)
        return (
            self.names[label],
            n_truth,
            float(self.thresholds[label]),
            hits / n_said if n_said else float("nan"),
            hits / n_truth if n_truth else float("nan"),
            2 * hits / (n_truth + n_said) if n_truth + n_said else float("nan"),
            area,
            f"{self.names[instead.argmax()]} ({instead.max():,})" if instead.any() else "",
        )
