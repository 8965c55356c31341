"""The curvature of the loss of a linear head, and the optimizer that takes it into account.

The second derivative of a row's loss by its logits is bounded (D. Böhning, "Multinomial logistic regression algorithm",
1992). So the curvature of the mean loss by the weights is at most that of the second moments of the features, over a
constant. Features of networks have much in common: their second moments reach from hundreds to thousandths, and plain
gradient descent, at a rate that is stable along the steepest direction, hardly moves along the others. Gradients that
are divided by the bound move equally fast along all of them.
"""

from typing import Any

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from gap_ensemble.networks.keras_setup import keras

# Of more rows, so many stand for all: further directions have little in common with other rows. And of their directions
# the steepest count.
MAX_ROWS, MAX_DIRECTIONS = 1024, 256


class Curvature:
    """The second moments of features, as a sample of rows has them, to be divided by.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        Standardised rows, in random order.

    Attributes
    ----------
    moments : ndarray of shape (n_directions,), float32
        Eigenvalues of the second moments.
    directions : ndarray of shape (n_directions, n_features), float32
        Their eigenvectors, a row each.
    beyond : float
        What the moments along other directions hardly exceed: that of the last of these, or 0 if there are no others.
    """

    def __init__(self, features: np.ndarray):
        sample = features[:MAX_ROWS]
        n = len(sample)
        steepest = (max(0, n - MAX_DIRECTIONS), n - 1)
        with threadpool_limits(1):  # Two threads save a tenth of a second, and lose many where other work is running.
            moments, vectors = scipy.linalg.eigh(sample @ sample.T / n, driver="evr", subset_by_index=steepest)
        kept = moments > 1e-5 * max(moments[-1], 1e-30)
        self.moments = moments[kept].astype(np.float32)
        self.beyond = float(self.moments[0]) if n > MAX_DIRECTIONS else 0.0
        along = vectors[:, kept].T @ sample / np.sqrt(len(sample) * moments[kept])[:, None]
        self.directions = along.astype(np.float32)

    def factors(self, added: np.ndarray) -> np.ndarray:
        """Return what `divided` multiplies directions by, shape (n_directions, n), for what is added to the moments."""
        moments = self.moments[:, None]
        return (moments / (added * (moments + added))).astype(np.float32)

    def divided(self, gradient: np.ndarray, added: np.float32) -> np.ndarray:
        """Return a gradient (n_features, n), divided by the second moments plus `added` in all directions."""
        along = self.factors(np.array([added])) * (self.directions @ gradient)
        return gradient / added - self.directions.T @ along


class DividedByCurvature(keras.optimizers.SGD):  # type: ignore[misc]
    """Gradient descent with Nesterov's momentum; the gradient of one kernel is divided by its curvature.

    Parameters
    ----------
    curvature : Curvature
        Of the inputs of the kernel.
    added : ndarray of shape (n_columns,)
        What is added to the moments, for every column of the kernel.
    **options
        Those of SGD.
    """

    def __init__(self, curvature: Curvature, added: np.ndarray, **options: Any):
        super().__init__(nesterov=True, **options)
        self.of_kernel = (len(curvature.directions[0]), len(added))
        self.directions = keras.ops.convert_to_tensor(curvature.directions)
        self.factors = keras.ops.convert_to_tensor(curvature.factors(added))
        self.added = keras.ops.convert_to_tensor(added.astype(np.float32))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable by its gradient."""
        if tuple(variable.shape) == self.of_kernel:
            along = keras.ops.matmul(self.directions, gradient) * self.factors
            gradient = gradient / self.added - keras.ops.matmul(keras.ops.transpose(self.directions), along)
        super().update_step(gradient, variable, learning_rate)
