"""What a head is: something that is trained on features, one for each fold, and predicts.

A head knows `Outputs` (classes, labels or numbers), and never the competition's task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from scipy.special import expit, softmax

from gap_ensemble.heads.rows import Rows
from gap_ensemble.params import Train
from gap_ensemble.validation.folds import assign_folds

Curves = dict[str, list[float]]
OnProgress = Callable[[int], None]

# Numbers are stratified by so many quantiles.
N_QUANTILES = 10


@dataclass(frozen=True)
class Outputs:
    """What heads predict.

    Attributes
    ----------
    kind : 'classes', 'labels' or 'numbers'
        classes: one of n. `y` has shape (n_rows,), integer; predictions (n_rows, n), probabilities that sum to one.
        labels: each of n holds or not. `y` has shape (n_rows, n), 0 or 1; predictions (n_rows, n), a probability each.
        numbers: n targets. `y` has shape (n_rows, n), float; predictions (n_rows, n).
    n : int
        Columns of the predictions.
    """

    kind: Literal["classes", "labels", "numbers"]
    n: int

    @property
    def n_logits(self) -> int:
        """Columns of what a linear layer gives before the link function: two classes need one."""
        return 1 if self.kind == "classes" and self.n == 2 else self.n

    def link(self, logits: np.ndarray) -> np.ndarray:
        """Turn the outputs of a linear layer, shape (n_rows, n_logits), into predictions of shape (n_rows, n)."""
        if self.kind == "numbers":
            return logits
        if self.kind == "labels":
            return np.asarray(expit(logits))
        if self.n_logits == 1:
            return np.hstack([expit(-logits), expit(logits)])
        return np.asarray(softmax(logits, axis=1))

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return an integer a row, shape (n_rows,), by which folds are stratified.

        The class; the combination of labels; the quantile of the first number.
        """
        if self.kind == "classes":
            return y
        if self.kind == "labels":
            return np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
        inner = np.quantile(y[:, 0], np.linspace(0, 1, N_QUANTILES + 1)[1:-1])
        return np.searchsorted(inner, y[:, 0])


@dataclass
class TrainingData:
    """What the heads of all folds are trained on: head k on the rows outside of fold k.

    Attributes
    ----------
    options : Train
        The section `train` of params.yaml.
    rows : Rows
        The rows that count, and the columns that count.
    y : ndarray
        Targets of all rows, as `outputs` says.
    outputs : Outputs
        What is predicted.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row validates, or -1 for a row that only trains.
    group : ndarray of shape (n_rows,), integer
        Rows of one group (a patient, near-duplicates) stay together in every choice that is made inside a fold.
    n_folds, seed : int
    """

    options: Train
    rows: Rows
    y: np.ndarray
    outputs: Outputs
    fold: np.ndarray
    group: np.ndarray
    n_folds: int
    seed: int

    def trains(self, k: int) -> np.ndarray:
        """Return which rows train the head of fold k, shape (n_rows,), bool."""
        return self.rows.chosen & (self.fold != k)

    def validates(self, k: int) -> np.ndarray:
        """Return which rows validate the head of fold k, shape (n_rows,), bool."""
        return self.rows.chosen & (self.fold == k)

    def inner_folds(self, numbers: np.ndarray, n_folds: int) -> np.ndarray:
        """Deal some rows into folds of their own, for a choice among them: stratified, groups kept together.

        Parameters
        ----------
        numbers : ndarray of shape (n,), integer
            Row numbers.
        n_folds : int
            As for `assign_folds`: 1 is a single split, in which one row in five has 0 and the others -1.

        Returns
        -------
        ndarray of shape (n,), int32
        """
        return assign_folds(self.outputs.strata(self.y[numbers]), n_folds, self.seed, self.group[numbers])


@dataclass
class Trial:
    """A part of the training rows on which a choice is tried, and the rows that decide.

    Attributes
    ----------
    trains : ndarray of shape (n_rows,), bool
        What trains.
    decides : dict of int to ndarray of shape (n_rows,), bool
        For each fold whose head this helps to choose, held-out rows. None of them, and no row that trains, lies in it.
    """

    trains: np.ndarray
    decides: dict[int, np.ndarray]


def trials(data: TrainingData, pairs: Literal["every", "next", "fewest"]) -> list[Trial]:
    """Return the trials by which something is chosen for the head of every fold, such as the strength of a penalty.

    A trial that trains without folds i and j decides for i by the rows of j, and for j by the rows of i: so one fit
    serves two folds, groups stay together because folds keep them together, and no row decides for its own fold.
    Fewer than three folds are too few for that; then one row in five of those that train decides.

    Parameters
    ----------
    data : TrainingData
        Rows and folds.
    pairs : 'every', 'next' or 'fewest'
        Which pairs of folds: all, so that every row outside of a fold decides; each fold and the next; or as few as
        name every fold.
    """
    n_folds = data.n_folds
    if n_folds >= 3:
        chosen = {
            "every": [(i, j) for i in range(n_folds) for j in range(i + 1, n_folds)],
            "next": [(i, (i + 1) % n_folds) for i in range(n_folds)],
            "fewest": [(i, (i + 1) % n_folds) for i in range(0, n_folds, 2)],
        }[pairs]
        return [Trial(data.trains(i) & data.trains(j), {i: data.validates(j), j: data.validates(i)}) for i, j in chosen]
    found = []
    for k in range(n_folds):
        numbers = np.flatnonzero(data.trains(k))
        held_out = np.zeros(len(data.fold), bool)
        held_out[numbers[data.inner_folds(numbers, 1) == 0]] = True
        found.append(Trial(data.trains(k) & ~held_out, {k: held_out}))
    return found


class Head(Protocol):
    """What an ensemble asks of a head.

    A class of heads is listed in `gap_ensemble/heads/ensemble.py` under the name that `train.head` takes.
    """

    # What `n_steps` counts, for the progress bar: epochs, fits.
    unit: str

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return how much `fit_folds` will report to `on_progress` in all."""

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list["Head"], list[Curves]]:
        """Train a head for each fold on the rows outside of it.

        The rows inside may be looked at for the learning curves, and for nothing else.

        Parameters
        ----------
        data : TrainingData
            Rows, targets, folds and options.
        on_progress : callable
            Is told how many steps were done since it was last called.

        Returns
        -------
        heads : list of Head
            One a fold.
        curves : list of dict of str to list of float
            Learning curves of each head: `loss` and what else there is; with `val_` in front, of the validation rows.
        """

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32, for features of shape (n, n_features)."""

    def save(self, path: Path) -> None:
        """Write all that `load` needs to one HDF5 file, the same bytes every time."""

    @classmethod
    def load(cls, path: Path, outputs: Outputs) -> "Head":
        """Return the head that `save` wrote."""


def class_weights(label: np.ndarray, n_classes: int, kind: str | None) -> np.ndarray:
    """Return a weight for each class: one, or with `balanced` n_rows / (n_classes * rows of the class)."""
    if kind is None:
        return np.ones(n_classes, np.float32)
    counts = np.bincount(label, minlength=n_classes)
    return (len(label) / (n_classes * np.maximum(counts, 1))).astype(np.float32)
