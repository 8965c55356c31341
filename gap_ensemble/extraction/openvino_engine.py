"""The engine of processors: OpenVINO."""

import gc
import queue
from typing import Any

import numpy as np

from gap_ensemble.extraction.devices import OPENVINO_NAMES
from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.networks.network import Network

# Pictures in work at once, however many cores there are: each holds its activations in memory.
MAX_STREAMS = 64


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
        Pictures that are computed side by side, `MAX_STREAMS` at most.

    Raises
    ------
    UserError
        If OpenVINO doesn't know one of the network's operations.
    """

    batch_size = 1

    def __init__(self, network: Network, precision: str, n_streams: int):
        from gap_ensemble.networks.openvino_setup import openvino

        n_streams = min(n_streams, MAX_STREAMS)
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
    from gap_ensemble.networks.openvino_setup import openvino

    if network.kind == "onnx":
        model = network.openvino_model()
        model.reshape(list(shape))
        return model
    graph = _graph(network, shape)
    try:
        model = openvino.convert_model(graph)
    except Exception as error:  # OpenVINO raises types of its own, with pages of text.
        if KeyboardInterrupt.__name__ in str(error):  # Ctrl-C came while it read the graph.
            raise KeyboardInterrupt from None
        raise UserError(
            f"params.yaml: {network.key}: OpenVINO, which computes on processors, can't take {network.title}: "
            f"{one_line(error, 160)}; take another network, or a GPU"
        ) from None
    # What nothing uses, as lengths of tokens in networks of attention, becomes an output, too.
    (features,) = (result for result in model.get_results() if "Identity:0" in result.get_output_tensor(0).names)
    return openvino.Model([features], model.get_parameters(), network.title)


def _graph(network: Any, shape: tuple[int, ...]) -> Any:
    """Return a network of Keras as a function of TensorFlow, in float32."""
    import tensorflow as tf

    from gap_ensemble.networks.keras_setup import dtype_policy

    with dtype_policy("float32"):
        _ = network.n_features  # Builds it, outside of the graph.
        graph = tf.function(network.forward, input_signature=[tf.TensorSpec(shape, tf.uint8)])
        return graph.get_concrete_function()
