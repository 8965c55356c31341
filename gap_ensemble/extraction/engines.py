"""Engines: what computes the forward pass of a network, one a kind of device.

    OpenVINO      on a processor: a picture in a thread, as many side by side as there are cores
    JAX           on a GPU: a batch at a time, in mixed precision

Both get pixels (uint8): what is done with them before the first layer is a part of the graph. Both compute batches of
one fixed size, so that a row of features depends on its picture alone.
"""

from typing import Protocol

import numpy as np

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import Device
from gap_ensemble.extraction.jax_engine import BATCH_SIZE, JaxEngine
from gap_ensemble.extraction.openvino_engine import OpenVinoEngine
from gap_ensemble.networks.network import Network


class Engine(Protocol):
    """A network, ready to compute. May be called from several threads.

    Attributes
    ----------
    input_size : int
        Side of the square that it takes, in pixels.
    batch_size : int
        Pictures that it takes at a time.
    n_threads : int
        How many threads keep it busy, if each decodes a batch, or waits for it, and then calls it.
    """

    input_size: int
    batch_size: int
    n_threads: int

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Turn pictures (batch_size, input_size, input_size, 3), uint8, into features (batch_size, n_features)."""


def open_engine(network: Network, device: Device, batch_size: int | None = None) -> Engine:
    """Load a network and make it ready to compute on a device.

    Parameters
    ----------
    network : Network
        Not built yet.
    device : Device
        Says which engine, and in which precision.
    batch_size : int, optional
        Pictures at a time on a GPU.
    """
    if device.engine == "openvino":
        return OpenVinoEngine(network, device.precision, usable_cores())
    return JaxEngine(network, device.precision, batch_size or BATCH_SIZE)
