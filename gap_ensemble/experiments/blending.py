"""Means of several experiments' predictions, with weights that are fitted out of fold.

fitted     weights that maximise the likelihood (of numbers: minimise the squared error) of out-of-fold predictions
mean       equal weights
geometric  equal weights of logarithms: a class that one part calls impossible stays so
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gap_ensemble.competition.found import Kind
from gap_ensemble.experiments.common import Shared
from gap_ensemble.heads.blend_weights import fit_blend_weights, fit_number_weights
from gap_ensemble.scoring.metrics import EPSILON
from gap_ensemble.storage.predictions import prediction_writer

HOW = ("fitted", "mean", "geometric")
# Weights have few degrees of freedom: more numbers than this fit them no better.
MAX_FITTED = 1_000_000


@dataclass
class Blend:
    """How predictions of several experiments become one.

    Attributes
    ----------
    kind : str
        Of the task: `classes`, `labels`, `grades` or `numbers`.
    how : str
        One of `HOW`.
    weights : ndarray of shape (n_parts,)
        Fitted to all rows; they sum to one.
    of_fold : dict of int to ndarray of shape (n_parts,)
        Fitted without the rows of the fold, for the scores.
    """

    kind: Kind
    how: str
    weights: np.ndarray
    of_fold: dict[int, np.ndarray] = field(default_factory=dict)

    def combine(self, values: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Return the blend of predictions (n, n_outputs), one a part.

        Parameters
        ----------
        values : list of ndarray of shape (n, n_outputs)
        weights : ndarray of shape (n_parts,) or (n_parts, n)
            Of every part, or of every part and row.
        """
        weights = np.broadcast_to(weights.reshape(len(values), -1), (len(values), len(values[0])))[:, :, None]
        stacked = np.stack(values).astype(np.float64)
        if self.how != "geometric":
            return np.asarray((weights * stacked).sum(axis=0))
        means = np.exp((weights * np.log(np.maximum(stacked, EPSILON))).sum(axis=0))
        if self.kind == "labels":  # A probability of its own, and that of the contrary.
            return means / (means + np.exp((weights * np.log(np.maximum(1 - stacked, EPSILON))).sum(axis=0)))
        return np.asarray(means / means.sum(axis=1, keepdims=True))


def fit_blend(shared: Shared, y: np.ndarray, kind: Kind, how: str) -> Blend:
    """Fit a blend to out-of-fold predictions.

    Parameters
    ----------
    shared : Shared
    y : ndarray
        The truth of its rows.
    kind : str
    how : str
    """
    n_parts = len(shared.parts)
    equal = np.full(n_parts, 1 / n_parts)
    folds = np.unique(shared.fold)
    if how != "fitted":
        return Blend(kind, how, equal, dict.fromkeys(folds, equal))
    evidence = _evidence(shared, y, kind)
    every = -(-evidence.size // (MAX_FITTED * n_parts))
    evidence, y, fold = evidence[::every], y[::every], shared.fold[::every]

    def fit(chosen: np.ndarray) -> np.ndarray:
        rows = evidence[chosen].reshape(-1, n_parts)
        return fit_number_weights(rows, y[chosen].reshape(-1)) if kind == "numbers" else fit_blend_weights(rows)

    return Blend(kind, how, fit(fold > 0), {k: fit(fold != k) for k in folds})


def _evidence(shared: Shared, y: np.ndarray, kind: Kind) -> np.ndarray:
    """Return what the weights depend on, (n_rows, n_columns, n_parts): the probability of the truth, or the number."""
    n_columns = 1 if y.ndim == 1 else y.shape[1]
    evidence = np.empty((len(y), n_columns, len(shared.parts)), np.float32)
    for block in shared.blocks():
        for column, part in enumerate(shared.parts.values()):
            values, truth = part.values(block), y[block]
            if y.ndim == 1:
                values = np.take_along_axis(values, truth[:, None].astype(np.intp), axis=1)
            elif kind == "labels":
                values = np.where(truth == 1, values, 1 - values)
            evidence[block, :, column] = values
    return evidence


def write_blend(path: Path, shared: Shared, blend: Blend) -> None:
    """Write the blend's predictions; of training rows (those with a fold) by weights fitted without the row's fold.

    Parameters
    ----------
    path : Path
        A file of predictions.
    shared : Shared
    blend : Blend
    """
    with prediction_writer(path, shared.row, shared.fold, shared.n_outputs) as writer:
        for block in shared.blocks():
            weights = np.stack([blend.of_fold.get(k, blend.weights) for k in shared.fold[block]], axis=1)
            values = blend.combine([part.values(block) for part in shared.parts.values()], weights)
            writer.add(values)
