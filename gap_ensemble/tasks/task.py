"""The task: what is predicted, and how a row of the submission reads.

    task = task_of(read_competition())
    y = task.encode(rows)                         # the truth, as numbers
    decision = task.decision(params.predict)      # what turns predictions into what is submitted
    task.render(ids, decision.apply(values))      # rows of the submission

`values`, the predictions of a task, have shape (n_samples, n_outputs): a probability a class, a label or a grade, or a
number a target. Heads may be trained on another form of the same thing, an `Encoding`: combinations of labels as
classes are one. The task turns their predictions back into its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Competition
from gap_ensemble.heads.head import Outputs
from gap_ensemble.params import Predict
from gap_ensemble.scoring.decisions import Decision
from gap_ensemble.scoring.metrics import Metric


@dataclass(frozen=True)
class Encoding:
    """A form in which heads learn the task.

    Attributes
    ----------
    name : str
        For messages and folders.
    outputs : Outputs
        What heads predict.
    encode : callable
        Turns the task's truth into the heads'.
    decode : callable
        Turns the heads' predictions (n_samples, outputs.n) into the task's.
    """

    name: str
    outputs: Outputs
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]


class Task(Protocol):
    """What the stages ask of a task.

    Attributes
    ----------
    competition : Competition
        What the competition's files say.
    metric : Metric
        What submissions are scored by.
    names : list of str
        Of the columns of predictions.
    """

    competition: Competition
    metric: Metric

    @property
    def names(self) -> list[str]:
        """Names of the columns of predictions: classes, labels, grades, targets."""

    def encode(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the truth of training rows, (n_samples,) or (n_samples, n_outputs)."""

    def encodings(self, y: np.ndarray) -> list[Encoding]:
        """Return the forms in which heads may learn it; of several, the best out of fold is taken."""

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return an integer a sample by which folds are stratified."""

    def decision(self, options: Predict) -> Decision:
        """Return the decision that follows the metric and the form of the submission, not fitted yet."""

    def prior(self, y: np.ndarray) -> np.ndarray:
        """Return the predictions for a sample whose picture can't be read, shape (n_outputs,)."""

    def true_values(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return how good each prediction is, shape (n_samples,), from 0: the report shows the least first."""

    def text(self, y: np.ndarray) -> list[str]:
        """Return the truth of samples as people write it."""

    def submitted_text(self, submitted: np.ndarray) -> list[str]:
        """Return what is submitted as people write it: the most probable class, the labels, the numbers."""

    def scores(self, y: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Return the usual scores of predictions, before any decision; the metric itself is computed apart."""

    def render(self, ids: list[str], submitted: np.ndarray) -> pd.DataFrame:
        """Return rows of the submission, with the sample's columns."""


def identity(values: np.ndarray) -> np.ndarray:
    """Return what is given."""
    return values


def task_of(competition: Competition) -> Task:
    """Return the task of a competition."""
    from gap_ensemble.tasks import classes, grades, labels, numbers

    kinds: dict[str, Callable[[Competition], Task]] = {
        "classes": classes.Classes,
        "grades": grades.Grades,
        "labels": labels.Labels,
        "numbers": numbers.Numbers,
    }
    return kinds[competition.task.kind](competition)
