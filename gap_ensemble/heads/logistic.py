"""The logistic head: scikit-learn's, for few pictures, in seconds and without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from gap_ensemble.heads.head import Curves, Head, OnProgress, Outputs, TrainingData
from gap_ensemble.heads.rows import MEMORY_BYTES, Rows, standardise
from gap_ensemble.messages.errors import UserError
from gap_ensemble.storage.hdf5 import atomic_hdf5

# Strengths that `logistic` tries: scikit-learn's C, small is strong.
LOGISTIC_C = (3e-4, 3e-3, 1e-2, 3e-2, 1e-1)
# Rows by which a strength is chosen: of few rows, each fifth is held out in turn; of many, one fifth is enough.
N_HELD_OUT = 2000


@dataclass
class LogisticHead:
    """scikit-learn's logistic regression on standardised features, its strength chosen inside the training rows.

    It holds its rows in memory, so it is for features that fit there. Needs no TensorFlow.

    Attributes
    ----------
    outputs : Outputs
        What it predicts: classes or labels.
    mean, scale : ndarray of shape (n_features,)
        What the features are standardised by.
    coef, intercept : ndarray of shape (n_features, n_logits) and (n_logits,)
    """

    outputs: Outputs
    mean: np.ndarray
    scale: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray

    unit = "heads"

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return the number of heads."""
        return data.n_folds

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says; a curve has one point, without validation."""
        heads: list[Head] = []
        curves: list[Curves] = []
        for k in range(data.n_folds):
            rows = Rows(data.rows.features, data.trains(k), data.rows.columns)
            head, curve = cls._fit(data, rows)
            heads.append(head)
            curves.append(curve)
            on_progress(1)
        return heads, curves

    @classmethod
    def _fit(cls, data: TrainingData, rows: Rows) -> tuple["LogisticHead", Curves]:
        if rows.n_rows * rows.n_features * 4 > 4 * MEMORY_BYTES:
            raise UserError(
                f"params.yaml: train.head: logistic needs {rows.n_rows:,} rows of {rows.n_features:,} features in "
                "memory; use head: dense, which reads them in blocks"
            )
        mean, scale = rows.mean_and_scale()
        features, numbers = rows.whole()
        features = standardise(features, mean, scale)
        label = data.y[numbers]
        # One thread: the products are small, and threads that wait for each other made a fit seven times slower.
        with threadpool_limits(1):
            fold = data.inner_folds(numbers, 5)
            losses = dict.fromkeys(LOGISTIC_C, 0.0)
            for k in range(min(5, -(-5 * N_HELD_OUT // len(label)))):
                held_out = fold == k
                for strength in LOGISTIC_C:
                    model = _model(strength, data).fit(features[~held_out], label[~held_out])
                    known = np.isin(label[held_out], model.classes_)
                    proba = model.predict_proba(features[held_out][known])
                    losses[strength] += log_loss(label[held_out][known], proba, labels=model.classes_)
            model = _model(min(losses, key=lambda strength: losses[strength]), data).fit(features, label)
        n_logits = data.outputs.n_logits
        coef = np.zeros((rows.n_features, n_logits))
        # Classes without a row keep an intercept that makes them improbable.
        intercept = np.full(n_logits, -30.0)
        if n_logits == 1:
            coef, intercept = model.coef_.T, model.intercept_
        elif len(model.classes_) == 2:
            # Of three or more classes two have rows: scikit-learn gives the logit of one of them.
            coef[:, model.classes_] = np.hstack([-model.coef_.T / 2, model.coef_.T / 2])
            intercept[model.classes_] = [-model.intercept_[0] / 2, model.intercept_[0] / 2]
        else:
            coef[:, model.classes_], intercept[model.classes_] = model.coef_.T, model.intercept_
        loss = float(log_loss(label, model.predict_proba(features), labels=model.classes_))
        return cls(data.outputs, mean, scale, coef, intercept), {"loss": [loss]}

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
    def load(cls, path: Path, outputs: Outputs) -> "LogisticHead":
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            return cls(outputs, *(file[name][:] for name in ("mean", "scale", "coef", "intercept")))


def _model(strength: float, data: TrainingData) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000, class_weight=data.options.class_weight)
