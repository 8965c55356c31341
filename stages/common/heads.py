"""Heads: what is trained on the features.

A head has `fit(rows, val_rows)`, `predict_proba(features)`, `save(path)` and `load(path)`, and stands in `HEADS` under
the name that `train.head` takes. A third one needs no more than that.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from stages.common.errors import UserError
from stages.common.features import block_slices
from stages.common.files import atomic_path
from stages.common.folds import assign_folds
from stages.common.params import Train

# Features up to this size are kept in memory; larger ones are read from the file again in every epoch.
MEMORY_BYTES = 2**30
# Strengths that `logistic` tries: scikit-learn's C, small is strong.
LOGISTIC_C = (3e-4, 3e-3, 1e-2, 3e-2, 1e-1)
# Rows that should judge the strengths: of few rows, each fifth judges in turn; of many, one fifth is enough.
N_JUDGES = 2000

Curves = dict[str, list[float]]
Features = Any  # h5py.Dataset or ndarray, of shape (n_rows, n_features), float32


class Rows:
    """Some rows of a feature file, read in shuffled blocks.

    Parameters
    ----------
    features : h5py.Dataset or ndarray of shape (n_rows, n_columns), float32
        All rows.
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    chosen : ndarray of shape (n_rows,), bool
        The rows that count.
    columns : slice
        The columns that count.
    """

    def __init__(self, features: Features, label: np.ndarray, chosen: np.ndarray, columns: slice):
        self.features, self.label, self.chosen, self.columns = features, label, chosen, columns
        self.n_rows, self.n_features = int(chosen.sum()), columns.stop - columns.start

    def blocks(self, rng: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield features (n, n_features) and labels (n,) of all chosen rows; with `rng`, in random order.

        Blocks come in random order, and rows in random order within a block. That is as good as a full shuffle,
        because the ensemble stage has shuffled the file.
        """
        slices = list(block_slices(len(self.label), self.features.shape[1] * 4))
        for index in rng.permutation(len(slices)) if rng else range(len(slices)):
            block = slices[index]
            inside = np.flatnonzero(self.chosen[block])
            if rng:
                inside = rng.permutation(inside)
            if len(inside):
                yield self.features[block, self.columns][inside], self.label[block][inside]

    def batches(
        self, batch_size: int, rng: np.random.Generator, class_weight: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield features, labels and weights for ever: all rows once before any comes again."""
        while True:
            left = (np.empty((0, self.n_features), np.float32), np.empty(0, self.label.dtype))
            for block in self.blocks(rng):
                features, label = (np.concatenate(parts) for parts in zip(left, block, strict=True))
                n_whole = len(label) - len(label) % batch_size
                for start in range(0, n_whole, batch_size):
                    batch = slice(start, start + batch_size)
                    yield features[batch], label[batch], class_weight[label[batch]]
                left = features[n_whole:], label[n_whole:]
            if len(left[1]):
                yield *left, class_weight[left[1]]

    def hold_out(self, seed: int) -> tuple["Rows", "Rows"]:
        """Split into four parts to train on and one, stratified, to choose by."""
        numbers = np.flatnonzero(self.chosen)
        held_out = np.zeros_like(self.chosen)
        held_out[numbers[assign_folds(self.label[numbers], 1, seed) == 0]] = True
        return (
            Rows(self.features, self.label, self.chosen & ~held_out, self.columns),
            Rows(self.features, self.label, held_out, self.columns),
        )

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all chosen rows in memory: features (n_rows, n_features) and labels (n_rows,)."""
        features, labels = zip(*self.blocks(), strict=True)
        return np.concatenate(features), np.concatenate(labels)

    def class_weight(self, n_classes: int, kind: str | None) -> np.ndarray:
        """Return a weight for each class: one, or with `balanced` n_rows / (n_classes * rows of the class)."""
        if kind is None:
            return np.ones(n_classes, np.float32)
        counts = np.bincount(self.label[self.chosen], minlength=n_classes)
        return (self.n_rows / (n_classes * np.maximum(counts, 1))).astype(np.float32)


class Head(Protocol):
    """What the stages ask of a head; it is made from (options, n_features, n_classes, seed)."""

    def fit(self, rows: Rows, val_rows: Rows) -> Curves:
        """Train on `rows`; `val_rows` may be looked at for the learning curves, and for nothing else."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class, shape (n, n_classes), for features of shape (n, n_features)."""

    def save(self, path: Path) -> None:
        """Write what `load` needs to one HDF5 file, the same bytes every time."""

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""


class DenseHead:
    """Normalisation, hidden layers, dropout and a dense layer, trained with Keras.

    Two classes get one sigmoid unit and binary cross-entropy, more get a softmax and categorical cross-entropy. With
    `patience`, one row in five of those given to `fit` chooses the epoch, and the rest trains.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    n_features, n_classes : int
        What goes in and what comes out.
    seed : int
        Seed of the first weights, of dropout and of the order of rows.
    """

    def __init__(self, options: Train, n_features: int, n_classes: int, seed: int):
        from stages.common.quiet_keras import keras

        self.keras, self.options, self.n_classes, self.seed = keras, options, n_classes, seed
        keras.utils.set_random_seed(seed)
        # Every layer has a name of its own: Keras's counters would make the file depend on what was built before.
        inputs = outputs = keras.Input((n_features,), name="features")
        penalty = keras.regularizers.L2(options.l2)
        for number, units in enumerate(options.hidden, start=1):
            hidden = keras.layers.Dense(units, activation="relu", kernel_regularizer=penalty, name=f"hidden_{number}")
            outputs = hidden(outputs)
        outputs = keras.layers.Dropout(options.dropout, name="dropout")(outputs)
        two = n_classes == 2
        units, activation = (1, "sigmoid") if two else (n_classes, "softmax")
        outputs = keras.layers.Dense(units, activation=activation, kernel_regularizer=penalty, name="output")(outputs)
        # Standardisation, outside of Keras: its Normalization never divides by less than 1e-7, and the features of
        # an untrained network may vary by 1e-20.
        self.mean, self.scale = np.zeros(n_features), np.ones(n_features)
        self.model = keras.Model(inputs, outputs, name="head")
        self.loss = "binary_crossentropy" if two else "sparse_categorical_crossentropy"

    def fit(self, rows: Rows, val_rows: Rows) -> Curves:
        """Train; the curves are Keras's history: `loss`, `accuracy`, `val_loss`, `val_accuracy`."""
        options, keras = self.options, self.keras
        callbacks = []
        if options.patience is not None:
            # The rows that judge must not choose the epoch, or their score would be too good.
            rows, val_rows = rows.hold_out(self.seed)
            callbacks = [keras.callbacks.EarlyStopping(patience=options.patience, restore_best_weights=True)]
        if options.normalize:
            self.mean, self.scale = mean_and_scale(rows)
        optimizer = keras.optimizers.get(options.optimizer)
        optimizer.learning_rate = options.learning_rate
        self.model.compile(optimizer, self.loss, metrics=["accuracy"], weighted_metrics=[])
        weight = rows.class_weight(self.n_classes, options.class_weight)
        history = self.model.fit(
            self._batches(rows, weight),
            steps_per_epoch=-(-rows.n_rows // options.batch_size),
            epochs=options.epochs,
            validation_data=self._batches(val_rows, np.ones_like(weight)),
            validation_steps=-(-val_rows.n_rows // options.batch_size),
            callbacks=callbacks,
            shuffle=False,  # The batches come shuffled.
            verbose=0,
        )
        return {name: [float(value) for value in values] for name, values in history.history.items()}

    def _batches(self, rows: Rows, weight: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for features, label, weights in rows.batches(self.options.batch_size, np.random.default_rng(self.seed), weight):
            yield self._standardised(features), label, weights

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) / self.scale).astype(np.float32)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class, shape (n, n_classes), float32."""
        output = self.model.predict(self._standardised(features), batch_size=1024, verbose=0)
        return np.hstack([1 - output, output]) if output.shape[1] == 1 else output

    def save(self, path: Path) -> None:
        """Write weights, mean and scale: unlike a `.keras` file, which holds dates, the same bytes every time."""
        with atomic_path(path) as partial:
            # Without its optimizer, whose numbers nobody needs again; and Keras wants its own suffix on what it writes.
            with_suffix = partial.with_suffix(".weights.h5")
            self.keras.Model(self.model.inputs, self.model.outputs, name="head").save_weights(with_suffix)
            with_suffix.rename(partial)
            with h5py.File(partial, "a") as file:
                file["mean"], file["scale"] = self.mean, self.scale

    def load(self, path: Path) -> None:
        """Read the weights that `save` wrote."""
        self.model.load_weights(path)
        with h5py.File(path, "r") as file:
            self.mean, self.scale = file["mean"][:], file["scale"][:]


def mean_and_scale(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every feature, shape (n_features,), read a block at a time.

    A feature that never changes has the deviation one: it says nothing, and divided by zero it would shout.
    """
    scaler = StandardScaler()
    for features, _ in rows.blocks():
        scaler.partial_fit(features)
    return scaler.mean_, scaler.scale_


class LogisticHead:
    """scikit-learn's logistic regression on standardised features, its strength chosen inside the training rows.

    It holds its rows in memory, so it is for features that fit there. Needs no TensorFlow.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml; `class_weight` and `ensemble` count here.
    n_features, n_classes : int
        What goes in and what comes out.
    seed : int
        Seed of the split that chooses the strength.
    """

    def __init__(self, options: Train, n_features: int, n_classes: int, seed: int):
        self.options, self.n_features, self.n_classes, self.seed = options, n_features, n_classes, seed
        n_outputs = 1 if n_classes == 2 else n_classes
        # Classes without a row keep an intercept that makes them improbable.
        self.arrays = {
            "mean": np.zeros(n_features),
            "scale": np.ones(n_features),
            "coef": np.zeros((n_outputs, n_features)),
            "intercept": np.full(n_outputs, -30.0),
        }

    def fit(self, rows: Rows, val_rows: Rows) -> Curves:  # noqa: ARG002 - curves have one point, without validation
        """Try every strength on a part of the rows, and fit the best one on all."""
        if rows.n_rows * rows.n_features * 4 > 4 * MEMORY_BYTES:
            raise UserError(
                f"params.yaml: train.head: logistic needs {rows.n_rows:,} rows of {rows.n_features:,} features in "
                "memory; use head: dense, which reads them in blocks"
            )
        self.arrays["mean"], self.arrays["scale"] = mean_and_scale(rows)
        features, label = rows.whole()
        features = self._standardised(features)
        # One thread: the products are small, and threads that wait for each other made a fit seven times slower.
        with threadpool_limits(1):
            return self._fit_standardised(features, label)

    def _fit_standardised(self, features: np.ndarray, label: np.ndarray) -> Curves:
        fold = assign_folds(label, 5, self.seed)
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

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.arrays["mean"]) / self.arrays["scale"]).astype(np.float32)

    def _model(self, strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=1000, class_weight=self.options.class_weight)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class, shape (n, n_classes)."""
        logits = self._standardised(features) @ self.arrays["coef"].T + self.arrays["intercept"]
        if self.n_classes == 2:
            return np.hstack([expit(-logits), expit(logits)])
        return np.asarray(softmax(logits, axis=1))

    def save(self, path: Path) -> None:
        """Write mean, scale, coefficients and intercepts."""
        with atomic_path(path) as partial, h5py.File(partial, "w") as file:
            for name, array in self.arrays.items():
                file[name] = array

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            self.arrays = {name: file[name][:] for name in self.arrays}


HEADS: dict[str, Callable[[Train, int, int, int], Head]] = {"dense": DenseHead, "logistic": LogisticHead}


class Blend:
    """One head for each part of the columns, and the weights with which their probabilities are averaged.

    With `train.ensemble: concatenate` there is one part, all columns; with `blend` one for each backbone.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    parts : dict of str to slice
        Columns of each part.
    n_classes, seed : int
        As for the heads.

    Attributes
    ----------
    weights : ndarray of shape (n_parts,)
        Sum to one.
    """

    def __init__(self, options: Train, parts: dict[str, slice], n_classes: int, seed: int):
        self.parts, self.n_classes = parts, n_classes
        self.heads = {
            name: HEADS[options.head](options, columns.stop - columns.start, n_classes, seed)
            for name, columns in parts.items()
        }
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
