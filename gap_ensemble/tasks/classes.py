"""One class of several: a probability a class, a name, a name and a confidence, k guesses, or 0 and 1."""

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Competition
from gap_ensemble.heads.head import Outputs
from gap_ensemble.params import Predict
from gap_ensemble.scoring.calibration import Calibration
from gap_ensemble.scoring.decisions import Decision, Guesses, MostProbable, Unchanged
from gap_ensemble.scoring.metrics import accuracy, find_metric, log_loss, most_probable, roc_auc, top_error
from gap_ensemble.tasks.submission_columns import in_columns, in_one_column, printable
from gap_ensemble.tasks.task import Encoding, identity

# Forms that say a probability, and forms that say one class.
WITH_PROBABILITIES = ("probability", "probabilities", "class_confidence")


class Classes:
    """One class of several. The truth is the index of the class, (n_samples,) int32."""

    def __init__(self, competition: Competition):
        self.competition = competition
        self.metric = find_metric(competition.task.metric)
        self.names = competition.task.names

    def encode(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the index of every row's class, (n_samples,) int32."""
        return rows["target"].map({name: index for index, name in enumerate(self.names)}).to_numpy(np.int32)

    def encodings(self, y: np.ndarray) -> list[Encoding]:  # noqa: ARG002
        """Return the only one: classes."""
        return [Encoding("classes", Outputs("classes", len(self.names)), identity, identity)]

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return the classes."""
        return y

    def positive(self) -> int | None:
        """Return the index of the class that a single column means; None for other forms."""
        form = self.competition.submission
        return None if form is None or form.positive_class is None else self.names.index(form.positive_class)

    def decision(self, options: Predict) -> Decision:
        """Return the decision that follows metric and form."""
        form = self.competition.submission
        if form is not None and form.form == "guesses":
            return Guesses(form.n_guesses)
        if form is not None and form.form not in WITH_PROBABILITIES:
            return MostProbable(self.metric)
        if self.metric.name == "log_loss":
            return Calibration(options.clip, positive=self.positive())
        return Unchanged()

    def prior(self, y: np.ndarray) -> np.ndarray:
        """Return the frequency of every class."""
        return (np.bincount(y, minlength=len(self.names)) / len(y)).astype(np.float32)

    def true_values(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the probability of the true class."""
        return np.take_along_axis(values, y[:, None].astype(np.intp), axis=1)[:, 0]

    def text(self, y: np.ndarray) -> list[str]:
        """Return the names of classes."""
        return [self.names[i] for i in y]

    def submitted_text(self, submitted: np.ndarray) -> list[str]:
        """Return the name of the most probable class."""
        return self.text(most_probable(submitted))

    def scores(self, y: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Return log loss and accuracy, and ROC AUC of two classes or top-5 accuracy of more than ten."""
        scores = {"log_loss": log_loss(y, values), "accuracy": accuracy(y, values)}
        if len(self.names) == 2:
            scores["roc_auc"] = roc_auc(y, values)
        elif len(self.names) > 10:
            scores["top_5_accuracy"] = 1 - top_error(y, values, 5)
        return scores

    def render(self, ids: list[str], submitted: np.ndarray) -> pd.DataFrame:
        """Return rows of the submission."""
        form, names = self.competition.submission, self.names
        assert form is not None
        if form.form == "probabilities":
            return in_columns(form, ids, submitted, names)
        if form.form == "probability":
            return in_one_column(form, ids, printable(submitted[:, self.positive()]))
        if form.form == "hard":
            return in_one_column(form, ids, printable(most_probable(submitted) == self.positive()))
        if form.form == "guesses":
            return in_one_column(form, ids, [" ".join(self.text(row)) for row in submitted])
        said = self.submitted_text(submitted)
        if form.form == "class_confidence":
            said = [f"{name} {value:.6f}" for name, value in zip(said, submitted.max(axis=1), strict=True)]
        return in_one_column(form, ids, said)
