"""What heads are trained on: rows of features, in memory or in a file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from gap_ensemble.storage.hdf5 import block_slices

# Features are kept in memory if they and the heads need no more; else they are read from the file again in every epoch.
MEMORY_BYTES = 2**30

Features = Any  # h5py.Dataset or ndarray, of shape (n_rows, n_features), float32


class Rows:
    """Some rows of a feature file, read in shuffled blocks.

    Parameters
    ----------
    features : h5py.Dataset or ndarray of shape (n_rows, n_columns), float32
        All rows.
    chosen : ndarray of shape (n_rows,), bool
        The rows that count.
    columns : slice
        The columns that count.
    mean_and_scale : tuple of ndarray of shape (n_features,), optional
        Every block is standardised by them as it is read.
    """

    def __init__(
        self,
        features: Features,
        chosen: np.ndarray,
        columns: slice,
        mean_and_scale: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        self.features, self.chosen, self.columns, self._mean_and_scale = features, chosen, columns, mean_and_scale
        self.n_rows, self.n_features = int(chosen.sum()), columns.stop - columns.start

    def blocks(self, rng: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield features (n, n_features) and row numbers (n,) of all chosen rows; with `rng`, in random order.

        Blocks come in random order, and rows in random order within a block. That is as good as a full shuffle,
        because the ensemble stage has shuffled the file.
        """
        slices = list(block_slices(len(self.chosen), self.features.shape[1] * 4))
        for index in rng.permutation(len(slices)) if rng else range(len(slices)):
            block = slices[index]
            inside = np.flatnonzero(self.chosen[block])
            if rng:
                inside = rng.permutation(inside)
            if len(inside):
                features = self.features[block, self.columns]
                if rng or len(inside) < len(features):
                    features = features[inside]
                yield self._scaled(features), block.start + inside

    def batches(self, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield features (n, n_features) and row numbers (n,) of all chosen rows once, in random order."""
        if isinstance(self.features, np.ndarray):
            order = rng.permutation(np.flatnonzero(self.chosen))
            for start in range(0, len(order), batch_size):
                numbers = order[start : start + batch_size]
                yield self._scaled(self.features[numbers, self.columns]), numbers
            return
        left = (np.empty((0, self.n_features), np.float32), np.empty(0, np.int64))
        for block in self.blocks(rng):
            features, numbers = (np.concatenate(parts) for parts in zip(left, block, strict=True))
            n_whole = len(numbers) - len(numbers) % batch_size
            for start in range(0, n_whole, batch_size):
                yield features[start : start + batch_size], numbers[start : start + batch_size]
            left = features[n_whole:], numbers[n_whole:]
        if len(left[1]):
            yield left

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return features if self._mean_and_scale is None else standardise(features, *self._mean_and_scale)

    def only(self, chosen: np.ndarray, n_most: int) -> "Rows":
        """Return those rows alone, shape (n_rows,), bool; of more than `n_most`, the first."""
        fewer = chosen & (np.cumsum(chosen) <= n_most)
        return Rows(self.features, fewer, self.columns, self._mean_and_scale)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all chosen rows in memory: features (n_rows, n_features) and row numbers (n_rows,)."""
        features, numbers = zip(*self.blocks(), strict=True)
        return np.concatenate(features), np.concatenate(numbers)

    def mean_and_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of every feature, shape (n_features,), read a block at a time.

        A feature that never changes has the deviation one: it says nothing, and divided by zero it would shout.
        """
        scaler = StandardScaler()
        for features, _ in self.blocks():
            scaler.partial_fit(features)
        return scaler.mean_, scaler.scale_

    def standardised(self, mean: np.ndarray, scale: np.ndarray, bytes_of_heads: int = 0) -> "Rows":
        """Return the same rows with `(features - mean) / scale`: in memory if they fit, else block by block.

        Parameters
        ----------
        mean, scale : ndarray of shape (n_features,)
        bytes_of_heads : int
            What the heads need beside them while they are trained.
        """
        if len(self.features) * self.n_features * 4 + bytes_of_heads > MEMORY_BYTES:
            return Rows(self.features, self.chosen, self.columns, (mean, scale))
        features = np.empty((len(self.features), self.n_features), np.float32)
        for block in block_slices(len(features), self.n_features * 8):
            features[block] = standardise(self.features[block, self.columns], mean, scale)
        return Rows(features, self.chosen, slice(0, self.n_features))


def standardise(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return `(features - mean) / scale`, float32."""
    scaled = features - mean.astype(np.float32)
    scaled /= scale.astype(np.float32)
    return scaled
