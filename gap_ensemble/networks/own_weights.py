"""Weights files that a user brings: where they are, and what is said when they do not fit."""

import re
import warnings
from pathlib import Path
from typing import Any

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.paths import WEIGHTS, in_weights


def find_file(key: str, name: str, accepted: str) -> Path:
    """Return the path of a file or folder that an entry names: relative to `weights/`, or absolute.

    Parameters
    ----------
    key : str
        The parameter that names it, such as `backbones.Xception.weights`.
    name : str
        Its value.
    accepted : str
        What may stand there, for the message.

    Raises
    ------
    UserError
        If there is nothing.
    """
    path = in_weights(name)
    if not path.exists():
        raise UserError(
            f"params.yaml: {key}: {path}: no such file; accepted: {accepted}, its path relative to {WEIGHTS}/ or "
            "absolute"
        )
    return path


def load_file(model: Any, file: Path, key: str, network: str) -> None:
    """Load a weights file into a Keras model.

    Parameters
    ----------
    model : keras.Model
        The network without its classifier.
    file : Path
        What `save_weights()` wrote, `.weights.h5` or `.h5`.
    key : str
        The parameter that names it.
    network : str
        The network's name, for messages.

    Raises
    ------
    UserError
        If the file is of another network, of a part of it, or no weights file.
    """
    try:
        if not file.is_file():
            raise ValueError("it is a folder")
        if file.suffix != ".h5":
            raise ValueError(f"its suffix is {file.suffix!r} instead of .weights.h5 or .h5")
        with warnings.catch_warnings():
            # Keras warns once for every layer that a file lacks, hundreds of lines, before it raises.
            warnings.simplefilter("ignore")
            model.load_weights(file)
    except Exception as error:  # Keras and h5py raise many types here; all mean that the file is not this network's.
        raise UserError(
            f"{file}: does not fit {network} ({key}): {difference(error)}; accepted: a whole file of this network's "
            "weights without its top, as save_weights() writes it"
        ) from None


def difference(error: Exception) -> str:
    """Say on one line how a file differs from the network: the layer, and both shapes or numbers of arrays."""
    text = " ".join(str(error).split())
    layer = re.search(r"<\w+ name=([^,>]+)", text)
    shapes = re.search(r"variable\.shape=(\([^)]*\)).*?value\.shape=(\([^)]*\))", text)
    if layer and shapes:
        return f"layer {layer[1]} has weights of shape {shapes[1]}, the file {shapes[2]}"
    counts = re.search(r"Layer '([^']+)' expected (\d+) variables, but received (\d+)", text)
    if counts:
        return f"layer {counts[1]} has {counts[2]} arrays of weights, the file {counts[3]}"
    return one_line(error, 200)
