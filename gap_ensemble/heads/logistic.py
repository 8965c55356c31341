"""The logistic head: scikit-learn's, for few pictures, in seconds and without TensorFlow."""

from pathlib import Path

import h5py
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from gap_ensemble.heads.rows import (
    MEMORY_BYTES,
    Curves,
    Head,
    OnProgress,
    Rows,
    TrainingData,
    probabilities,
    standardise,
)
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Train
from gap_ensemble.storage.hdf5 import atomic_hdf5
from gap_ensemble.validation.folds import assign_folds

# Strengths that `logistic` tries: scikit-learn's C, small is strong.
LOGISTIC_C = (3e-4, 3e-3, 1e-2, 3e-2, 1e-1)
# Rows that should judge the strengths: of few rows, each fifth judges in turn; of many, one fifth is enough.
N_JUDGES = 2000


class LogisticHead:
    """scikit-learn's logistic regression on standardised features, its strength chosen inside the training rows.

    It holds its rows in memory, so it is for features that fit there. Needs no TensorFlow.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml; `class_weight` and `ensemble` count here.
    n_features, n_classes : int
        What goes in and what comes out.
    """

    def __init__(self, options: Train, n_features: int, n_classes: int):
        self.options = options
        n_outputs = 1 if n_classes == 2 else n_classes
        # Classes without a row keep an intercept that makes them improbable.
        self.arrays = {
            "mean": np.zeros(n_features),
            "scale": np.ones(n_features),
            "coef": np.zeros((n_outputs, n_features)),
            "intercept": np.full(n_outputs, -30.0),
        }

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says; a curve has one point, without validation."""
        heads: list[Head] = []
        curves: list[Curves] = []
        for k in range(data.n_folds):
            head = cls(data.options, data.rows.n_features, data.n_classes)
            rows = Rows(data.rows.features, data.trains(k), data.rows.columns)
            curves.append(head.fit(rows, data.label, data.seed))
            heads.append(head)
            on_progress(data.options.epochs)
        return heads, curves

    def fit(self, rows: Rows, label: np.ndarray, seed: int) -> Curves:
        """Try every strength on a part of the rows, and fit the best one on all.

        Parameters
        ----------
        rows : Rows
            What to train on.
        label : ndarray of shape (n_all_rows,), integer
            Class of every row, also of those that `rows` leaves out.
        seed : int
            Seed of the split that chooses the strength.
        """
        if rows.n_rows * rows.n_features * 4 > 4 * MEMORY_BYTES:
            raise UserError(
                f"params.yaml: train.head: logistic needs {rows.n_rows:,} rows of {rows.n_features:,} features in "
                "memory; use head: dense, which reads them in blocks"
            )
        self.arrays["mean"], self.arrays["scale"] = rows.mean_and_scale()
        features, numbers = rows.whole()
        features = standardise(features, self.arrays["mean"], self.arrays["scale"])
        # One thread: the products are small, and threads that wait for each other made a fit seven times slower.
        with threadpool_limits(1):
            return self._fit_standardised(features, label[numbers], seed)

    def _fit_standardised(self, features: np.ndarray, label: np.ndarray, seed: int) -> Curves:
        fold = assign_folds(label, 5, seed)
        losses = dict.fromkeys(LOGISTIC_C, 0.0)
        for k in range(min(5, -(-5 * N_JUDGES // len(label)))):
            judges = fold == k
            for strength in LOGISTIC_C:
                model = self._model(strength).fit(features[~judges], label[~judges])
                known = np.isin(label[judges], model.classes_)
                proba = model.predict_proba(features[judges][known])
                losses[strength] += log_loss(label[judges][known], proba, labels=model.classes_)
        model = self._model(min(losses, key=lambda strength: losses[strength])).fit(features, label)
        outputs = slice(None) if len(model.coef_) == len(self.arrays["coef"]) else model.classes_
        self.arrays["coef"][outputs], self.arrays["intercept"][outputs] = model.coef_, model.intercept_
        return {"loss": [float(log_loss(label, model.predict_proba(features), labels=model.classes_))]}

    def _model(self, strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=1000, class_weight=self.options.class_weight)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class, shape (n, n_classes)."""
        features = standardise(features, self.arrays["mean"], self.arrays["scale"])
        return probabilities(features @ self.arrays["coef"].T + self.arrays["intercept"])

    def save(self, path: Path) -> None:
        """Write mean, scale, coefficients and intercepts."""
        with atomic_hdf5(path) as file:
            for name, array in self.arrays.items():
                file[name] = array

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            self.arrays = {name: file[name][:] for name in self.arrays}
