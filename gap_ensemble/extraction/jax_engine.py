"""The engine of NVIDIA GPUs: Keras on JAX."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.messages.errors import UserError

# Pictures at a time, if `extract.batch_size` says nothing.
BATCH_SIZE = 64
# Keras's policy for each precision: variables and sums stay float32.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class JaxEngine:
    """Keras on JAX, on a GPU.

    The pictures travel to the device as bytes. Other batches are decoded while one is sent and computed.

    Parameters
    ----------
    network : Network
        What it computes.
    precision : {"float32", "bfloat16", "float16"}
        Of convolutions and products of matrices. float32 means all of its digits, not the TF32 of newer GPUs.
    batch_size : int
        Pictures at a time.
    """

    def __init__(self, network: Any, precision: str, batch_size: int):
        import jax

        from gap_ensemble.networks.keras_setup import dtype_policy, is_out_of_memory, keras

        self.input_size, self.batch_size, self.title = network.input_size, batch_size, network.title
        self.n_threads = usable_cores() + 2  # One batch is decoded on every core, one is computed, one waits.
        self.most = batch_size  # Pictures that fit into the device's memory at a time.
        jax.config.update("jax_default_matmul_precision", "highest")
        if not jax.config.jax_compilation_cache_dir:
            # A program that was compiled once is taken again: faster, and kernels that were chosen stay.
            jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache/gap-ensemble/jax"))
        with dtype_policy(POLICIES[precision]):
            _ = network.n_features  # Builds it.
        variables = network.model.variables

        def forward(weights: Any, pixels: Any) -> Any:
            # As arguments: what is a part of the program would be computed with while it is compiled.
            with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
                return network.forward(pixels)

        self.weights = [variable.value for variable in variables]
        self.forward, self.is_out_of_memory = jax.jit(forward), is_out_of_memory
        # A GPU holds the activations of one batch. And XLA chooses kernels by measuring them, while nothing else runs.
        self.lock = threading.Lock()
        self(np.zeros((batch_size, self.input_size, self.input_size, 3), np.uint8))  # Compiles it.

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Turn a batch into features; one that does not fit into the memory is halved, and so are all after it.

        Raises
        ------
        UserError
            If not even one picture fits.
        """
        with self.lock:
            while True:
                size = self.most
                try:
                    parts = [self._compute(pictures[i : i + size]) for i in range(0, len(pictures), size)]
                    return np.concatenate(parts)
                except Exception as error:  # JAX raises a type of its own for all that a device does not do.
                    if not self.is_out_of_memory(error):
                        raise
                    if size == 1:
                        raise UserError(
                            f"{self.title}: out of memory with one picture of {self.input_size} pixels; free the "
                            "device, or set a smaller input_size"
                        ) from None
                    self.most = size // 2
                    print(
                        f"WARNING: {self.title}: out of memory with {size} pictures at a time; going on with "
                        f"{self.most} (extract.batch_size says how many)"
                    )

    def _compute(self, pictures: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(self.weights, pictures), np.float32)
