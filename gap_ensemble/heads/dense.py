"""The dense head: hidden layers, dropout and a dense layer, trained with Keras on standardised features.

Two classes get one sigmoid unit and binary cross-entropy, more get a softmax and categorical cross-entropy.

The heads of all folds are trained side by side in one model, as long as they fit into memory: they read the same rows,
and a row weighs nothing for the head that it judges. That takes little longer than one head alone. The heads stay
independent: they share no weight, their losses are summed, and the optimizer works weight by weight.

A trained head predicts with NumPy, so that nothing but training needs TensorFlow.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from scipy.special import logsumexp

from gap_ensemble.heads.rows import (
    MEMORY_BYTES,
    Curves,
    Head,
    OnProgress,
    TrainingData,
    class_weights,
    probabilities,
    standardise,
)
from gap_ensemble.params import Train
from gap_ensemble.storage.hdf5 import BLOCK_BYTES, atomic_hdf5
from gap_ensemble.validation.folds import assign_folds

# A trainable weight takes this many bytes: itself, its gradient, and two moments of the optimizer, float32 each.
BYTES_PER_WEIGHT = 16

# Kernel (n_in, n_out) and bias (n_out,) of every dense layer, float32.
Layers = list[tuple[np.ndarray, np.ndarray]]


class DenseHead:
    """One head, trained or loaded.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    n_features, n_classes : int
        What goes in and what comes out.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        What the features are standardised by.
    layers : Layers
        What multiplies and shifts.
    """

    def __init__(self, options: Train, n_features: int, n_classes: int):
        self.mean, self.scale = np.zeros(n_features), np.ones(n_features)
        sizes = layer_sizes(options, n_features, n_classes)
        self.layers: Layers = [(np.zeros(pair, np.float32), np.zeros(pair[1], np.float32)) for pair in sizes]

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says.

        The curves are the `loss` and `accuracy` of the rows that trained, `val_loss` and `val_accuracy` of those that
        judge, after every epoch. With `patience`, one row in five of those that would train chooses the epoch instead.
        """
        mean, scale = np.zeros(data.rows.n_features), np.ones(data.rows.n_features)
        if data.options.normalize:
            # Of the judging rows, too: a feature's scale says nothing of labels, and all heads can share the rows.
            mean, scale = data.rows.mean_and_scale()
        data = replace(data, rows=data.rows.standardised(mean, scale))
        sizes = layer_sizes(data.options, data.rows.n_features, data.n_classes)
        n_weights = sum(n_in * n_out for n_in, n_out in sizes)
        n_stacked = max(1, MEMORY_BYTES // (BYTES_PER_WEIGHT * n_weights))
        if data.options.optimizer == "adafactor":  # It averages over the columns of a kernel, and so over heads.
            n_stacked = 1
        heads: list[Head] = []
        curves: list[Curves] = []
        for first in range(0, data.n_folds, n_stacked):
            stack = Stack(data, list(range(first, min(first + n_stacked, data.n_folds))))
            for layers, curve in stack.fit(on_progress):
                head = cls(data.options, data.rows.n_features, data.n_classes)
                head.mean, head.scale, head.layers = mean, scale, layers
                heads.append(head)
                curves.append(curve)
        return heads, curves

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of every class, shape (n, n_classes), float32."""
        outputs = standardise(features, self.mean, self.scale)
        for kernel, bias in self.layers[:-1]:
            outputs = np.maximum(outputs @ kernel + bias, 0)
        return probabilities(outputs @ self.layers[-1][0] + self.layers[-1][1])

    def save(self, path: Path) -> None:
        """Write mean, scale and layers."""
        with atomic_hdf5(path) as file:
            file["mean"], file["scale"] = self.mean, self.scale
            for number, (kernel, bias) in enumerate(self.layers):
                file[f"kernel_{number}"], file[f"bias_{number}"] = kernel, bias

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        with h5py.File(path, "r") as file:
            self.mean, self.scale = file["mean"][:], file["scale"][:]
            self.layers = [(file[f"kernel_{i}"][:], file[f"bias_{i}"][:]) for i in range(len(self.layers))]


def layer_sizes(options: Train, n_features: int, n_classes: int) -> list[tuple[int, int]]:
    """Return what goes into every dense layer and what comes out."""
    units = [n_features, *options.hidden, 1 if n_classes == 2 else n_classes]
    return list(pairwise(units))


class Stack:
    """Heads of several folds in one Keras model: inputs (n, n_features), outputs (n, n_heads, n_outputs), logits.

    Parameters
    ----------
    data : TrainingData
        With standardised rows.
    folds : list of int
        The folds whose heads these are.
    """

    def __init__(self, data: TrainingData, folds: list[int]):
        from gap_ensemble.networks.quiet_keras import keras

        self.data, self.folds, self.n_heads = data, folds, len(folds)
        options = data.options
        self.trains = np.stack([data.trains(k) for k in folds], axis=1)
        self.judges = np.stack([data.judges(k) for k in folds], axis=1)
        self.chooses = np.zeros_like(self.trains)
        if options.patience is not None:
            # The rows that judge must not choose the epoch, or their score would be too good.
            for column in range(self.n_heads):
                numbers = np.flatnonzero(self.trains[:, column])
                held_out = numbers[assign_folds(data.label[numbers], 1, data.seed) == 0]
                self.chooses[held_out, column], self.trains[held_out, column] = True, False

        keras.utils.set_random_seed(data.seed)
        penalty = keras.regularizers.L2(options.l2)
        sizes = layer_sizes(options, data.rows.n_features, data.n_classes)
        inputs = outputs = keras.Input((data.rows.n_features,))
        for number, (_, n_out) in enumerate(sizes):
            if number == len(sizes) - 1:
                outputs = keras.layers.Dropout(options.dropout)(outputs)
            if number == 0:  # All heads read the same inputs.
                outputs = keras.layers.Dense(self.n_heads * n_out, kernel_regularizer=penalty)(outputs)
                outputs = keras.layers.Reshape((self.n_heads, n_out))(outputs)
            else:
                outputs = keras.layers.EinsumDense(
                    "bhi,hio->bho", (self.n_heads, n_out), bias_axes="ho", kernel_regularizer=penalty
                )(outputs)
            if number < len(sizes) - 1:
                outputs = keras.layers.Activation("relu")(outputs)
        self.model = keras.Model(inputs, outputs)
        initial = keras.initializers.GlorotUniform(data.seed)
        # Every head starts from the same weights, those that it would have if it were alone.
        weights: list[np.ndarray] = []
        for number, pair in enumerate(sizes):
            kernel, bias = np.asarray(initial(pair), np.float32), np.zeros(pair[1], np.float32)
            together = np.concatenate if number == 0 else np.stack
            weights += [
                together([kernel] * self.n_heads, axis=-1 if number == 0 else 0),
                together([bias] * self.n_heads),
            ]
        self.model.set_weights(weights)

        optimizer = keras.optimizers.get(options.optimizer)
        optimizer.learning_rate = options.learning_rate
        two = data.n_classes == 2
        loss = keras.losses.BinaryCrossentropy if two else keras.losses.SparseCategoricalCrossentropy
        # Compiling such small steps with XLA takes longer than it saves.
        loss = loss(from_logits=True, reduction="sum")
        self.model.compile(optimizer, loss, weighted_metrics=[], jit_compile=False)

    def fit(self, on_progress: OnProgress) -> list[tuple[Layers, Curves]]:
        """Train, and return the layers and the learning curves of every head."""
        options, data, rows = self.data.options, self.data, self.data.rows
        weight = np.stack(
            [class_weights(data.label[trains], data.n_classes, options.class_weight) for trains in self.trains.T],
            axis=1,
        )
        # The loss of a head is a mean over its rows; a batch holds rows of other heads, too.
        share = self.trains.mean(axis=0) / rows.chosen.mean()
        rng = np.random.default_rng(data.seed)
        curves: list[Curves] = [{} for _ in self.folds]
        best: list[Layers] = [[] for _ in self.folds]
        waited = np.zeros(self.n_heads, int)
        least = np.full(self.n_heads, np.inf)
        for epoch in range(options.epochs):
            for features, numbers in rows.batches(options.batch_size, rng):
                label = data.label[numbers]
                row_weight = weight[label] * self.trains[numbers] / (share * len(numbers))
                targets = np.repeat(label[:, None], self.n_heads, axis=1)
                self.model.train_on_batch(features, targets[:, :, None] if data.n_classes == 2 else targets, row_weight)
            weights = self.model.get_weights()
            scores = self._evaluate(weights)
            for head, curve in enumerate(curves):
                for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
                    curve.setdefault(name, []).append(float(scores[name][head]))
            on_progress(self.n_heads)
            if options.patience is None:
                continue
            for head in range(self.n_heads):
                if epoch == 0 or (waited[head] < options.patience and scores["choose_loss"][head] < least[head]):
                    best[head] = self._layers_of(weights, head)
                    least[head], waited[head] = scores["choose_loss"][head], 0
                else:
                    waited[head] += 1
            if (waited >= options.patience).all():
                on_progress((options.epochs - epoch - 1) * self.n_heads)
                break
        if options.patience is None:
            best = [self._layers_of(weights, head) for head in range(self.n_heads)]
        return list(zip(best, curves, strict=True))

    def _layers_of(self, weights: list[np.ndarray], head: int) -> Layers:
        """Cut one head's kernels and biases out of the model's weights."""
        first, bias, *others = weights
        kernels = [np.split(first, self.n_heads, axis=1)[head], *(kernel[head] for kernel in others[::2])]
        biases = [np.split(bias, self.n_heads)[head], *(bias[head] for bias in others[1::2])]
        return [(kernel.copy(), bias.copy()) for kernel, bias in zip(kernels, biases, strict=True)]

    def _evaluate(self, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return log loss and accuracy of every head, shape (n_heads,), on the rows that train, judge and choose.

        Without dropout and penalty, in NumPy, on blocks small enough for the outputs of all classes.
        """
        kinds = {"": self.trains, "val_": self.judges, "choose_": self.chooses}
        sums = {f"{kind}{name}": np.zeros(self.n_heads) for kind in kinds for name in ("loss", "accuracy")}
        n_at_once = max(1, BLOCK_BYTES // (4 * max(bias.size for bias in weights[1::2])))
        for all_features, all_numbers in self.data.rows.blocks():
            for start in range(0, len(all_numbers), n_at_once):
                features, numbers = (array[start : start + n_at_once] for array in (all_features, all_numbers))
                loss, hit = loss_and_hit(stacked_logits(features, weights, self.n_heads), self.data.label[numbers])
                for kind, chosen in kinds.items():
                    sums[f"{kind}loss"] += (loss * chosen[numbers]).sum(axis=0)
                    sums[f"{kind}accuracy"] += (hit & chosen[numbers]).sum(axis=0)
        for kind, chosen in kinds.items():
            for name in ("loss", "accuracy"):
                sums[f"{kind}{name}"] /= np.maximum(chosen.sum(axis=0), 1)
        return sums


def stacked_logits(features: np.ndarray, weights: list[np.ndarray], n_heads: int) -> np.ndarray:
    """Return what the model of a `Stack` returns without dropout, shape (n, n_heads, n_outputs), float32."""
    kernel, bias, *others = weights
    outputs = (features @ kernel + bias).reshape(len(features), n_heads, -1)
    for kernel, bias in zip(others[::2], others[1::2], strict=True):
        # (n_heads, n, n_in) @ (n_heads, n_in, n_out)
        outputs = (np.maximum(outputs, 0).transpose(1, 0, 2) @ kernel).transpose(1, 0, 2) + bias
    return outputs


def loss_and_hit(logits: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log loss (natural logarithm) and whether the true class wins, shape (n, n_heads) each.

    Parameters
    ----------
    logits : ndarray of shape (n, n_heads, n_outputs)
        One output for two classes, one a class for more.
    label : ndarray of shape (n,), integer
    """
    if logits.shape[2] == 1:
        true = logits[:, :, 0] * np.where(label == 1, 1, -1)[:, None]
        return np.logaddexp(0, -true), true > 0
    true = np.take_along_axis(logits, label[:, None, None], axis=2)[:, :, 0]
    return logsumexp(logits, axis=2) - true, logits.argmax(axis=2) == label[:, None]
