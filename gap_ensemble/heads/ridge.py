"""The ridge head: penalised least squares, in closed form, its strength chosen inside the training rows.

For numbers it is the linear head of choice. Classes and labels are regressed on as 0 and 1, which is linear
discriminant analysis with shrinkage up to the scale of its scores (Hastie, Tibshirani and Buja 1994); the scale and an
offset are fitted to held-out rows, so that the scores become probabilities.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from gap_ensemble.heads.head import Curves, Head, OnProgress, TrainingData, Trial, class_weights, trials
from gap_ensemble.heads.linear import LinearHead, scalings, turned_rows
from gap_ensemble.heads.losses import fit_link, row_scores

# Strengths that are tried: the penalty on the squared coefficients, beside the sum of squared errors, over the number
# of features.
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
N_OF_EVERY_PAIR = 5000


@dataclass
class RidgeHead(LinearHead):
    """Ridge regression, for numbers, classes and labels. Needs no TensorFlow."""

    unit = "fits"

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return the number of fits, each for all strengths at once."""
        n_trials = len(_trials(data))
        return n_trials * (2 if data.options.normalize is None else 1) + data.n_folds

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says; a curve has one point, of the fitted head."""
        tried = _trials(data)
        penalties = np.array(STRENGTHS) * data.rows.n_features
        # Scores lie around one half, or for several classes around the classes' shares.
        expected = np.array([5.0, -2.5 if data.outputs.n_logits == 1 or data.outputs.kind == "labels" else 0.0])
        with threadpool_limits(1):
            all_rows = [turned_rows(data, mean, scale) for mean, scale in scalings(data)]
            # For each fold, way and strength: losses of held-out rows, and the map from scores to logits by them.
            best: list[tuple[float, int, int, np.ndarray]] = [(np.inf, 0, 0, np.zeros(2))] * data.n_folds
            for way, rows in enumerate(all_rows):
                held_out: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(data.n_folds)]
                for trial in tried:
                    solutions = ridge(rows.features, trial.trains, data, penalties)
                    for k, decides in trial.decides.items():
                        held_out[k].append((_scores(rows.features[decides], solutions), data.y[decides]))
                    on_progress(1)
                for k, pieces in enumerate(held_out):
                    scores = np.concatenate([scores for scores, _ in pieces])
                    y = np.concatenate([y for _, y in pieces])
                    for number in range(len(penalties)):
                        link, loss = fit_link(scores[:, number], y, data, expected)
                        if loss < best[k][0]:
                            best[k] = (loss, way, number, link)
            heads: list[Head] = []
            curves: list[Curves] = []
            for k, (_, way, number, (factor, offset)) in enumerate(best):
                rows, trains = all_rows[way], data.trains(k)
                solution = ridge(rows.features, trains, data, penalties[number : number + 1])[0] * factor
                solution[-1] += offset
                curve = {}
                for name, chosen in (("loss", trains), ("val_loss", data.validates(k))):
                    if chosen.any():
                        logits = _scores(rows.features[chosen], solution[None])
                        curve[name] = [float(row_scores(logits, data.y[chosen], data.outputs)["loss"].mean())]
                intercept = solution[-1].astype(np.float32)
                heads.append(cls(data.outputs, rows.mean, rows.scale, rows.coef(solution[:-1]), intercept))
                curves.append(curve)
                on_progress(1)
        return heads, curves


def ridge(features: np.ndarray, trains: np.ndarray, data: TrainingData, penalties: np.ndarray) -> np.ndarray:
    """Solve ridge regressions of all targets for several penalties.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_columns), float32
    trains : ndarray of shape (n_rows,), bool
    data : TrainingData
        Targets and options.
    penalties : ndarray of shape (n_penalties,)

    Returns
    -------
    ndarray of shape (n_penalties, n_columns + 1, n_logits), float64
        Coefficients, and the intercept as the last row.
    """
    y, outputs = data.y[trains], data.outputs
    weight = np.ones(len(y))
    targets = np.asarray(y, np.float64).reshape(len(y), -1)
    if outputs.kind == "classes":
        weight = class_weights(y, outputs.n, data.options.class_weight)[y].astype(np.float64)
        if outputs.n_logits > 1:
            targets = (y[:, None] == np.arange(outputs.n)).astype(np.float64)
    rows = features[trains]
    mean = np.average(rows, axis=0, weights=weight)
    mean_target = np.average(targets, axis=0, weights=weight)
    root = np.sqrt(weight)[:, None]
    rows = ((rows - mean) * root).astype(np.float32)
    targets = (targets - mean_target) * root
    dual = len(rows) < rows.shape[1]
    gram = (rows @ rows.T if dual else rows.T @ rows).astype(np.float64)
    products = targets if dual else rows.T.astype(np.float64) @ targets
    coef = np.empty((len(penalties), rows.shape[1], targets.shape[1]))
    for number, penalty in enumerate(penalties):
        solved = cho_solve(cho_factor(gram + penalty * np.eye(len(gram))), products)
        coef[number] = rows.T.astype(np.float64) @ solved if dual else solved
    intercept = mean_target - mean @ coef
    return np.concatenate([coef, intercept[:, None]], axis=1)


def _trials(data: TrainingData) -> list[Trial]:
    return trials(data, "every" if data.rows.n_rows <= N_OF_EVERY_PAIR else "next")


def _scores(features: np.ndarray, solutions: np.ndarray) -> np.ndarray:
    """Return the scores by several solutions, shape (n, n_solutions, n_logits)."""
    products = np.tensordot(features, solutions[:, :-1].astype(np.float32), axes=([1], [1]))
    return products + solutions[:, -1]
