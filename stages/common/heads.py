"""Heads: what is trained on the features.

A head has `fit(rows, val_rows)`, `predict_proba(features)`, `save(path)` and `load(path)`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from sklearn.preprocessing import StandardScaler

from stages.common.features import block_slices
from stages.common.files import atomic_path
from stages.common.params import Train
from stages.common.quiet_keras import keras

# Features up to this size are kept in memory; larger ones are read from the file again in every epoch.
MEMORY_BYTES = 2**30


class Rows:
    """Some rows of a feature file, read in shuffled blocks.

    Parameters
    ----------
    features : h5py.Dataset or ndarray of shape (n_rows, n_features), float32
        All rows.
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    chosen : ndarray of shape (n_rows,), bool
        The rows that count.
    """

    def __init__(self, features: h5py.Dataset | np.ndarray, label: np.ndarray, chosen: np.ndarray):
        self.features, self.label, self.chosen = features, label, chosen
        self.n_rows, self.n_features = int(chosen.sum()), features.shape[1]

    def blocks(self, rng: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield features (n, n_features) and labels (n,) of all chosen rows; with `rng`, in random order.

        Blocks come in random order, and rows in random order within a block. That is as good as a full shuffle,
        because the ensemble stage has shuffled the file.
        """
        slices = list(block_slices(len(self.label), self.n_features * 4))
        for index in rng.permutation(len(slices)) if rng else range(len(slices)):
            block = slices[index]
            inside = np.flatnonzero(self.chosen[block])
            if rng:
                inside = rng.permutation(inside)
            if len(inside):
                yield self.features[block][inside], self.label[block][inside]

    def batches(self, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield batches for ever, all rows once before any comes again; the last of a pass is smaller."""
        while True:
            left = (np.empty((0, self.n_features), np.float32), np.empty(0, self.label.dtype))
            for block in self.blocks(rng):
                features, label = (np.concatenate(parts) for parts in zip(left, block, strict=True))
                n_whole = len(label) - len(label) % batch_size
                for start in range(0, n_whole, batch_size):
                    yield features[start : start + batch_size], label[start : start + batch_size]
                left = features[n_whole:], label[n_whole:]
            if len(left[1]):
                yield left


class DenseHead:
    """Normalisation, dropout and a dense layer, trained with Keras.

    Two classes get one sigmoid unit and binary cross-entropy, more get a softmax and categorical cross-entropy.

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
        self.options, self.seed = options, seed
        keras.utils.set_random_seed(seed)
        inputs = outputs = keras.Input((n_features,))
        if options.normalize:
            outputs = keras.layers.Normalization(name="normalization")(outputs)
        outputs = keras.layers.Dropout(options.dropout)(outputs)
        two = n_classes == 2
        outputs = keras.layers.Dense(1 if two else n_classes, activation="sigmoid" if two else "softmax")(outputs)
        self.model = keras.Model(inputs, outputs, name="head")
        self.loss = "binary_crossentropy" if two else "sparse_categorical_crossentropy"

    def fit(self, rows: Rows, val_rows: Rows) -> dict[str, list[float]]:
        """Train on `rows`; `val_rows` are looked at for the learning curves only.

        Returns
        -------
        dict of str to list of float
            Keras's history, one number an epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
        """
        options = self.options
        if options.normalize:
            _fit_normalization(self.model.get_layer("normalization"), rows)
        optimizer = keras.optimizers.get(options.optimizer)
        optimizer.learning_rate = options.learning_rate
        self.model.compile(optimizer, self.loss, metrics=["accuracy"])
        history = self.model.fit(
            rows.batches(options.batch_size, np.random.default_rng(self.seed)),
            steps_per_epoch=-(-rows.n_rows // options.batch_size),
            epochs=options.epochs,
            validation_data=val_rows.batches(options.batch_size, np.random.default_rng(self.seed)),
            validation_steps=-(-val_rows.n_rows // options.batch_size),
            shuffle=False,  # The batches come shuffled.
            verbose=0,
        )
        return {name: [float(value) for value in values] for name, values in history.history.items()}

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class.

        Parameters
        ----------
        features : ndarray of shape (n, n_features), float32

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            Rows sum to one.
        """
        output = self.model.predict(features, batch_size=1024, verbose=0)
        return np.hstack([1 - output, output]) if output.shape[1] == 1 else output

    def save(self, path: Path) -> None:
        """Write the weights: unlike a `.keras` file, which holds dates, they are the same bytes every time."""
        with atomic_path(path) as partial:
            # Without its optimizer, whose numbers nobody needs again; and Keras wants its own suffix on what it writes.
            with_suffix = partial.with_suffix(".weights.h5")
            keras.Model(self.model.inputs, self.model.outputs).save_weights(with_suffix)
            with_suffix.rename(partial)

    def load(self, path: Path) -> None:
        """Read the weights that `save` wrote."""
        self.model.load_weights(path)


def _fit_normalization(layer: Any, rows: Rows) -> None:
    """Set the mean and variance of a Normalization layer to those of `rows`, read a block at a time."""
    scaler = StandardScaler()
    for features, _ in rows.blocks():
        scaler.partial_fit(features)
    # A feature that never changes in training says nothing; dividing by its zero deviation would make it shout.
    variance = np.where(scaler.var_ > 0, scaler.var_, 1.0)
    layer.adapt_mean.assign(scaler.mean_.astype(np.float32))
    layer.adapt_variance.assign(variance.astype(np.float32))
    layer.finalize_state()
