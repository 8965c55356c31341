"""What the logistic and the ridge head share: rows in memory, turned so that a fit is small, and how they predict.

A penalty on the squared coefficients does not feel a rotation of the features. So the features of n rows are turned
into their principal axes once, before any fit: at most n columns are left, however many features there were, and each
is as long as its axis, which tells an optimizer the curvature. The same turned rows serve all folds: no label is
looked at.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from gap_ensemble.heads.head import Outputs, TrainingData
from gap_ensemble.heads.rows import standardise
from gap_ensemble.storage.hdf5 import atomic_hdf5

# Rows times features, and columns times outputs, that are held in memory. With more of either the dense head takes
# over, which reads rows in blocks.
MAX_NUMBERS = 2**28
MAX_COEFFICIENTS = 2**21
# Features are turned if there are at most so many rows or so many features: the work grows with the cube.
MAX_TURNED = 2500


def fits_into_memory(n_rows: int, n_features: int, outputs: Outputs) -> bool:
    """Return whether a linear head can be fitted to so many rows."""
    n_columns = n_features if min(n_rows, n_features) > MAX_TURNED else min(n_rows, n_features)
    return n_rows * n_features <= MAX_NUMBERS and n_columns * outputs.n_logits <= MAX_COEFFICIENTS


SomeLinearHead = TypeVar("SomeLinearHead", bound="LinearHead")


@dataclass
class LinearHead:
    """Standardised features times coefficients, and a link function.

    Attributes
    ----------
    outputs : Outputs
        What it predicts.
    mean, scale : ndarray of shape (n_features,)
        What the features are standardised by.
    coef : ndarray of shape (n_features, n_logits), float32
    intercept : ndarray of shape (n_logits,), float32
    """

    outputs: Outputs
    mean: np.ndarray
    scale: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32."""
        logits = standardise(features, self.mean, self.scale) @ self.coef + self.intercept
        return self.outputs.link(logits).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write mean, scale, coefficients and intercepts."""
        with atomic_hdf5(path) as file:
            for name in ("mean", "scale", "coef", "intercept"):
                file[name] = getattr(self, name)

    @classmethod
    def load(cls: type[SomeLinearHead], path: Path, outputs: Outputs) -> SomeLinearHead:
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            return cls(outputs, *(file[name][:] for name in ("mean", "scale", "coef", "intercept")))


@dataclass
class TurnedRows:
    """All rows in memory, standardised and turned.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_columns), float32
    axes : ndarray of shape (n_features, n_columns), float32, or None
        Coefficients of the features are `axes @ coefficients of the columns`; None if nothing was turned.
    mean, scale : ndarray of shape (n_features,)
        What the features were standardised by.
    """

    features: np.ndarray
    axes: np.ndarray | None
    mean: np.ndarray
    scale: np.ndarray

    def coef(self, coef: np.ndarray) -> np.ndarray:
        """Return the coefficients of the standardised features, float32, for those of the columns."""
        return np.asarray(coef if self.axes is None else self.axes @ coef, np.float32)


def scalings(data: TrainingData) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the ways to scale the features that `train.normalize` allows: mean and scale, shape (n_features,) each.

    True: every feature has the deviation one. False: only the mean is taken off, and one factor makes the deviations
    one on the average, so that both ways take the same strengths of a penalty. Null: both.
    """
    mean, scale = data.rows.mean_and_scale()
    standardised, together = (mean, scale), (mean, alike(scale))
    return {True: [standardised], False: [together], None: [standardised, together]}[data.options.normalize]


def alike(scale: np.ndarray) -> np.ndarray:
    """Return one scale for all features, shape (n_features,): their deviations keep their proportions."""
    return np.full_like(scale, np.sqrt(np.mean(scale**2)))


def turned_rows(data: TrainingData, mean: np.ndarray, scale: np.ndarray) -> TurnedRows:
    """Read all rows, standardise them, and turn them into their principal axes."""
    features, numbers = data.rows.standardised(mean, scale).whole()
    if len(numbers) < len(data.y):
        whole = np.zeros((len(data.y), features.shape[1]), np.float32)
        whole[numbers] = features
        features = whole
    n_rows, n_features = features.shape
    if min(n_rows, n_features) > MAX_TURNED:
        return TurnedRows(features, None, mean, scale)
    if n_rows < n_features:
        squares, left = np.linalg.eigh((features @ features.T).astype(np.float64))
        kept = squares > squares[-1] * 1e-9
        lengths = np.sqrt(squares[kept])
        turned = (left[:, kept] * lengths).astype(np.float32)
        axes = features.T @ (left[:, kept] / lengths).astype(np.float32)
        return TurnedRows(turned, axes, mean, scale)
    squares, axes = np.linalg.eigh((features.T @ features).astype(np.float64))
    axes = axes[:, squares > squares[-1] * 1e-9].astype(np.float32)
    return TurnedRows(features @ axes, axes, mean, scale)
