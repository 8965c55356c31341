"""Several heads as one model: which heads there are, on which columns, and how their predictions are combined.

    fitted = fit_ensemble(params.train, columns, EnsembleData(features, y, outputs, fold, group, seed))
    for k, model in enumerate(fitted.models):
        model.save(MODELS / f"fold_{k + 1}")
        for numbers, predictions in fitted.out_of_fold(k):
            ...                                          # predictions of rows that model k was not trained on

    models = [Ensemble.load(folder) for folder in ...]   # needs neither options nor columns
    predictions = sum(model.predict(features) for model in models) / len(models)

`train.ensemble` says how: `concatenate` trains one head on the features of all backbones side by side; `blend` one head
for each backbone, and averages their predictions with weights that are fitted out of fold.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from gap_ensemble.heads.blend import fit_blend_weights
from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.heads.head import Curves, Head, Outputs, TrainingData
from gap_ensemble.heads.logistic import LogisticHead
from gap_ensemble.heads.rows import Features, Rows
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import Train
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import block_slices

HEADS: dict[str, type[Head]] = {"dense": DenseHead, "logistic": LogisticHead}


@dataclass
class EnsembleData:
    """What an ensemble is trained on: its model k on the rows outside of fold k.

    Attributes
    ----------
    features : h5py.Dataset or ndarray of shape (n_rows, n_columns), float32
        Features of all backbones side by side, in shuffled order. A dataset is read in blocks.
    y : ndarray
        Targets of every row, as `outputs` says.
    outputs : Outputs
        What is predicted.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row validates, or -1 for a row that only trains.
    group : ndarray of shape (n_rows,), integer
        Rows of one group stay together in every choice inside a fold. The caller keeps them together in `fold`.
    seed : int
        Of everything random.
    """

    features: Features
    y: np.ndarray
    outputs: Outputs
    fold: np.ndarray
    group: np.ndarray
    seed: int

    @property
    def n_folds(self) -> int:
        """Number of folds that validate."""
        return int(self.fold.max()) + 1

    def blocks(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield numbers (n,) and features (n, n_columns) of the chosen rows, in blocks whose predictions stay small."""
        for block in block_slices(len(chosen), max(self.features.shape[1], self.outputs.n) * 4):
            numbers = np.flatnonzero(chosen[block])
            if len(numbers):
                yield block.start + numbers, self.features[block][numbers]


