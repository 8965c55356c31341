"""The training of dense heads: those of all folds, and of all that is tried, side by side in one Keras model.

They read the same rows, and a row weighs nothing for the head that it validates. That takes little longer than one head
alone. The heads stay independent: they share no weight, their losses are summed, and the optimizer works weight by
weight.
"""

import math
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np

from gap_ensemble.heads.head import Curves, OnProgress, Outputs, TrainingData, class_weights
from gap_ensemble.heads.losses import row_scores
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Train
from gap_ensemble.storage.hdf5 import BLOCK_BYTES

# Memory for the weights of heads that are trained side by side. A trainable weight takes so many bytes: itself, its
# gradient and up to two moments of the optimizer, float32 each.
SIDE_BY_SIDE_BYTES = 2**29
BYTES_PER_WEIGHT = 16

# The fewest passes over the rows, if `train.epochs` is null.
MIN_EPOCHS = 5

MOMENTUM = 0.9
# Steps with Nesterov's momentum are stable up to (2 + 2 * MOMENTUM) / (1 + 2 * MOMENTUM) = 1.36 over the curvature.
MAX_STEP = 1.2
# Where gradients are divided by the curvature: rows by which the rate is found; the least that is added to the moments.
MAX_CURVATURE_ROWS = 4096
LEAST_ADDED = 0.01
# The second derivative of a row's loss by its logit is at most the inverse of this.
FLATNESS = {"sigmoid": 4.0, "softmax": 2.0, "squared": 0.5}

# Kernel (n_in, n_out) and bias (n_out,) of every dense layer, float32.
Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Pace:
    """How heads are trained where params.yaml does not say it.

    Attributes
    ----------
    batch_size : int
    dropout : float
    share_of_rate : float
        Where gradients are divided by the curvature, the share of the largest stable rate that is taken: the noise of
        batches and of dropout is divided, too. Larger batches have less noise, and a share that is larger in proportion
        (Goyal et al., "Accurate, large minibatch SGD", 2017).
    n_steps : int
        Optimizer steps.
    """

    batch_size: int
    dropout: float
    share_of_rate: float
    n_steps: int

    def given(self, options: Train) -> "Pace":
        """Return the pace with what params.yaml says, up to the share and down to the steps of the largest batches."""
        dropout = self.dropout if options.dropout is None else options.dropout
        if options.batch_size is None:
            return replace(self, dropout=dropout)
        larger = min(max(options.batch_size / self.batch_size, 1), LARGEST_BATCH / self.batch_size)
        return Pace(options.batch_size, dropout, self.share_of_rate * larger, math.ceil(self.n_steps / larger))


LARGEST_BATCH = 512
PACE = Pace(batch_size=128, dropout=0.5, share_of_rate=0.05, n_steps=800)
PACE_OF_MANY_ROWS = Pace(batch_size=LARGEST_BATCH, dropout=0.5, share_of_rate=0.2, n_steps=200)
# A row says little of most classes: gradients are small, so that it takes long steps to get anywhere, and little noise.
PACE_OF_MANY_CLASSES = Pace(batch_size=LARGEST_BATCH, dropout=0.1, share_of_rate=1.0, n_steps=300)


@dataclass
class Fits:
    """What is trained side by side.

    Attributes
    ----------
    trains : ndarray of shape (n_rows, n_heads), bool
        Which rows train each head.
    l2 : ndarray of shape (n_heads,)
        The penalty of each head: what its squared weights are multiplied by.
    links : ndarray of shape (n_heads, 2)
        Factor and offset that make logits of what each head gives.
    label_smoothing : ndarray of shape (n_heads,)
        The share of each target that is dealt out evenly among all classes, or for two classes and for labels among yes
        and no (Szegedy et al., "Rethinking the Inception architecture", 2016; Keras's losses take one for all heads).
    pace : Pace
    by_curvature : bool
        Whether gradients are divided by the curvature of the loss.
    with_curves : bool
        Whether learning curves are wanted: those of heads that are tried are not.
    """

    trains: np.ndarray
    l2: np.ndarray
    links: np.ndarray
    label_smoothing: np.ndarray
    pace: Pace
    by_curvature: bool
    with_curves: bool

    def part(self, heads: slice) -> "Fits":
        """Return some of the heads."""
        by_head = {name: getattr(self, name)[heads] for name in ("l2", "links", "label_smoothing")}
        return replace(self, trains=self.trains[:, heads], **by_head)


@dataclass
class Fitted:
    """What training leaves of one head: its layers, the link within the last, and its learning curves."""

    layers: Layers
    curves: Curves = field(default_factory=dict)


