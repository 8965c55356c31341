"""The former name of `keras_setup`."""

from gap_ensemble.networks.keras_setup import keras

__all__ = ["keras"]
