"""The dense head: hidden layers, dropout and a dense layer, trained with Keras on standardised features.

Two classes get one sigmoid unit and binary cross-entropy, more get a softmax and categorical cross-entropy. Labels get
a sigmoid unit each. Numbers get linear units and the squared error of standardised targets.

The heads of all folds are trained side by side in one model, as long as they fit into memory: they read the same rows,
and a row weighs nothing for the head that it validates. That takes little longer than one head alone. The heads stay
independent: they share no weight, their losses are summed, and the optimizer works weight by weight.

A trained head predicts with NumPy, so that nothing but training needs TensorFlow.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from scipy.special import logsumexp

from gap_ensemble.heads.head import Curves, Head, OnProgress, Outputs, TrainingData, class_weights
from gap_ensemble.heads.rows import MEMORY_BYTES, standardise
from gap_ensemble.params import Train
from gap_ensemble.storage.hdf5 import BLOCK_BYTES, atomic_hdf5

# A trainable weight takes this many bytes: itself, its gradient, and two moments of the optimizer, float32 each.
BYTES_PER_WEIGHT = 16

# Kernel (n_in, n_out) and bias (n_out,) of every dense layer, float32.
Layers = list[tuple[np.ndarray, np.ndarray]]


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

    unit = "epochs"

    @classmethod
    def n_steps(cls, data: TrainingData) -> int:
        """Return the number of epochs of all heads, as `Head.n_steps` says."""
        return data.options.epochs * data.n_folds

    @classmethod
    def fit_folds(cls, data: TrainingData, on_progress: OnProgress) -> tuple[list[Head], list[Curves]]:
        """Train a head a fold, as `Head.fit_folds` says.

        The curves are `loss` (log loss, or the mean squared error of numbers) and `accuracy` (not of numbers) of the
        rows that trained, `val_loss` and `val_accuracy` of those that validate, after every epoch. With `patience`, one
        row in five of those that would train stops early instead.
        """
        mean, scale = np.zeros(data.rows.n_features), np.ones(data.rows.n_features)
        if data.options.normalize:
            # Of the validation rows, too: a feature's scale says nothing of targets, and all heads can share the rows.
            mean, scale = data.rows.mean_and_scale()
        data = replace(data, rows=data.rows.standardised(mean, scale))
        sizes = layer_sizes(data.options, data.rows.n_features, data.outputs)
        n_weights = sum(n_in * n_out for n_in, n_out in sizes)
        n_stacked = max(1, MEMORY_BYTES // (BYTES_PER_WEIGHT * n_weights))
        if data.options.optimizer == "adafactor":  # It averages over the columns of a kernel, and so over heads.
            n_stacked = 1
        heads: list[Head] = []
        curves: list[Curves] = []
        for first in range(0, data.n_folds, n_stacked):
            stack = Stack(data, list(range(first, min(first + n_stacked, data.n_folds))))
            for layers, curve in stack.fit(on_progress):
                heads.append(cls(data.outputs, mean, scale, layers))
                curves.append(curve)
        return heads, curves

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32."""
        outputs = standardise(features, self.mean, self.scale)
        for kernel, bias in self.layers[:-1]:
            outputs = np.maximum(outputs @ kernel + bias, 0)
        return self.outputs.link(outputs @ self.layers[-1][0] + self.layers[-1][1])

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


