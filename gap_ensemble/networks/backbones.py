"""What the stages still use of the networks as they were before the seam in `network.py`."""

import hashlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import PIL

from gap_ensemble.extraction.engines import ENGINES, OutOfMemory
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_network import read_fine_tuned_on
from gap_ensemble.networks.keras_setup import keras, make_deterministic
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone, Params
from gap_ensemble.paths import TUNED, WEIGHTS

__all__ = ["Network", "check_entries", "make_deterministic", "read_seen", "save_tuned", "tuned_weights"]


class Network:
    """What `open_network` returns, together with the engine that computes it; goes when extraction has its own."""

    def __init__(self, name: str, entry: Backbone, section: str = "backbones"):
        self.network = open_network(name, entry, section)
        self.input_size = self.network.input_size
        self.max_batch = sys.maxsize
        self.seen = set(self.network.fine_tuned_on)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def compile(self, engine: str = "tensorflow") -> None:
        """Make the network ready to compute; `engine` is one of `ENGINES`."""
        if self.network.kind == "onnx":
            import openvino

            options = {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = openvino.Core().compile_model(self.network.openvino_model(), "CPU", options)  # type: ignore[attr-defined]
            self.forward: Any = lambda inputs: np.array(compiled.create_infer_request().infer([inputs])[0])
        else:
            self.forward = ENGINES[engine](self.model)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Turn pictures into features; `compile` comes first. May be called from several threads.

        A batch that does not fit into the device's memory is halved until it does, and so are all that come after it:
        the features are the same but for the rounding of the last digits.

        Parameters
        ----------
        pictures : ndarray of shape (n, input_size, input_size, 3), uint8
            Red, green and blue, 0 to 255.

        Returns
        -------
        ndarray of shape (n, n_features), float32

        Raises
        ------
        UserError
            If not even one picture fits.
        """
        # `preprocess_input` works in place on floats, so it gets a copy of its own.
        inputs = pictures
        if self.network.kind == "keras":
            inputs = self.preprocess(pictures.astype(np.float32))
        while True:
            size = min(self.max_batch, len(inputs))
            try:
                return np.concatenate([self.forward(inputs[i : i + size]) for i in range(0, len(inputs), size)])
            except OutOfMemory:
                if size == 1:
                    raise UserError(
                        f"{self.title.lower()}: out of memory with one picture of {self.input_size} pixels; free the "
                        "device, or set a smaller input_size"
                    ) from None
                if size // 2 < self.max_batch:  # Else another thread has halved it already.
                    self.max_batch = size // 2
                    print(
                        f"WARNING: {self.title.lower()}: out of memory with {size} pictures at a time; going on with "
                        f"{self.max_batch} (extract.batch_size says how many)"
                    )

    def fingerprint(self, modules: list[ModuleType], *values: bytes) -> str:
        """Identify everything that a result depends on: network, weights, the code of modules, versions, and values."""
        import tensorflow as tf

        digest = hashlib.sha256(self.network.fingerprint().encode())
        code = [inspect.getsource(module) for module in modules]
        versions = [keras.__version__, tf.__version__, np.__version__, PIL.__version__, h5py.__version__]
        digest.update(repr([code, versions]).encode())
        for value in values:
            digest.update(hashlib.sha256(value).digest())
        return digest.hexdigest()


def check_entries(params: Params) -> None:
    """Check the network's name, its files, its arguments and its input size, of every entry, before any of them runs.

    Raises
    ------
    UserError
        With a line for every entry in which something is wrong.
    """
    problems: list[str] = []
    to_come: dict[Path, str] = {}  # The network of each weights file that `finetune` has yet to write.
    for section, entries in (("finetune", params.finetune), ("backbones", params.backbones)):
        for name, entry in entries.items():
            weights, title = WEIGHTS / (entry.weights or ""), entry.backbone or name
            if weights in to_come:
                # The file may not be there yet, so the network is checked without it.
                entry = entry.model_copy(update={"weights": "random"})
                if to_come[weights] != title:
                    problems.append(
                        f"params.yaml: {section}.{name}: {title} can't take {weights}, which will be "
                        f"{to_come[weights]}'s; set backbone: {to_come[weights]}"
                    )
            try:
                network = open_network(name, entry, section)
                if entry.input_size is not None and entry.source == "application":
                    network = open_network(name, entry.model_copy(update={"weights": "random"}), section)
                    _ = network.n_features  # Builds it, which refuses a picture that is too small.
            except UserError as error:
                problems += error.problems
            if section == "finetune":
                to_come[tuned_weights(name)] = title
    if problems:
        raise UserError(problems)


def tuned_weights(name: str) -> Path:
    """Return the weights file that the entry `name` of `finetune` writes."""
    return TUNED / f"{name}.weights.h5"


def save_tuned(network: Any, path: Path, seen: set[str]) -> None:
    """Write a fine-tuned network's weights, and the MD5 of every picture whose label they know."""
    network.save_weights(path, seen)


def read_seen(path: Path) -> set[str]:
    """Return the MD5 of the pictures whose labels a weights file knows."""
    return set(read_fine_tuned_on(path))
