"""Networks that Keras computes: what they have in common, and their weights files."""

import contextlib
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gap_ensemble.networks.keras_setup import keras
from gap_ensemble.networks.network import Network
from gap_ensemble.storage.files import atomic_path, require_room

# What a fine-tuned network's weights file holds beside the weights: the MD5 of its training pictures, and their size.
FINE_TUNED_ON = "seen"
INPUT_SIZE = "input_size"


class KerasNetwork(Network):
    """A network of Keras: preprocessing, layers and pooling in one graph.

    Attributes
    ----------
    base : keras.Model
        What a weights file belongs to, and what `finetune` trains: from preprocessed pictures to the output before
        pooling, or after it where the pooling is a part of the network. Built when it is asked for.
    model : keras.Model
        The same with the pooling: (n, input_size, input_size, 3) float32, preprocessed, to (n, n_features) float32.
    """

    kind = "keras"
    libraries: tuple[str, ...] = ("keras", "tensorflow", "tensorflow-cpu")

    @abstractmethod
    def _build(self) -> Any:
        """Return the base, with its weights."""

    @abstractmethod
    def preprocess(self, pixels: Any) -> Any:
        """Turn pixels from 0 to 255 (float32 tensor) into what `model` takes. It may work in place on an array."""

    def _pool(self, base: Any) -> Any:
        """Return the base followed by the entry's pooling."""
        return base

    @cached_property
    def base(self) -> Any:
        """The network as its weights file knows it."""
        keras.src.utils.naming.reset_uids()  # Layers without names of their own are counted, and from one.
        return self._build()

    @cached_property
    def model(self) -> Any:
        """The base and the pooling."""
        return self._pool(self.base)

    @property
    def n_features(self) -> int:
        """Features of one picture."""
        return int(self.model.output_shape[-1])

    def forward(self, pixels: Any) -> Any:
        """Compute the features of pictures; made to be compiled, once the network is built.

        Parameters
        ----------
        pixels : tensor of shape (n, input_size, input_size, 3), uint8 or float32
            Red, green and blue, 0 to 255.

        Returns
        -------
        tensor of shape (n, n_features), float32
        """
        prepared = self.preprocess(keras.ops.cast(pixels, "float32"))
        return keras.ops.cast(self.model(prepared, training=False), "float32")

    def save_weights(self, path: Path, fine_tuned_on: set[str]) -> None:
        """Write the weights, the MD5 of every picture whose label they know, and the size of the pictures.

        Parameters
        ----------
        path : Path
            The file; its name ends in `.weights.h5`.
        fine_tuned_on : set of str
            MD5 in hexadecimal.
        """
        require_room(path, 4 * self.base.count_params() + 32 * len(fine_tuned_on))
        with atomic_path(path) as partial:
            with_suffix = partial.with_suffix(".weights.h5")  # Keras wants its own suffix on what it writes.
            try:
                self.base.save_weights(with_suffix)
                with_suffix.rename(partial)
            finally:
                with_suffix.unlink(missing_ok=True)
            with h5py.File(partial, "a") as file:
                file[FINE_TUNED_ON] = np.array(sorted(fine_tuned_on), "S32")
                file.attrs[INPUT_SIZE] = self.input_size


def read_fine_tuned_on(path: Path) -> frozenset[str]:
    """Return the MD5 of the pictures whose labels a weights file knows; none, unless `save_weights` wrote it."""
    with contextlib.suppress(OSError), h5py.File(path) as file:
        if FINE_TUNED_ON in file:
            return frozenset(value.decode() for value in file[FINE_TUNED_ON][:])
    return frozenset()


def read_input_size(path: Path) -> int | None:
    """Return the size of the pictures for which a weights file was fine-tuned; None, unless `save_weights` wrote it."""
    with contextlib.suppress(OSError), h5py.File(path) as file:
        if INPUT_SIZE in file.attrs:
            return int(file.attrs[INPUT_SIZE])
    return None