def layer_sizes(options: Train, n_features: int, outputs: Outputs) -> list[tuple[int, int]]:
    """Return what goes into every dense layer and what comes out."""
    return list(pairwise([n_features, *options.hidden, outputs.n_logits]))


def n_weights(data: TrainingData) -> int:
    """Return the number of weights of one head."""
    sizes = layer_sizes(data.options, data.rows.n_features, data.outputs)
    return sum(n_in * n_out for n_in, n_out in sizes)


def n_epochs(data: TrainingData, pace: Pace) -> int:
    """Return `train.epochs`, or if it is null as many as make the steps of a pace."""
    if data.options.epochs is not None:
        return data.options.epochs
    return max(MIN_EPOCHS, math.ceil(pace.n_steps / math.ceil(data.rows.n_rows / pace.batch_size)))


def fit_side_by_side(data: TrainingData, fits: Fits, on_progress: OnProgress) -> list[Fitted]:
    """Train heads on rows that are scaled, as many at a time as fit into memory."""
    n_at_once = max(1, SIDE_BY_SIDE_BYTES // (BYTES_PER_WEIGHT * n_weights(data)))
    if data.options.optimizer == "adafactor":  # It averages over the columns of a kernel, and so over heads.
        n_at_once = 1
    fitted: list[Fitted] = []
    for first in range(0, len(fits.l2), n_at_once):
        fitted += SideBySide(data, fits.part(slice(first, first + n_at_once))).fit(on_progress)
    return fitted


class SideBySide:
    """Several heads in one Keras model: inputs (n, n_features), outputs (n, n_heads, n_outputs), logits.

    Parameters
    ----------
    data : TrainingData
        With scaled rows.
    fits : Fits
        The heads.
    """

    def __init__(self, data: TrainingData, fits: Fits):
        from gap_ensemble.networks.keras_setup import BACKEND, keras

        self.data, self.fits, self.n_heads = data, fits, len(fits.l2)
        options, trains, l2 = data.options, fits.trains, fits.l2
        self.epochs, self.n_batches = n_epochs(data, fits.pace), math.ceil(data.rows.n_rows / fits.pace.batch_size)
        self.patience = options.patience if fits.with_curves else None
        # Of the rows that do not train a head, those of folds validate it.
        self.trains, self.validates = trains.copy(), ~trains & data.rows.chosen[:, None]
        self.stops = np.zeros_like(trains)
        if self.patience is not None:
            # The rows that validate must not choose the epoch, or their score would be too good.
            for column in range(self.n_heads):
                numbers = np.flatnonzero(trains[:, column])
                held_out = numbers[data.inner_folds(numbers, 1) == 0]
                self.stops[held_out, column], self.trains[held_out, column] = True, False
        if data.outputs.kind == "numbers":
            # Targets are standardised by the rows that train, for every head of its own.
            self.mean = np.stack([data.y[rows].mean(axis=0) for rows in self.trains.T])
            scale = np.stack([data.y[rows].std(axis=0) for rows in self.trains.T])
            self.scale = np.where(scale > 0, scale, 1)
        # The loss of a head is a mean over its rows; a batch holds rows of other heads, too.
        self.weight = self.trains / (self.trains.sum(axis=0) / data.rows.n_rows).astype(np.float32)
        if data.outputs.kind == "classes":
            for column, rows in enumerate(self.trains.T):
                of_class = class_weights(data.y[rows], data.outputs.n, options.class_weight)
                self.weight[:, column] *= of_class[data.y]
        else:
            self.weight *= data.outputs.n  # Keras takes the mean over labels; the penalty is beside their sum.

        keras.utils.set_random_seed(data.seed)
        sizes = layer_sizes(options, data.rows.n_features, data.outputs)
        inputs = outputs = keras.Input((data.rows.n_features,))
        for number, (_, n_out) in enumerate(sizes):
            if number == len(sizes) - 1 and options.hidden:
                outputs = keras.layers.Dropout(fits.pace.dropout)(outputs)
            if number == 0:  # All heads read the same inputs.
                penalty = _penalty_of_heads(np.repeat(l2, n_out))
                outputs = keras.layers.Dense(self.n_heads * n_out, kernel_regularizer=penalty)(outputs)
                outputs = keras.layers.Reshape((self.n_heads, n_out))(outputs)
            else:
                penalty = _penalty_of_heads(l2[:, None, None])
                outputs = keras.layers.EinsumDense(
                    "bhi,hio->bho", (self.n_heads, n_out), bias_axes="ho", kernel_regularizer=penalty
                )(outputs)
            if number < len(sizes) - 1:
                outputs = keras.layers.Activation("relu")(outputs)
        self.model = keras.Model(inputs, outputs)
        initial = keras.initializers.GlorotUniform(data.seed)
        # Every head starts from the same weights, those that it would have if it were alone; the last layer from zero.
        weights: list[np.ndarray] = []
        for number, pair in enumerate(sizes):
            kernel, bias = np.asarray(initial(pair), np.float32), np.zeros(pair[1], np.float32)
            if number == len(sizes) - 1:
                kernel = np.zeros(pair, np.float32)
            together = np.concatenate if number == 0 else np.stack
            weights += [
                together([kernel] * self.n_heads, axis=-1 if number == 0 else 0),
                together([bias] * self.n_heads),
            ]
        self.model.set_weights(weights)
        if data.outputs.kind == "numbers":
            loss = keras.losses.MeanSquaredError(reduction="sum")
        elif data.outputs.kind == "labels" or data.outputs.n == 2:
            loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum")
        elif fits.label_smoothing.any():
            loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")
        else:  # Of many classes, targets would take much memory.
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        # JAX compiles or is slow; for TensorFlow, compiling such small steps takes longer than it saves.
        self.model.compile(self._optimizer(), loss, weighted_metrics=[], jit_compile=BACKEND == "jax")
        self.model.optimizer.build(self.model.trainable_variables)  # Or TensorFlow would trace the first step twice.

    def _optimizer(self) -> Any:
        """Return the optimizer, its rate that of the options or one that falls to zero along a cosine."""
        from gap_ensemble.networks.keras_setup import keras

        options = self.data.options
        name = options.optimizer or ("adam" if options.hidden else "sgd")
        optimizer = keras.optimizers.get(name)
        if name == "sgd":
            optimizer = keras.optimizers.SGD(momentum=MOMENTUM, nesterov=True)
        rate = float(optimizer.learning_rate)
        if name == "sgd" and not options.hidden:
            if self.fits.by_curvature:
                optimizer, rate = self._divided_by_curvature()
            else:
                rate = stable_rate(self.data, self.fits.l2.max())
        if options.learning_rate is None:
            optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(rate, self.epochs * self.n_batches)
        else:
            optimizer.learning_rate = options.learning_rate
        return optimizer

    def _divided_by_curvature(self) -> tuple[Any, float]:
        """Return gradient descent that is divided by the curvature, and its rate."""
        from gap_ensemble.heads.curvature import Curvature, DividedByCurvature

        rows, outputs, pace = self.data.rows, self.data.outputs, self.fits.pace
        features, weight = _rows_of_curvature(self.data)
        flatness = _flatness(outputs)
        # Dropout adds to the second moments, and so does the penalty, whose second derivative is twice its factor.
        added = pace.dropout / (1 - pace.dropout) + 2 * flatness * self.fits.l2
        curvature = Curvature(features)
        # With less than what lies beyond the known directions, steps along others would be short.
        added = np.maximum(added, max(curvature.beyond, LEAST_ADDED))
        least = np.float32(added.min())
        vector, largest = np.full((rows.n_features, 1), rows.n_features**-0.5, np.float32), 1.0
        for _ in range(20):  # Of what the sample of the curvature has missed, by power iteration.
            moments = features.T @ (weight * (features @ vector)) / len(features) + least * vector
            vector = curvature.divided(moments, least)
            largest = max(float(np.linalg.norm(vector)), 1e-30)
            vector /= np.float32(largest)
        optimizer = DividedByCurvature(curvature, np.repeat(added, outputs.n_logits), momentum=MOMENTUM)
        return optimizer, pace.share_of_rate * flatness / max(largest, 1.0)

    def fit(self, on_progress: OnProgress) -> list[Fitted]:
        """Train, and return what there is of every head."""
        data = self.data
        batches = made_ahead(self._batches(np.random.default_rng(data.seed)))
        curves: list[Curves] = [{} for _ in range(self.n_heads)]
        best: list[Layers] = [[] for _ in range(self.n_heads)]
        waited = np.zeros(self.n_heads, int)
        least = np.full(self.n_heads, np.inf)
        for epoch in range(self.epochs):
            for batch in islice(batches, self.n_batches):
                self.model.train_on_batch(*batch)
            on_progress(self.n_heads)
            last = epoch == self.epochs - 1
            if not (last or self.fits.with_curves):
                continue
            weights = self.model.get_weights()
            scores = self._evaluate(weights)
            if not np.isfinite(scores["loss"]).all():
                raise UserError(self._diverged(epoch + 1))
            for head, curve in enumerate(curves):
                for name, values in scores.items():
                    if not name.startswith("stop_"):
                        curve.setdefault(name, []).append(float(values[head]))
            if self.patience is None:
                continue
            for head in range(self.n_heads):
                if epoch == 0 or (waited[head] < self.patience and scores["stop_loss"][head] < least[head]):
                    best[head] = self._layers_of(weights, head)
                    least[head], waited[head] = scores["stop_loss"][head], 0
                else:
                    waited[head] += 1
            if (waited >= self.patience).all():
                on_progress((self.epochs - epoch - 1) * self.n_heads)
                break
        batches.close()
        if self.patience is None:
            best = [self._layers_of(weights, head) for head in range(self.n_heads)]
        return [Fitted(best[head], curves[head]) for head in range(self.n_heads)]

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield inputs, targets and weights of all rows in every epoch, each time in another random order.

        Without hidden layers, dropout is in the inputs: what Keras's layer does, from a random byte a number, not a
        float32, which takes a third of the time.
        """
        pace = self.fits.pace
        n_dropped = 0 if self.data.options.hidden else min(round(256 * pace.dropout), 255)
        n_most = min(pace.batch_size, self.data.rows.n_rows)
        epochs = (self.data.rows.batches(pace.batch_size, rng) for _ in range(self.epochs))
        for features, numbers in chain.from_iterable(epochs):
            weight = self.weight[numbers] / len(numbers)
            if len(numbers) < n_most:  # Rows without a weight fill it up: for another shape, TensorFlow would compile.
                filling = numbers[:1].repeat(n_most - len(numbers))
                features = np.concatenate([features, features[:1].repeat(len(filling), axis=0)])
                numbers, weight = np.concatenate([numbers, filling]), np.pad(weight, [(0, len(filling)), (0, 0)])
            if n_dropped:
                kept = np.frombuffer(rng.bytes(features.size), np.uint8).reshape(features.shape) >= n_dropped
                features *= kept * np.float32(256 / (256 - n_dropped))
            yield features, self._targets(numbers), weight

    def _diverged(self, epoch: int) -> str:
        options = self.data.options
        if options.learning_rate is not None:
            return (
                f"params.yaml: train.learning_rate: with {options.learning_rate:g} the loss of the dense head is no "
                f"number after epoch {epoch}; try a tenth of it, or null for an automatic one"
            )
        if options.normalize is False:
            return (
                "params.yaml: train.normalize: with false the loss of the dense head is no number after epoch "
                f"{epoch}; set null, or give a small train.learning_rate"
            )
        return (
            f"params.yaml: train.learning_rate: with an automatic one the loss of the dense head is no number after "
            f"epoch {epoch}; give a small one, such as 1e-4, or set train.l2 to null"
        )

    def _targets(self, numbers: np.ndarray) -> np.ndarray:
        """Return what the heads should give, shape (n, n_heads, n_outputs), or (n, n_heads) class numbers."""
        y, outputs = self.data.y[numbers], self.data.outputs
        if outputs.kind == "numbers":
            return (y[:, None] - self.mean) / self.scale
        smoothing = self.fits.label_smoothing[:, None].astype(np.float32)
        if outputs.kind == "labels" or outputs.n == 2:
            return y.reshape(len(y), 1, -1) * (1 - smoothing) + smoothing / 2
        if smoothing.any():
            return (y[:, None] == np.arange(outputs.n))[:, None] * (1 - smoothing) + smoothing / outputs.n
        return np.repeat(y[:, None], self.n_heads, axis=1)

    def _layers_of(self, weights: list[np.ndarray], head: int) -> Layers:
        """Cut one head's kernels and biases out of the model's weights."""
        first, bias, *others = weights
        kernels = [np.split(first, self.n_heads, axis=1)[head], *(kernel[head] for kernel in others[::2])]
        biases = [np.split(bias, self.n_heads)[head], *(bias[head] for bias in others[1::2])]
        if self.data.outputs.kind == "numbers":
            kernels[-1] = kernels[-1] * self.scale[head].astype(np.float32)
            biases[-1] = (biases[-1] * self.scale[head] + self.mean[head]).astype(np.float32)
        factor, offset = self.fits.links[head].astype(np.float32)
        kernels[-1], biases[-1] = kernels[-1] * factor, biases[-1] * factor + offset
        return [(kernel.copy(), bias.copy()) for kernel, bias in zip(kernels, biases, strict=True)]

    @np.errstate(invalid="ignore", over="ignore")  # `fit` refuses a loss that is no number.
    def _evaluate(self, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return loss and accuracy of every head on the rows that train, validate and stop early, each (n_heads,).

        Without dropout and penalty, in NumPy, on blocks small enough for the outputs of all classes.
        """
        kinds = {"": self.trains, "val_": self.validates, "stop_": self.stops}
        values: dict[str, np.ndarray] = {}
        links = self.fits.links.astype(np.float32)
        n_at_once = max(1, BLOCK_BYTES // (4 * max(bias.size for bias in weights[1::2])))
        for all_features, all_numbers in self.data.rows.blocks():
            for start in range(0, len(all_numbers), n_at_once):
                features, numbers = (array[start : start + n_at_once] for array in (all_features, all_numbers))
                logits = stacked_logits(features, weights, self.n_heads)
                if self.data.outputs.kind == "numbers":
                    logits = logits * self.scale + self.mean
                logits = logits * links[:, :1] + links[:, 1:]
                for name, of_rows in row_scores(logits, self.data.y[numbers], self.data.outputs).items():
                    values.setdefault(name, np.zeros(self.trains.shape, np.float32))[numbers] = of_rows
        return {
            kind + name: (of_rows * chosen).sum(axis=0, dtype=np.float64) / np.maximum(chosen.sum(axis=0), 1)
            for name, of_rows in values.items()
            for kind, chosen in kinds.items()
        }


def made_ahead(batches: Iterator[Any]) -> Generator[Any, None, None]:
    """Yield the same, each made in another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _penalty_of_heads(l2: np.ndarray) -> Any:
    """Return a regularizer of Keras that adds the squared weights times `l2`, which broadcasts to a kernel's shape."""
    from gap_ensemble.networks.keras_setup import keras

    factors = l2.astype(np.float32)
    return lambda kernel: keras.ops.sum(keras.ops.square(kernel) * factors)


def stable_rate(data: TrainingData, l2: float) -> float:
    """Return the rate of gradient descent that is as large as the curvature of the loss allows.

    That is one over the largest eigenvalue of the Hessian, which is at most that of the features' second moments, over
    `FLATNESS`. It is found by power iteration on the first block of the standardised rows, the same for all heads. Of
    few rows, the penalty can be the steeper part: then the rate is lower. `l2` is the largest.
    """
    features, weight = _rows_of_curvature(data)
    vector = np.full((data.rows.n_features, 1), data.rows.n_features**-0.5, np.float32)
    largest = 0.0
    for _ in range(20):
        vector = features.T @ (weight * (features @ vector)) / len(features)
        largest = float(np.linalg.norm(vector))
        if largest == 0:
            break
        vector /= np.float32(largest)
    # Dropout adds to the second moments, as the intercept does.
    curvature = (largest + 2) / _flatness(data.outputs)
    # The second derivative of the penalty by a weight is twice its factor.
    return min(1 / curvature, MAX_STEP / (curvature + 2 * l2))


def _rows_of_curvature(data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows by which a rate is found: features (n, n_features), and how much each row counts, (n, 1)."""
    features, numbers = (array[:MAX_CURVATURE_ROWS] for array in next(data.rows.blocks()))
    if data.outputs.kind != "classes":
        return features, np.ones((len(numbers), 1), np.float32)
    of_class = class_weights(data.y[data.rows.chosen], data.outputs.n, data.options.class_weight)
    return features, of_class[data.y[numbers], None]


def _flatness(outputs: Outputs) -> float:
    """Return the inverse of the bound on the second derivative of a row's loss by its logit."""
    kind = "squared" if outputs.kind == "numbers" else "softmax" if outputs.n_logits > 1 else "sigmoid"
    return FLATNESS["sigmoid" if outputs.kind == "labels" else kind]


def stacked_logits(features: np.ndarray, weights: list[np.ndarray], n_heads: int) -> np.ndarray:
    """Return what the model of `SideBySide` returns without dropout, shape (n, n_heads, n_outputs), float32."""
    kernel, bias, *others = weights
    outputs = (features @ kernel + bias).reshape(len(features), n_heads, -1)
    for kernel, bias in zip(others[::2], others[1::2], strict=True):
        # (n_heads, n, n_in) @ (n_heads, n_in, n_out)
        outputs = (np.maximum(outputs, 0).transpose(1, 0, 2) @ kernel).transpose(1, 0, 2) + bias
    return outputs
