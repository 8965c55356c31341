"""Engines: what computes the forward pass of a network, one a kind of device.

    OpenVINO      on a processor: a picture in a thread, as many side by side as there are cores
    TensorFlow    on a GPU: a batch at a time, in mixed precision

Both get pixels (uint8): what is done with them before the first layer is a part of the graph. Both compute batches of
one fixed size, so that a row of features depends on its picture alone.
"""

import gc
import queue
import threading
from typing import Any, Protocol

import numpy as np

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import OPENVINO_NAMES, Device
from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.networks.network import Network

# Pictures in work at once on a processor, however many cores it has: each holds its activations in memory.
MAX_STREAMS = 64
# Pictures at a time on a GPU.
GPU_BATCH = 64
# Keras's policy for each precision: variables and sums stay float32.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Engine(Protocol):
    """A network, ready to compute. May be called from several threads.

    Attributes
    ----------
    input_size : int
        Side of the square that it takes, in pixels.
    batch_size : int
        Pictures that it takes at a time.
    n_threads : int
        How many threads keep it busy, if each decodes a batch and then calls it.
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
        return OpenVinoEngine(network, device.precision, min(usable_cores(), MAX_STREAMS))
    return TensorFlowEngine(network, device.precision, batch_size or GPU_BATCH)


class OpenVinoEngine:
    """OpenVINO on the processor.

    Every picture is computed by one thread alone. No thread waits for another inside of a layer, and the order in which
    numbers are added does not depend on how many cores there are: neither do the bytes.

    Parameters
    ----------
    network : Network
        What it computes.
    precision : {"float32", "bfloat16", "float16"}
        Forced: by itself, OpenVINO takes bfloat16 wherever the processor has units for it.
    n_streams : int
        Pictures that are computed side by side.

    Raises
    ------
    UserError
        If OpenVINO doesn't know one of the network's operations.
    """

    batch_size = 1

    def __init__(self, network: Network, precision: str, n_streams: int):
        import openvino

        self.input_size = network.input_size
        self.n_threads = 2 * n_streams  # While one picture of a stream is computed, its next one is decoded.
        shape = (1, self.input_size, self.input_size, 3)
        options = {
            "INFERENCE_PRECISION_HINT": OPENVINO_NAMES[precision][0],
            "NUM_STREAMS": n_streams,
            "INFERENCE_NUM_THREADS": n_streams,
            "ENABLE_CPU_PINNING": False,  # Other processes on these cores would have to wait.
        }
        model = _openvino_model(network, shape)
        self.compiled = openvino.Core().compile_model(model, "CPU", options)
        del model
        gc.collect()
        # A request computes one picture at a time. Its arrays are looked up here, once: when several threads look them
        # up at the same time, the first time, OpenVINO 2026.4 waits for ever.
        self.requests: queue.SimpleQueue[tuple[Any, np.ndarray, np.ndarray]] = queue.SimpleQueue()
        for _ in range(n_streams):
            request = self.compiled.create_infer_request()
            self.requests.put((request, request.get_input_tensor().data, request.get_output_tensor().data))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Turn one picture into features."""
        item = request, inputs, outputs = self.requests.get()
        try:
            inputs[:] = pictures
            request.start_async()
            request.wait()
            return np.array(outputs, np.float32)
        finally:
            self.requests.put(item)


def _openvino_model(network: Any, shape: tuple[int, ...]) -> Any:
    """Return a network as a model of OpenVINO for pictures of this shape, preprocessing included."""
    import openvino

    if network.kind == "onnx":
        model = network.openvino_model()
        model.reshape(list(shape))
        return model
    graph = _graph(network, shape, "float32")
    try:
        model = openvino.convert_model(graph)
    except Exception as error:  # OpenVINO raises types of its own, with pages of text.
        raise UserError(
            f"params.yaml: {network.key}: OpenVINO, which computes on processors, can't take {network.title}: "
            f"{one_line(error, 160)}; take another network, or a GPU"
        ) from None
    # What nothing uses, as lengths of tokens in networks of attention, becomes an output, too.
    (features,) = (result for result in model.get_results() if "Identity:0" in result.get_output_tensor(0).names)
    return openvino.Model([features], model.get_parameters(), network.title)


def _graph(network: Any, shape: tuple[int | None, ...], policy: str) -> Any:
    """Return a network of Keras, built under a policy of precision, as a function of TensorFlow."""
    import tensorflow as tf

    from gap_ensemble.networks.keras_setup import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        _ = network.n_features  # Builds it, outside of the graph.
        # No XLA: on a GPU it chooses its kernels by measuring them, so that the bytes would differ from run to run.
        graph = tf.function(network.forward, input_signature=[tf.TensorSpec(shape, tf.uint8)])
        return graph.get_concrete_function()
    finally:
        keras.config.set_dtype_policy(before)


class TensorFlowEngine:
    """TensorFlow on a GPU, or wherever it computes.

    The pictures travel to the device as bytes. Decoding goes on in other threads meanwhile.

    Parameters
    ----------
    network : Network
        What it computes.
    precision : {"float32", "bfloat16", "float16"}
        Of convolutions and products of matrices. float32 means all of its digits, not the TF32 of newer GPUs.
    batch_size : int
        Pictures at a time.
    """

    n_threads = 3  # One batch is computed, two are decoded.

    def __init__(self, network: Any, precision: str, batch_size: int):
        import tensorflow as tf

        from gap_ensemble.networks.keras_setup import make_deterministic

        make_deterministic(0)  # The seed is of no use here; TensorFlow takes deterministic operations only with one.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.input_size, self.batch_size, self.title = network.input_size, batch_size, network.title
        self.most = batch_size  # Pictures that fit into the device's memory at a time.
        shape = (None, self.input_size, self.input_size, 3)
        self.forward = _graph(network, shape, POLICIES[precision])
        self.out_of_memory = tf.errors.ResourceExhaustedError
        self.lock = threading.Lock()  # A GPU holds the activations of one batch.

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
                except self.out_of_memory:
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
        import tensorflow as tf

        return np.asarray(self.forward(tf.constant(pictures)), np.float32)
