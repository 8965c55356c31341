"""The dense head, the recipe's own: dropout and a dense layer, trained with Keras on scaled features.

Two classes get one sigmoid unit and binary cross-entropy, more get a softmax and categorical cross-entropy. Labels get
a sigmoid unit each. Numbers get linear units and the squared error of standardised targets. Hidden layers may come
first. `side_by_side.py` trains.

What makes it as good as the best logistic regression (measured in docs/heads.md):

- Gradient descent with momentum, its rate falling to zero along a cosine. Gradients are divided by the curvature of the
  loss (`curvature.py`), so that directions in which features differ little are learnt in time, too. Adam, which moves
  every weight equally far, ends far from the optimum: 1,280 weights of the same size are noise.
- Label smoothing. Where classes can be told apart, the optimum without it is as far away as the penalty allows.
- A link: a factor and an offset that make probabilities of what label smoothing has made too cautious.
- The scaling of the features, the strength of the penalty, label smoothing and link are chosen by rows that train
  neither the head nor validate it.

A trained head predicts with NumPy, so that nothing but training needs TensorFlow.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from gap_ensemble.heads.head import Curves, Head, OnProgress, Outputs, TrainingData, Trial, trials
from gap_ensemble.heads.linear import alike
from gap_ensemble.heads.losses import NO_LINK, fit_link
from gap_ensemble.heads.rows import standardise
from gap_ensemble.heads.side_by_side import (
    BYTES_PER_WEIGHT,
    PACE,
    PACE_OF_MANY_CLASSES,
    PACE_OF_MANY_ROWS,
    Fits,
    Layers,
    Pace,
    fit_side_by_side,
    n_epochs,
    n_weights,
)
from gap_ensemble.storage.hdf5 import atomic_hdf5

# If `train.l2` is null: strengths that are tried, each with a label smoothing. The penalty is strength * n_features /
# n_rows, on the squared weights beside the mean loss of a row: the same strength suits few features and many, few rows
# and many.
STRENGTHS = (0.0025, 0.01, 0.04, 0.16, 0.64)
LABEL_SMOOTHING = 0.1
SMOOTHED, NOT_SMOOTHED = STRENGTHS[:3], STRENGTHS[3:]
# With many weights trials are dear. Classes of few rows each want a light penalty, and label smoothing.
STRENGTHS_OF_MANY, STRENGTHS_OF_MANY_CLASSES = (0.0025, 0.02), (0.001, 0.004)
MAX_WEIGHTS_OF_FEW = 80_000
# Heads with more weights are trained without a trial.
MAX_TRIED_WEIGHTS, UNTRIED_STRENGTH = 2_000_000, 0.0025
# Of few rows and weights every pair of folds tries, and few rows are scaled in every way.
FEW_ROWS, MAX_WEIGHTS_OF_EVERY_PAIR = 5000, 25_000
# More held-out rows than these decide nothing better.
MAX_DECIDING_ROWS = 10_000


Way = Literal["standardised", "alike", "as they are"]


@dataclass
class DenseHead:
    """One trained head.

    Attributes
    ----------
    outputs : Outputs
        What it predicts.
    mean, scale : ndarray of shape (n_features,)
        What the features are standardised by.
    layers : Layers
        What multiplies and shifts.
    """

    outputs: Outputs
    mean: np.ndarray
    scale: np.ndarray
    layers: Layers

    unit = "epochs of single heads"

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return the number of epochs of all heads, as `Head.n_steps` says."""
        search = Search.of(data)
        n_tried = len(search.candidates) * len(search.trials) * len(search.ways)
        return n_epochs(data, search.pace) * (data.n_folds + n_tried)

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says.

        The curves are `loss` (log loss, or the mean squared error of numbers) and `accuracy` (not of numbers) of the
        rows that trained, `val_loss` and `val_accuracy` of those that validate, after every epoch. With `patience`, one
        row in five of those that would train stops early instead.

        Raises
        ------
        UserError
            If the loss is no number any more.
        """
        search = Search.of(data)
        scalings = _scalings(search.ways, data)
        needed = BYTES_PER_WEIGHT * n_weights(data)
        scaled = {
            way: replace(data, rows=data.rows.standardised(*scaling, needed)) for way, scaling in scalings.items()
        }
        chosen = search.choose(data, scaled, on_progress)
        heads: dict[int, DenseHead] = {}
        curves: dict[int, Curves] = {}
        for way, (mean, scale) in scalings.items():
            folds = [k for k, choice in enumerate(chosen) if choice.way == way]
            if not folds:
                continue
            fits = Fits(
                trains=np.stack([data.trains(k) for k in folds], axis=1),
                l2=np.array([chosen[k].l2 for k in folds]),
                links=np.stack([chosen[k].link for k in folds]),
                label_smoothing=np.array([chosen[k].label_smoothing for k in folds]),
                pace=search.pace,
                by_curvature=search.by_curvature,
                with_curves=True,
            )
            for k, fitted in zip(folds, fit_side_by_side(scaled[way], fits, on_progress), strict=True):
                heads[k], curves[k] = cls(data.outputs, mean, scale, fitted.layers), fitted.curves
        return [heads[k] for k in range(data.n_folds)], [curves[k] for k in range(data.n_folds)]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32."""
        return self.outputs.link(logits_of(self.layers, standardise(features, self.mean, self.scale)))

    def save(self, path: Path) -> None:
        """Write mean, scale and layers."""
        with atomic_hdf5(path) as file:
            file["mean"], file["scale"] = self.mean, self.scale
            for number, (kernel, bias) in enumerate(self.layers):
                file[f"kernel_{number}"], file[f"bias_{number}"] = kernel, bias

    @classmethod
    def load(cls, path: Path, outputs: Outputs) -> "DenseHead":
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            n_layers = sum(name.startswith("kernel_") for name in file)
            layers = [(file[f"kernel_{number}"][:], file[f"bias_{number}"][:]) for number in range(n_layers)]
            return cls(outputs, file["mean"][:], file["scale"][:], layers)


