"""What the stages still use of the networks as they were before the seam in `network.py`."""

import hashlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import PIL

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
        self.seen = set(self.network.fine_tuned_on)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

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
