"""Heads: what is trained on the features, and how several are blended.

A head stands in `HEADS` under the name that `train.head` takes. A third one needs no more than that.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.heads.logistic import LogisticHead
from gap_ensemble.heads.rows import Head
from gap_ensemble.params import Train

HEADS: dict[str, type[Head]] = {"dense": DenseHead, "logistic": LogisticHead}


class Blend:
    """One head for each part of the columns, and the weights with which their probabilities are averaged.

    With `train.ensemble: concatenate` there is one part, all columns; with `blend` one for each backbone.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    parts : dict of str to slice
        Columns of each part.
    n_classes : int
        Number of classes.

    Attributes
    ----------
    heads : dict of str to Head
        One a part, untrained.
    weights : ndarray of shape (n_parts,)
        Sum to one.
    """

    def __init__(self, options: Train, parts: dict[str, slice], n_classes: int):
        self.parts, self.n_classes = parts, n_classes
        kind = HEADS[options.head]
        self.heads = {name: kind(options, columns.stop - columns.start, n_classes) for name, columns in parts.items()}
        self.weights = np.full(len(parts), 1 / len(parts))

    def predict_parts(self, features: np.ndarray) -> Iterator[np.ndarray]:
        """Yield each head's probabilities, shape (n, n_classes), for features of shape (n, n_columns)."""
        for name, head in self.heads.items():
            yield head.predict_proba(features[:, self.parts[name]])

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the weighted mean of all heads' probabilities, shape (n, n_classes)."""
        pairs = zip(self.weights, self.predict_parts(features), strict=True)
        return np.asarray(sum(weight * proba for weight, proba in pairs))

    def save(self, folder: Path) -> None:
        """Write the heads and the weights into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, head in self.heads.items():
            head.save(folder / f"{name}.weights.h5")
        (folder / "blend.json").write_text(json.dumps(dict(zip(self.parts, self.weights.tolist(), strict=True))))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        for name, head in self.heads.items():
            head.load(folder / f"{name}.weights.h5")
        self.weights = np.array([json.loads((folder / "blend.json").read_text())[name] for name in self.parts])


def parts_of(options: Train, columns: dict[str, list[int]]) -> dict[str, slice]:
    """Return the parts of the columns that get a head each.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    columns : dict of str to [start, stop]
        Columns of each backbone, as `features/ensemble.h5` has them.
    """
    if options.ensemble == "blend":
        return {name: slice(*span) for name, span in columns.items()}
    return {"all": slice(0, max(stop for _, stop in columns.values()))}


def fit_blend_weights(true_proba: np.ndarray, n_iterations: int = 500) -> np.ndarray:
    """Find the weights of a mean of probabilities that minimise its log loss.

    They are the maximum likelihood proportions of a mixture, found by expectation maximisation (Dempster, Laird and
    Rubin 1977): every step multiplies a weight by the mean share that its part has in the mixture.

    Parameters
    ----------
    true_proba : ndarray of shape (n_samples, n_parts)
        Probability that each part gives the true class.
    n_iterations : int
        Steps; each lowers the loss or leaves it.

    Returns
    -------
    ndarray of shape (n_parts,)
        Not negative, sum to one.
    """
    weights = np.full(true_proba.shape[1], 1 / true_proba.shape[1])
    true_proba = np.maximum(true_proba, 1e-12)
    for _ in range(n_iterations):
        weights = weights * np.mean(true_proba / (true_proba @ weights)[:, None], axis=0)
    return weights / weights.sum()
