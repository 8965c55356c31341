"""Presets of KerasHub."""

from typing import Any

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_network import KerasNetwork
from gap_ensemble.params import Backbone


class PresetNetwork(KerasNetwork):
    """A network of KerasHub."""

    def __init__(self, key: str, entry: Backbone):
        raise UserError(f"params.yaml: {key}: presets can't be read yet: {entry.preset}")

    def _identity(self) -> object:
        raise NotImplementedError

    def _build(self) -> Any:
        raise NotImplementedError

    def preprocess(self, pixels: Any) -> Any:
        """Turn pixels into what the network takes."""
        raise NotImplementedError
