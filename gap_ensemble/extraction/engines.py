"""Engines: what computes the forward pass of a network.

    tensorflow     the default; on a GPU if there is one
    onnxruntime    the same network, exported by Keras to ONNX; on the CPU

On the CPU a batch is computed in one thread, and as many batches side by side as there are cores: no thread waits for
another within a layer, and the bytes do not depend on the number of cores.
"""

import contextlib
import importlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.messages.errors import UserError, one_line

# Takes (n, size, size, 3) float32, preprocessed; returns (n, n_features) float32. May be called from several threads.
Forward = Callable[[np.ndarray], np.ndarray]

# Batches in work at once on a CPU, however many cores there are: each holds its activations in memory.
MAX_BATCHES = 32


class OutOfMemory(Exception):  # noqa: N818 - it names what happened
    """The device can't hold the activations of a batch."""


def tensorflow_engine(model: Any) -> Forward:
    """Return the forward pass of a Keras model as a TensorFlow graph.

    Its weights are constants there, so that TensorFlow folds batch normalisation into the convolutions.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec(model.input_shape, tf.float32)]
    graph = tf.function(lambda inputs: model(inputs, training=False), input_signature=signature)
    forward = convert_variables_to_constants_v2(graph.get_concrete_function())
    # A GPU computes one batch at a time, and holds the activations of one.
    slots = threading.Semaphore(1 if tf.config.list_physical_devices("GPU") else n_batches())

    def compute(inputs: np.ndarray) -> np.ndarray:
        try:
            with slots:
                return np.asarray(forward(tf.constant(inputs))[0], np.float32)
        except tf.errors.ResourceExhaustedError:
            raise OutOfMemory from None

    return compute


def onnx_engine(model: Any) -> Forward:
    """Return the forward pass of a Keras model in ONNX Runtime.

    Raises
    ------
    UserError
        If ONNX Runtime or the exporter is not installed, or they don't know one of the network's operations.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
        importlib.import_module("tf2onnx")
    except ImportError as error:
        raise UserError(
            f"params.yaml: extract.engine: onnxruntime: {error}; `pip install onnxruntime tf2onnx`, or set "
            "engine: tensorflow"
        ) from None
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model.predict_on_batch(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports what has run once.
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            model.export(file, format="onnx", verbose=False)
            session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # The exporter and the runtime raise types of their own.
        raise UserError(
            f"params.yaml: extract.engine: onnxruntime can't take {model.name}: {one_line(error, 120)}; set engine: "
            "tensorflow"
        ) from None
    name = session.get_inputs()[0].name
    slots = threading.Semaphore(n_batches())

    def compute(inputs: np.ndarray) -> np.ndarray:
        with slots:
            return np.asarray(session.run(None, {name: inputs})[0])

    return compute


ENGINES: dict[str, Callable[[Any], Forward]] = {"tensorflow": tensorflow_engine, "onnxruntime": onnx_engine}


def default_batch_size() -> int:
    """Return how many pictures make a batch: on a CPU few, because one thread computes it, and many are in work."""
    import tensorflow as tf

    return 64 if tf.config.list_physical_devices("GPU") else 4


def n_batches() -> int:
    """Return how many batches are computed side by side on the CPU."""
    return min(os.cpu_count() or 1, MAX_BATCHES)


def one_thread_a_batch() -> None:
    """Tell TensorFlow to compute a batch in one thread; before anything else is computed."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # It has begun to compute, in a process that does more than extract.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(n_batches())
