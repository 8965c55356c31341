"""How good probabilities are, and what a submission makes of them."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import roc_auc_score

# The smallest probability that a logarithm is taken of; scikit-learn's log_loss does the same for float32.
EPSILON = float(np.finfo(np.float32).eps)


def clip_proba(proba: np.ndarray, clip: tuple[float, float], positive: int | None = None) -> np.ndarray:
    """Keep probabilities away from 0 and 1, and rows summing to one.

    With `positive`, that column is clipped to [low, high] and the other of the two is what is left. Otherwise the low
    end is shared out over the other classes, low / (n_classes - 1), so that a certain row keeps about 1 - low for its
    class whatever their number, and rows are divided by their sum.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities; rows sum to one.
    clip : tuple of two floats
        Low and high, 0 ≤ low < high ≤ 1.
    positive : int, optional
        Index of the class whose probability is submitted alone, with two classes.

    Returns
    -------
    ndarray of shape (n_samples, n_classes), float64
    """
    low, high = clip
    proba = proba.astype(np.float64)
    if positive is not None:
        clipped = np.clip(proba[:, positive], low, high)
        return np.stack([1 - clipped, clipped] if positive == 1 else [clipped, 1 - clipped], axis=1)
    clipped = np.clip(proba, low / (proba.shape[1] - 1), high)
    clipped /= clipped.sum(axis=1, keepdims=True)
    return clipped


@dataclass(frozen=True)
class Calibration:
    """What is done to probabilities before they are submitted.

    Attributes
    ----------
    low, high : float
        The clip, see `clip_proba`.
    temperature : float
        Probabilities are raised to 1 / temperature and divided by their sum: temperature scaling (Guo et al., "On
        calibration of modern neural networks", ICML 2017). Above one the answers are less certain.
    """

    low: float = 0.0
    high: float = 1.0
    temperature: float = 1.0

    def apply(self, proba: np.ndarray, positive: int | None) -> np.ndarray:
        """Return probabilities of shape (n_samples, n_classes) after temperature and clip."""
        if self.temperature != 1:
            powers = np.maximum(proba.astype(np.float64), EPSILON) ** (1 / self.temperature)
            proba = powers / powers.sum(axis=1, keepdims=True)
        return clip_proba(proba, (self.low, self.high), positive)

    def log_loss(self, label: np.ndarray, proba: np.ndarray, positive: int | None) -> float:
        """Return the log loss (natural logarithm) that the probabilities have after it."""
        scores = Scores(proba.shape[1])
        scores.add(label, self.apply(proba, positive))
        return scores.result()["log_loss"]


# What `predict.clip: auto` tries. Both lists hold the value that changes nothing.
TEMPERATURES = (1.0, 0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)
CLIPS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)


def fit_calibration(label: np.ndarray, proba: np.ndarray, positive: int | None) -> Calibration:
    """Find the temperature and the symmetric clip with the least log loss; of equals the first, that does least.

    Parameters
    ----------
    label : ndarray of shape (n_samples,), integer
        Class of every row.
    proba : ndarray of shape (n_samples, n_classes)
        Out-of-fold probabilities.
    positive : int or None
        As for `clip_proba`.
    """
    temperature = min(TEMPERATURES, key=lambda t: Calibration(temperature=t).log_loss(label, proba, positive))
    candidates = [Calibration(low, 1 - low, t) for t in dict.fromkeys((1.0, temperature)) for low in CLIPS]
    return min(candidates, key=lambda candidate: candidate.log_loss(label, proba, positive))


def cross_fitted_log_loss(label: np.ndarray, proba: np.ndarray, fold: np.ndarray, positive: int | None) -> float:
    """Return the log loss when the rows of each fold get the calibration that is fitted without them.

    With a single fold there are no other rows, and the loss is that without any calibration.
    """
    folds, applied = np.unique(fold), np.array(proba, np.float64)
    for k in folds if len(folds) > 1 else ():
        mine = fold == k
        applied[mine] = fit_calibration(label[~mine], proba[~mine], positive).apply(proba[mine], positive)
    return Calibration().log_loss(label, applied, positive)


@dataclass
class Scores:
    """Scores of probabilities that come a block at a time: a few numbers are kept of each row, not its classes.

    Attributes
    ----------
    losses, hits, top_5_hits : list of ndarray of shape (n,)
        A block each: minus the logarithm of the true class's probability, and whether the true class was the most
        probable, or among the five most probable.
    positives, labels : list of ndarray of shape (n,)
        A block each, with two classes: the probability of the second, and the label.
    """

    n_classes: int
    losses: list[np.ndarray] = field(default_factory=list)
    hits: list[np.ndarray] = field(default_factory=list)
    top_5_hits: list[np.ndarray] = field(default_factory=list)
    positives: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)

    def add(self, label: np.ndarray, proba: np.ndarray) -> None:
        """Take a block: labels of shape (n,) and probabilities of shape (n, n_classes)."""
        true = np.take_along_axis(proba, label[:, None].astype(np.intp), axis=1)
        self.losses.append(-np.log(np.clip(true[:, 0].astype(np.float64), EPSILON, 1)))
        self.hits.append(proba.argmax(axis=1) == label)
        # The true class itself counts in this sum, and so do ties with it: a constant guess earns nothing.
        self.top_5_hits.append((proba >= true).sum(axis=1) <= 5)
        if self.n_classes == 2:
            self.positives.append(proba[:, 1])
            self.labels.append(label)

    def result(self) -> dict[str, float]:
        """Return `log_loss` (natural logarithm, mean over rows), `accuracy`, and `auc` or `top_5_accuracy`.

        `auc` (area under the ROC curve) is given for two classes, `top_5_accuracy` for more than ten.
        """
        scores = {
            "log_loss": float(np.mean(np.concatenate(self.losses))),
            "accuracy": float(np.mean(np.concatenate(self.hits))),
        }
        if self.n_classes == 2:
            label = np.concatenate(self.labels)
            both = len(np.unique(label)) == 2
            scores["auc"] = float(roc_auc_score(label, np.concatenate(self.positives))) if both else float("nan")
        elif self.n_classes > 10:
            scores["top_5_accuracy"] = float(np.mean(np.concatenate(self.top_5_hits)))
        return scores
