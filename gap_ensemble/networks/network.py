"""The seam of networks: what every source of them offers, and which source an entry of params.yaml names.

    network = open_network("Xception", params.backbones["Xception"])
    network.input_size, network.fingerprint()          # cheap: nothing is built yet
    network.n_features                                 # this builds the network, once

| source | module | weights |
| --- | --- | --- |
| `keras.applications` by its name | `keras_applications.py` | imagenet, random, or a file |
| `SmallConvNet`, `EfficientNetLite0` to `4` | `small_convnet.py`, `efficientnet_lite.py` | random, or a file |
| a preset of KerasHub | `presets.py` | a folder, or a name where there is a connection |
| an ONNX file | `onnx_file.py` | in the file |

There are two kinds of network for an engine. A `KerasNetwork` (`keras_network.py`) computes with Keras: OpenVINO
gets it as a graph of TensorFlow, JAX compiles it. An `OnnxNetwork` gives a model of OpenVINO. Both take pixels (uint8)
and give features (float32): preprocessing and pooling are a part of the network.
"""

import ast
import hashlib
import importlib.metadata
import inspect
import sys
import textwrap
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

from gap_ensemble.params import Backbone


class Network(ABC):
    """One backbone, which turns pictures into features.

    Parameters
    ----------
    key : str
        Where params.yaml names it, such as `backbones.Xception`; for error messages.
    entry : Backbone
        Its values there.

    Attributes
    ----------
    kind : {"keras", "onnx"}
        What an engine gets: `KerasNetwork.forward`, or `OnnxNetwork.openvino_model`.
    title : str
        The network's own name, for messages and feature files.
    input_size : int
        Side of the square that it takes, in pixels.
    fine_tuned_on : frozenset of str
        MD5 of the pictures whose labels the weights know, as the file of a fine-tuned network says.

    Raises
    ------
    UserError
        If the entry names no network, or its files are not there. What is wrong with the content of a file is found
        when the network is built.
    """

    kind: Literal["keras", "onnx"]
    title: str
    input_size: int
    fine_tuned_on: frozenset[str] = frozenset()
    # Libraries whose version may change features, by the names of their distributions.
    libraries: tuple[str, ...] = ()
    # Modules whose code may change features, beside that of the class.
    modules: frozenset[str] = frozenset()

    def __init__(self, key: str, entry: Backbone):
        self.key, self.entry = key, entry

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Features of one picture."""

    @abstractmethod
    def _identity(self) -> object:
        """Return what tells this network from others of its source: names, sizes, digests of files; it has a repr."""

    def fingerprint(self) -> str:
        """Identify what the features depend on, but for the pictures and the engine.

        That is: the bytes of the weights, preprocessing, pooling, this room's code, and the versions of libraries. The
        network is not built for it.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        modules = {cls.__module__ for cls in type(self).__mro__ if cls.__module__.startswith("gap_ensemble.")}
        modules |= self.modules
        code = [code_of(inspect.getsource(sys.modules[name])) for name in sorted(modules)]
        versions = {name: _version(name) for name in self.libraries}
        return hashlib.sha256(repr([self._identity(), versions, code]).encode()).hexdigest()


def open_network(name: str, entry: Backbone, section: str = "backbones") -> Network:
    """Return the network that an entry of params.yaml names, not built yet.

    Parameters
    ----------
    name : str
        The entry's name, which is the network's own unless the entry says `backbone`.
    entry : Backbone
        Its values.
    section : str
        The section of params.yaml in which the entry stands.

    Raises
    ------
    UserError
        As `Network` says.
    """
    key = f"{section}.{name}"
    # A source is imported when it is named: ONNX files need no Keras, and only presets need KerasHub.
    if entry.source == "onnx":
        from gap_ensemble.networks.onnx_file import OnnxNetwork

        return OnnxNetwork(key, entry)
    if entry.source == "preset":
        from gap_ensemble.networks.presets import PresetNetwork

        return PresetNetwork(key, entry)
    from gap_ensemble.networks.keras_applications import Application

    return Application(key, entry, entry.backbone or name)


def digest_of(path: Path) -> Any:
    """Return the SHA-256 of a file, or of every file in a folder, by its path there."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [(file.relative_to(path).as_posix(), digest_of(file)) for file in files]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_of(source: str) -> str:
    """Return what Python reads of a source: a better comment or docstring computes no picture again."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