def logits_of(layers: Layers, features: np.ndarray) -> np.ndarray:
    """Return what dense layers give for scaled features, shape (n, n_logits)."""
    outputs = features
    for kernel, bias in layers[:-1]:
        outputs = np.maximum(outputs @ kernel + bias, 0)
    return outputs @ layers[-1][0] + layers[-1][1]


@dataclass
class Choice:
    """What the head of a fold is trained with.

    Attributes
    ----------
    way : Way
        How features are scaled.
    l2 : float
        The penalty: what the squared weights are multiplied by, beside the mean loss of a row.
    label_smoothing : float
    link : ndarray of shape (2,)
        Factor and offset that make logits of what the head gives.
    """

    way: Way
    l2: float
    label_smoothing: float
    link: np.ndarray


@dataclass
class Search:
    """What is tried for the heads of all folds: every candidate, scaled in every way, in every trial.

    Attributes
    ----------
    ways : list of Way
        Without trials there is one.
    candidates : list of tuple of float
        Strength of the penalty and label smoothing, tried together. Without trials there is one.
    trials : list of Trial
        None, if the penalty is given or the heads are too large.
    pace : Pace
    by_curvature : bool
        As `Fits` has it: only of one linear layer, whose rate is found.
    """

    ways: list[Way]
    candidates: list[tuple[float, float]]
    trials: list[Trial]
    pace: Pace
    by_curvature: bool

    @classmethod
    def of(cls, data: TrainingData) -> "Search":
        """Return what is tried for some data."""
        options, outputs = data.options, data.outputs
        weights = n_weights(data)
        given: list[Way] = [] if options.normalize is None else ["standardised" if options.normalize else "as they are"]
        if options.l2 is not None or weights > MAX_TRIED_WEIGHTS:
            untried = [(UNTRIED_STRENGTH, options.label_smoothing or 0.0)]
            return cls(given or ["standardised"], untried, [], PACE.given(options), False)
        few = weights <= MAX_WEIGHTS_OF_FEW
        by_curvature = not options.hidden and options.optimizer is None and options.learning_rate is None
        # Their pace is that of gradients which are divided by the curvature.
        many_classes = not few and by_curvature and outputs.kind != "numbers"
        strengths = STRENGTHS if few else STRENGTHS_OF_MANY_CLASSES if many_classes else STRENGTHS_OF_MANY
        if outputs.kind == "numbers":
            candidates = [(strength, 0.0) for strength in strengths]
        elif options.label_smoothing is not None:
            candidates = [(strength, options.label_smoothing) for strength in strengths]
        else:
            candidates = [(strength, LABEL_SMOOTHING) for strength in (SMOOTHED if few else strengths)]
            candidates += [(strength, 0.0) for strength in (NOT_SMOOTHED if few else ())]
        has_few_rows = data.rows.n_rows <= FEW_ROWS
        # The more rows, the less the scaling matters; many classes take features alike (measured in docs/heads.md).
        ways: list[Way] = ["alike"] if not few else ["standardised", "alike"] if has_few_rows else ["standardised"]
        tried = trials(data, "every" if has_few_rows and weights <= MAX_WEIGHTS_OF_EVERY_PAIR else "fewest")
        pace = PACE_OF_MANY_CLASSES if many_classes else PACE if has_few_rows else PACE_OF_MANY_ROWS
        return cls(given or ways, candidates, tried, pace.given(options), by_curvature)

    def choose(self, data: TrainingData, scaled: dict[Way, TrainingData], on_progress: OnProgress) -> list[Choice]:
        """Return for every fold the choice with the least loss on held-out rows, by the link that is best for it."""
        if not self.trials:
            ((strength, smoothing),) = self.candidates
            penalties = [strength * _penalty(data, data.trains(k)) for k in range(data.n_folds)]
            if data.options.l2 is not None:
                penalties = [data.options.l2] * data.n_folds
            return [Choice(self.ways[0], penalty, smoothing, NO_LINK) for penalty in penalties]
        fits = self._fits(data)
        best = [(np.inf, Choice(self.ways[0], 0.0, 0.0, NO_LINK))] * data.n_folds
        for way, of_way in scaled.items():
            layers = [fitted.layers for fitted in fit_side_by_side(of_way, fits, on_progress)]
            held_out: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(data.n_folds)]
            for number, trial in enumerate(self.trials):
                of_trial = layers[number * len(self.candidates) :][: len(self.candidates)]
                for k, decides in trial.decides.items():
                    features, numbers = of_way.rows.only(decides, MAX_DECIDING_ROWS).whole()
                    held_out[k].append((np.stack([logits_of(one, features) for one in of_trial]), data.y[numbers]))
            for k, pieces in enumerate(held_out):
                logits = np.concatenate([logits for logits, _ in pieces], axis=1)
                y = np.concatenate([y for _, y in pieces])
                for (strength, smoothing), of_candidate in zip(self.candidates, logits, strict=True):
                    link, loss = fit_link(of_candidate, y, data, NO_LINK)
                    if loss < best[k][0]:
                        best[k] = (loss, Choice(way, strength * _penalty(data, data.trains(k)), smoothing, link))
        return [choice for _, choice in best]

    def _fits(self, data: TrainingData) -> Fits:
        """Return what is trained: all candidates of the first trial, then those of the second."""
        n_candidates, n_trials = len(self.candidates), len(self.trials)
        strengths, smoothing = np.tile(np.array(self.candidates).T, n_trials)
        penalties = np.repeat([_penalty(data, trial.trains) for trial in self.trials], n_candidates)
        return Fits(
            trains=np.repeat(np.stack([trial.trains for trial in self.trials], axis=1), n_candidates, axis=1),
            l2=strengths * penalties,
            links=np.tile(NO_LINK, (n_trials * n_candidates, 1)),
            label_smoothing=smoothing,
            pace=self.pace,
            by_curvature=self.by_curvature,
            with_curves=False,
        )


def _penalty(data: TrainingData, trains: np.ndarray) -> float:
    """Return the penalty of strength one."""
    return float(data.rows.n_features / trains.sum())


def _scalings(ways: list[Way], data: TrainingData) -> dict[Way, tuple[np.ndarray, np.ndarray]]:
    """Return what features are scaled by, mean and scale of shape (n_features,) each.

    By the rows that validate, too: a feature's scale says nothing of targets, and all heads can share the rows.
    """
    if ways == ["as they are"]:
        return {"as they are": (np.zeros(data.rows.n_features), np.ones(data.rows.n_features))}
    mean, scale = data.rows.mean_and_scale()
    scales: dict[Way, np.ndarray] = {"standardised": scale, "alike": alike(scale)}
    return {way: (mean, scales[way]) for way in ways}