@dataclass
class Member:
    """A trained head and the columns that it reads; `kind` is its name in `HEADS`."""

    name: str
    kind: str
    columns: slice
    head: Head

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n) for features of all backbones, shape (n, n_columns)."""
        return self.head.predict(features[:, self.columns])


@dataclass
class Ensemble:
    """The model of one fold.

    Attributes
    ----------
    outputs : Outputs
        What it predicts.
    members : list of Member
        The heads.
    weights : ndarray of shape (n_members,)
        With which their predictions are averaged; not negative, they sum to one.
    """

    outputs: Outputs
    members: list[Member]
    weights: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32, for features of shape (n, n_columns)."""
        total = sum(
            weight * member.predict(features) for weight, member in zip(self.weights, self.members, strict=True)
        )
        return np.asarray(total, np.float32)

    def save(self, folder: Path) -> None:
        """Write the heads and how they are combined into a folder, the same bytes every time."""
        folder.mkdir(parents=True, exist_ok=True)
        listed = []
        for member, weight in zip(self.members, self.weights.tolist(), strict=True):
            span = [member.columns.start, member.columns.stop]
            listed.append({"name": member.name, "head": member.kind, "columns": span, "weight": weight})
            member.head.save(folder / f"{member.name}.h5")
        values = {"outputs": asdict(self.outputs), "members": listed}
        write_text(folder / "ensemble.json", json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Ensemble":
        """Read what `save` wrote."""
        values = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
        outputs = Outputs(**values["outputs"])
        members = [
            Member(
                member["name"],
                member["head"],
                slice(*member["columns"]),
                HEADS[member["head"]].load(folder / f"{member['name']}.h5", outputs),
            )
            for member in values["members"]
        ]
        return cls(outputs, members, np.array([member["weight"] for member in values["members"]]))


@dataclass
class FittedEnsemble:
    """What `fit_ensemble` returns.

    Attributes
    ----------
    models : list of Ensemble
        One a fold, to be saved: what combines their heads is fitted on the out-of-fold predictions of all rows.
    cross_fitted : list of Ensemble
        The same heads; what combines those of fold k is fitted without the rows of fold k. Scores are taken with these.
    curves : list of dict of str to list of float
        Learning curves of every head.
    data : EnsembleData
    """

    models: list[Ensemble]
    cross_fitted: list[Ensemble]
    curves: list[Curves]
    data: EnsembleData

    def out_of_fold(self, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row numbers (n,) and predictions (n, outputs.n) of the rows that validate in fold k, in blocks."""
        for numbers, features in self.data.blocks(self.data.fold == k):
            yield numbers, self.cross_fitted[k].predict(features)


def fit_ensemble(options: Train, columns: dict[str, slice], data: EnsembleData) -> FittedEnsemble:
    """Train the heads of every fold, and fit how they are combined.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    columns : dict of str to slice
        Columns of each backbone.
    data : EnsembleData
        Features, targets and folds.

    Returns
    -------
    FittedEnsemble

    Raises
    ------
    UserError
        If a parameter does not go with the data.
    """
    members: list[list[Member]] = [[] for _ in range(data.n_folds)]
    curves: list[Curves] = []
    for part, span in parts_of(options, columns).items():
        rows = Rows(data.features, np.ones(len(data.y), bool), span)
        training = TrainingData(options, rows, data.y, data.outputs, data.fold, data.group, data.n_folds, data.seed)
        kind = HEADS[options.head]
        with Progress(kind.n_steps(training), f"Training {part}", unit=kind.unit) as progress:
            heads, head_curves = kind.fit_folds(training, progress.add)
        for of_fold, head in zip(members, heads, strict=True):
            of_fold.append(Member(part, options.head, span, head))
        curves += head_curves
    equal = np.full(len(members[0]), 1 / len(members[0]))
    models = [Ensemble(data.outputs, of_fold, equal) for of_fold in members]
    if len(equal) == 1 or data.n_folds == 1:
        # A single split has no rows by which weights could be fitted and others by which they could be scored.
        return FittedEnsemble(models, models, curves, data)
    return _with_weights(models, curves, data)


def parts_of(options: Train, columns: dict[str, slice]) -> dict[str, slice]:
    """Return the parts of the columns that get a head each: all together, or each backbone's."""
    if options.ensemble == "blend":
        return columns
    return {"all": slice(0, max(span.stop for span in columns.values()))}


def _with_weights(models: list[Ensemble], curves: list[Curves], data: EnsembleData) -> FittedEnsemble:
    """Fit the weights of a mean, cross-fitted."""
    n_columns = 1 if data.outputs.kind == "classes" else data.outputs.n
    fits = np.empty((len(data.y), n_columns, len(models[0].members)), np.float32)
    for k, model in enumerate(models):
        for numbers, features in data.blocks(data.fold == k):
            for column, member in enumerate(model.members):
                fits[numbers, :, column] = _fit_of(member.predict(features), data.y[numbers], data.outputs)

    def weights_by(chosen: np.ndarray) -> np.ndarray:
        rows = fits[chosen].reshape(-1, fits.shape[2])
        if data.outputs.kind != "numbers":
            return fit_blend_weights(rows)
        return fit_mean_weights(rows, data.y[chosen].reshape(-1))

    scored = data.fold >= 0
    cross_fitted = [replace(model, weights=weights_by(scored & (data.fold != k))) for k, model in enumerate(models)]
    weights = weights_by(scored)
    shown = zip(models[0].members, weights, strict=True)
    print("Blend: " + ", ".join(f"{weight:.3f} {member.name}" for member, weight in shown))
    return FittedEnsemble([replace(model, weights=weights) for model in models], cross_fitted, curves, data)


def _fit_of(predictions: np.ndarray, y: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Return what the weights of a mean depend on: the probability of the truth, or the number itself."""
    if outputs.kind == "classes":
        return predictions[np.arange(len(y)), y][:, None]
    return np.where(y == 1, predictions, 1 - predictions) if outputs.kind == "labels" else predictions


def fit_mean_weights(predictions: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Find the weights of a mean of numbers that minimise its squared error.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_parts)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_parts,)
        Not negative, sum to one: non-negative least squares with one more equation, which weighs more than all others.
    """
    heavy = 1e3 * np.abs(predictions).max() * np.sqrt(len(y)) or 1.0
    matrix = np.vstack([predictions, np.full((1, predictions.shape[1]), heavy)])
    weights, _ = nnls(matrix.astype(np.float64), np.append(y, heavy))
    return np.asarray(weights / weights.sum())