def layer_sizes(options: Train, n_features: int, outputs: Outputs) -> list[tuple[int, int]]:
    """Return what goes into every dense layer and what comes out."""
    return list(pairwise([n_features, *options.hidden, outputs.n_logits]))


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
        from gap_ensemble.networks.keras_setup import keras

        self.data, self.folds, self.n_heads = data, folds, len(folds)
        options = data.options
        self.trains = np.stack([data.trains(k) for k in folds], axis=1)
        self.validates = np.stack([data.validates(k) for k in folds], axis=1)
        self.stops = np.zeros_like(self.trains)
        if options.patience is not None:
            # The rows that validate must not choose the epoch, or their score would be too good.
            for column in range(self.n_heads):
                numbers = np.flatnonzero(self.trains[:, column])
                held_out = numbers[data.inner_folds(numbers, 1) == 0]
                self.stops[held_out, column], self.trains[held_out, column] = True, False
        if data.outputs.kind == "numbers":
            # Targets are standardised by the rows that train, for every head of its own.
            self.mean = np.stack([data.y[trains].mean(axis=0) for trains in self.trains.T])
            scale = np.stack([data.y[trains].std(axis=0) for trains in self.trains.T])
            self.scale = np.where(scale > 0, scale, 1)

        keras.utils.set_random_seed(data.seed)
        penalty = keras.regularizers.L2(options.l2)
        sizes = layer_sizes(options, data.rows.n_features, data.outputs)
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
        if data.outputs.kind == "numbers":
            loss = keras.losses.MeanSquaredError(reduction="sum")
        elif data.outputs.kind == "labels" or data.outputs.n == 2:
            loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum")
        else:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        # Compiling such small steps with XLA takes longer than it saves.
        self.model.compile(optimizer, loss, weighted_metrics=[], jit_compile=False)

    def fit(self, on_progress: OnProgress) -> list[tuple[Layers, Curves]]:
        """Train, and return the layers and the learning curves of every head."""
        options, data, rows = self.data.options, self.data, self.data.rows
        weight = self.trains.astype(np.float32)
        if data.outputs.kind == "classes":
            for column, trains in enumerate(self.trains.T):
                weight[:, column] *= class_weights(data.y[trains], data.outputs.n, options.class_weight)[data.y]
        # The loss of a head is a mean over its rows; a batch holds rows of other heads, too.
        share = self.trains.mean(axis=0) / rows.chosen.mean()
        rng = np.random.default_rng(data.seed)
        curves: list[Curves] = [{} for _ in self.folds]
        best: list[Layers] = [[] for _ in self.folds]
        waited = np.zeros(self.n_heads, int)
        least = np.full(self.n_heads, np.inf)
        for epoch in range(options.epochs):
            for features, numbers in rows.batches(options.batch_size, rng):
                row_weight = weight[numbers] / (share * len(numbers))
                self.model.train_on_batch(features, self._targets(numbers), row_weight)
            weights = self.model.get_weights()
            scores = self._evaluate(weights)
            for head, curve in enumerate(curves):
                for name, values in scores.items():
                    if not name.startswith("stop_"):
                        curve.setdefault(name, []).append(float(values[head]))
            on_progress(self.n_heads)
            if options.patience is None:
                continue
            for head in range(self.n_heads):
                if epoch == 0 or (waited[head] < options.patience and scores["stop_loss"][head] < least[head]):
                    best[head] = self._layers_of(weights, head)
                    least[head], waited[head] = scores["stop_loss"][head], 0
                else:
                    waited[head] += 1
            if (waited >= options.patience).all():
                on_progress((options.epochs - epoch - 1) * self.n_heads)
                break
        if options.patience is None:
            best = [self._layers_of(weights, head) for head in range(self.n_heads)]
        return list(zip(best, curves, strict=True))

    def _targets(self, numbers: np.ndarray) -> np.ndarray:
        """Return what the heads should give, shape (n, n_heads, n_outputs), or (n, n_heads) class numbers."""
        y = self.data.y[numbers]
        if self.data.outputs.kind == "numbers":
            return (y[:, None] - self.mean) / self.scale
        if self.data.outputs.kind == "labels":
            return np.repeat(y[:, None], self.n_heads, axis=1)
        targets = np.repeat(y[:, None], self.n_heads, axis=1)
        return targets[:, :, None] if self.data.outputs.n == 2 else targets

    def _layers_of(self, weights: list[np.ndarray], head: int) -> Layers:
        """Cut one head's kernels and biases out of the model's weights."""
        first, bias, *others = weights
        kernels = [np.split(first, self.n_heads, axis=1)[head], *(kernel[head] for kernel in others[::2])]
        biases = [np.split(bias, self.n_heads)[head], *(bias[head] for bias in others[1::2])]
        if self.data.outputs.kind == "numbers":
            kernels[-1] = kernels[-1] * self.scale[head].astype(np.float32)
            biases[-1] = (biases[-1] * self.scale[head] + self.mean[head]).astype(np.float32)
        return [(kernel.copy(), bias.copy()) for kernel, bias in zip(kernels, biases, strict=True)]

    def _evaluate(self, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return loss and accuracy of every head, shape (n_heads,), on the rows that train, validate and stop early.

        Without dropout and penalty, in NumPy, on blocks small enough for the outputs of all classes.
        """
        kinds = {"": self.trains, "val_": self.validates, "stop_": self.stops}
        sums: dict[tuple[str, str], np.ndarray] = {}
        n_at_once = max(1, BLOCK_BYTES // (4 * max(bias.size for bias in weights[1::2])))
        for all_features, all_numbers in self.data.rows.blocks():
            for start in range(0, len(all_numbers), n_at_once):
                features, numbers = (array[start : start + n_at_once] for array in (all_features, all_numbers))
                logits = stacked_logits(features, weights, self.n_heads)
                if self.data.outputs.kind == "numbers":
                    logits = logits * self.scale + self.mean
                for name, values in row_scores(logits, self.data.y[numbers], self.data.outputs).items():
                    for kind, chosen in kinds.items():
                        sums[kind, name] = sums.get((kind, name), 0.0) + (values * chosen[numbers]).sum(axis=0)
        return {kind + name: sums[kind, name] / np.maximum(kinds[kind].sum(axis=0), 1) for kind, name in sums}


def stacked_logits(features: np.ndarray, weights: list[np.ndarray], n_heads: int) -> np.ndarray:
    """Return what the model of a `Stack` returns without dropout, shape (n, n_heads, n_outputs), float32."""
    kernel, bias, *others = weights
    outputs = (features @ kernel + bias).reshape(len(features), n_heads, -1)
    for kernel, bias in zip(others[::2], others[1::2], strict=True):
        # (n_heads, n, n_in) @ (n_heads, n_in, n_out)
        outputs = (np.maximum(outputs, 0).transpose(1, 0, 2) @ kernel).transpose(1, 0, 2) + bias
    return outputs


def row_scores(logits: np.ndarray, y: np.ndarray, outputs: Outputs) -> dict[str, np.ndarray]:
    """Return the scores of every row by every head, shape (n, n_heads) each.

    Parameters
    ----------
    logits : ndarray of shape (n, n_heads, n_logits)
        What the heads give before the link function.
    y : ndarray
        Targets of the rows.
    outputs : Outputs
        What is predicted.

    Returns
    -------
    dict of str to ndarray of shape (n, n_heads)
        `loss`: log loss (natural logarithm), the mean over labels, or the mean squared error of numbers. `accuracy`,
        not of numbers: whether the true class is the most probable, or the share of labels on their side of 0.5.
    """
    if outputs.kind == "numbers":
        return {"loss": ((logits - y[:, None]) ** 2).mean(axis=2)}
    if outputs.n_logits > 1 and outputs.kind == "classes":
        true = np.take_along_axis(logits, y[:, None, None], axis=2)[:, :, 0]
        return {"loss": logsumexp(logits, axis=2) - true, "accuracy": logits.argmax(axis=2) == y[:, None]}
    targets = y.reshape(len(y), 1, -1)
    towards_truth = logits * np.where(targets == 1, 1, -1)
    return {"loss": np.logaddexp(0, -towards_truth).mean(axis=2), "accuracy": (towards_truth > 0).mean(axis=2)}
