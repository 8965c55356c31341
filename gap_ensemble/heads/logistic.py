"""The logistic head: logistic regression, its strength and the scaling of features chosen inside the training rows.

It minimises what scikit-learn's `LogisticRegression` does, `C * (sum of log losses) + |coef|² / 2`. Because features
are turned into principal axes first (`linear.py`), columns can be scaled by their curvature, and L-BFGS needs some 20
steps; each fit starts from that of the next stronger penalty.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from threadpoolctl import threadpool_limits

from gap_ensemble.heads.head import Curves, Head, OnProgress, Outputs, TrainingData, Trial, class_weights, trials
from gap_ensemble.heads.linear import LinearHead, TurnedRows, scalings, turned_rows
from gap_ensemble.heads.losses import row_scores

# Strengths that are tried: scikit-learn's C, small is strong, times n_features / 1,000.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
# With at most so many numbers of logits every pair of folds tries; with more, each fold with the next.
N_OF_EVERY_PAIR = 20_000
# Fits at a time, a thread each; more would take more memory.
N_SIDE_BY_SIDE = 4
# L-BFGS stops when a step lowers the loss by less than this share: what is only tried need not be exact.
TOLERANCE_OF_TRIALS, TOLERANCE = 1e-5, 1e-8


@dataclass
class LogisticHead(LinearHead):
    """Logistic regression, for classes and labels. Needs no TensorFlow."""

    unit = "fits"

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return the number of fits."""
        n_trials = len(_trials(data))
        return n_trials * len(STRENGTHS) * (2 if data.options.normalize is None else 1) + data.n_folds

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says; a curve has one point, of the fitted head."""
        tried = _trials(data)
        strengths = [strength * 1000 / data.rows.n_features for strength in STRENGTHS]
        ways = scalings(data)
        losses = np.zeros((data.n_folds, len(ways), len(strengths)))
        # Fits go side by side, each in one thread: threads that share a small product wait for each other.
        with threadpool_limits(1), ThreadPoolExecutor(N_SIDE_BY_SIDE) as pool:
            all_rows = [turned_rows(data, *way) for way in ways]
            for way, rows in enumerate(all_rows):
                fit_trial = partial(fit_path, rows, data=data, strengths=strengths, tolerance=TOLERANCE_OF_TRIALS)
                paths = pool.map(fit_trial, [trial.trains for trial in tried])
                for trial, path in zip(tried, paths, strict=True):
                    for number, solution in enumerate(path):
                        for k, decides in trial.decides.items():
                            loss = _row_loss(rows.features[decides], solution, data.y[decides], data.outputs)
                            losses[k, way, number] += loss.sum()
                    on_progress(len(strengths))
            best = [np.unravel_index(losses[k].argmin(), losses[k].shape) for k in range(data.n_folds)]

            def fit(k: int) -> tuple["LogisticHead", Curves]:
                way, number = best[k]
                rows, trains = all_rows[way], data.trains(k)
                solution = fit_path(rows, trains, data, strengths[: number + 1][-2:], TOLERANCE)[-1]
                curve = {}
                for name, chosen in (("loss", trains), ("val_loss", data.validates(k))):
                    if chosen.any():
                        loss = _row_loss(rows.features[chosen], solution, data.y[chosen], data.outputs)
                        curve[name] = [float(loss.mean())]
                intercept = solution[-1].astype(np.float32)
                return cls(data.outputs, rows.mean, rows.scale, rows.coef(solution[:-1]), intercept), curve

            heads: list[Head] = []
            curves: list[Curves] = []
            for head, curve in pool.map(fit, range(data.n_folds)):
                heads.append(head)
                curves.append(curve)
                on_progress(1)
        return heads, curves


def fit_path(
    rows: TurnedRows, trains: np.ndarray, data: TrainingData, strengths: list[float], tolerance: float
) -> list[np.ndarray]:
    """Fit logistic regressions, each starting from the one before.

    Parameters
    ----------
    rows : TurnedRows
        All rows.
    trains : ndarray of shape (n_rows,), bool
        Those that train.
    data : TrainingData
        Targets and options.
    strengths : list of float
        C of each fit, from strong penalties to weak ones.
    tolerance : float
        Least relative gain of a step.

    Returns
    -------
    list of ndarray of shape (n_columns + 1, n_logits), float64
        Coefficients of the turned columns, and the intercept as the last row. A class without a row that trains has the
        intercept -30.
    """
    outputs, y = data.outputs, data.y[trains]
    columns = np.hstack([rows.features[trains], np.ones((len(y), 1), np.float32)])
    weight, targets = np.ones((len(y), 1)), np.asarray(y, np.float64).reshape(len(y), -1)
    known = np.ones(outputs.n_logits, bool)
    if outputs.kind == "classes":
        weight = class_weights(y, outputs.n, data.options.class_weight)[y][:, None].astype(np.float64)
        if outputs.n_logits > 1:
            targets = (y[:, None] == np.arange(outputs.n)).astype(np.float64)
            known = targets.any(axis=0)
    softmax = outputs.kind == "classes" and outputs.n_logits > 1
    moments = np.einsum("ij,ij->j", columns, columns, dtype=np.float64) / len(y)
    # The curvature along a column, about: p * (1 - p) of a class of mean share, or of a label.
    curvature = moments * (1 / known.sum() if softmax else 0.25)
    targets = targets[:, known]
    solution = np.zeros((columns.shape[1], known.sum()))
    solutions = []
    for strength in strengths:
        penalty = np.full((len(solution), 1), 1 / (strength * len(y)))
        penalty[-1] = 0
        step = 1 / np.sqrt(curvature[:, None] + penalty)

        problem = _Problem(columns, targets, weight, penalty, step, softmax)
        options = {"maxiter": 300, "gtol": 1e-5, "ftol": tolerance}
        found = minimize(problem, (solution / step).ravel(), jac=True, method="L-BFGS-B", options=options)
        solution = found.x.reshape(solution.shape) * step
        whole = np.zeros((len(solution), outputs.n_logits))
        whole[-1] = -30
        whole[:, known] = solution
        solutions.append(whole)
    return solutions


def _trials(data: TrainingData) -> list[Trial]:
    return trials(data, "every" if data.rows.n_rows * data.outputs.n_logits <= N_OF_EVERY_PAIR else "next")


@dataclass
class _Problem:
    """What L-BFGS minimises: the mean loss and the penalty, with coefficients in units of `step`."""

    columns: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    penalty: np.ndarray
    step: np.ndarray
    softmax: bool

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient."""
        coef = vector.reshape(len(self.step), -1) * self.step
        logits = (self.columns @ coef.astype(np.float32)).astype(np.float64)
        if self.softmax:
            log_sum = logsumexp(logits, axis=1, keepdims=True)
            losses = log_sum - (logits * self.targets).sum(axis=1, keepdims=True)
            residual = np.exp(logits - log_sum) - self.targets
        else:
            losses = np.logaddexp(0, logits) - logits * self.targets
            residual = expit(logits) - self.targets
        residual = (self.weight * residual).astype(np.float32)
        gradient = (self.columns.T @ residual).astype(np.float64) / len(logits) + self.penalty * coef
        value = (self.weight * losses).sum() / len(logits) + (self.penalty * coef**2).sum() / 2
        return float(value), (gradient * self.step).ravel()


def _row_loss(features: np.ndarray, solution: np.ndarray, y: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Return the loss of every row, shape (n,)."""
    logits = features @ solution[:-1].astype(np.float32) + solution[-1]
    return row_scores(logits[:, None], y, outputs)["loss"][:, 0]
