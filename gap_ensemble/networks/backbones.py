"""Networks of `keras.applications` (and `SmallConvNet`) by their names: input size, preprocessing, weights.

Nothing is listed by hand: a network's input size is that of its published classifier, and its preprocessing is the
`preprocess_input` of the module that defines it.
"""

import difflib
import hashlib
import inspect
import os
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import PIL

from gap_ensemble.extraction.engines import ENGINES, OutOfMemory
from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.networks.quiet_keras import keras
from gap_ensemble.networks.small_convnet import SmallConvNet
from gap_ensemble.params import Backbone, Params
from gap_ensemble.paths import TUNED, WEIGHTS
from gap_ensemble.storage.files import atomic_path, require_room

# MobileNetV3's classifier takes any size; 224 is the one it was trained on.
SIZE_OF_ANY = 224


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and Keras, and on TensorFlow switch on deterministic ops and GPU memory growth."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.experimental.enable_op_determinism()


class Network:
    """One backbone, ready to turn pictures into features.

    Parameters
    ----------
    name : str
        The entry's name in `backbones` of params.yaml.
    entry : Backbone
        Its values.
    section : str
        The section of params.yaml in which the entry stands, for error messages.

    Attributes
    ----------
    input_size : int
        Side of the square it takes, in pixels.
    n_features : int
        Features of one picture.
    model : keras.Model
        The network without its classifier, followed by the entry's pooling.
    base : keras.Model
        What a weights file belongs to: the same, without the flattening of `pooling: flatten`.
    seen : set of str
        MD5 of the pictures whose labels the weights know, as a fine-tuned network's file says.

    Raises
    ------
    UserError
        If the weights can't be downloaded, can't be read or don't fit, or the input size is too small.
    """

    def __init__(self, name: str, entry: Backbone, section: str = "backbones"):
        key = f"{section}.{name}"
        self.application = _application(key, entry.backbone or name)
        self.preprocess = _preprocessing(self.application)
        self.input_size = entry.input_size or _published_size(self.application)
        self.pooling = None if entry.pooling == "flatten" else entry.pooling
        policy = keras.config.dtype_policy()
        keras.utils.clear_session()  # Layers without names of their own are counted, and from one.
        keras.config.set_dtype_policy(policy)
        self.base = self.model = self._load(key, entry)
        if self.pooling is None:
            self.model = keras.Model(self.base.inputs, keras.layers.Flatten()(self.base.output), name=self.base.name)
        self.n_features = int(self.model.output_shape[-1])
        self.max_batch = sys.maxsize
        from_file = entry.weights not in ("imagenet", "random")
        self.seen = read_seen(WEIGHTS / entry.weights) if from_file else set()

    def compile(self, engine: str = "tensorflow") -> None:
        """Make the network ready to compute; `engine` is one of `ENGINES`."""
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
        inputs = self.preprocess(pictures.astype(np.float32), data_format="channels_last")
        while True:
            size = min(self.max_batch, len(inputs))
            try:
                return np.concatenate([self.forward(inputs[i : i + size]) for i in range(0, len(inputs), size)])
            except OutOfMemory:
                if size == 1:
                    raise UserError(
                        f"{self.model.name}: out of memory with one picture of {self.input_size} pixels; free the "
                        "device, or set a smaller input_size"
                    ) from None
                if size // 2 < self.max_batch:  # Else another thread has halved it already.
                    self.max_batch = size // 2
                    print(
                        f"WARNING: {self.model.name}: out of memory with {size} pictures at a time; going on with "
                        f"{self.max_batch} (extract.batch_size says how many)"
                    )

    def fingerprint(self, modules: list[ModuleType], *values: bytes) -> str:
        """Identify everything that a result depends on: network, weights, the code of modules, versions, and values."""
        import tensorflow as tf

        digest = hashlib.sha256()
        for weights in self.model.get_weights():
            digest.update(np.ascontiguousarray(weights).data)
        code = [inspect.getsource(module) for module in modules]
        versions = [keras.__version__, tf.__version__, np.__version__, PIL.__version__, h5py.__version__]
        digest.update(repr([self.model.name, self.input_size, self.pooling, code, versions]).encode())
        for value in values:
            digest.update(hashlib.sha256(value).digest())
        return digest.hexdigest()

    def _load(self, key: str, entry: Backbone) -> Any:
        if entry.weights == "imagenet":
            return self._load_imagenet(key)
        # An untrained network is the same whatever `seed` is, so that a new seed costs no new extraction.
        keras.utils.set_random_seed(zlib.crc32(self.application.__name__.encode()))
        model = self._build(key, weights=None)
        if entry.weights != "random":
            _load_file(model, WEIGHTS / entry.weights, key, self.application.__name__)
        return model

    def _build(self, key: str, weights: str | None) -> Any:
        shape = (self.input_size, self.input_size, 3)
        try:
            return self.application(weights=weights, include_top=False, pooling=self.pooling, input_shape=shape)
        except ValueError as error:
            if "Input size must be at least" not in str(error):
                raise
            least = str(error).split("at least ")[1].split("x")[0]
            raise UserError(
                f"params.yaml: {key}.input_size: found {self.input_size}; {self.application.__name__} takes "
                f"{least} or more: set one, or leave input_size out for the network's own"
            ) from None

    def _load_imagenet(self, key: str) -> Any:
        """Load Keras's own ImageNet weights, from its cache folder or by its download."""
        if self.application is SmallConvNet:
            raise UserError(
                f"params.yaml: {key}.weights: found imagenet, of which SmallConvNet has none; accepted: random, or a "
                "file of its own weights"
            )
        file_utils = keras.src.utils.file_utils
        wanted: dict[str, Any] = {}
        get_file = file_utils.get_file

        def remember(fname: str, origin: str, *args: Any, **options: Any) -> str:
            wanted.update(fname=fname, origin=origin, hash=options.get("file_hash"))
            return str(get_file(fname, origin, *args, **options))

        # Keras keeps the file's name, address and hash inside its builders; the call to its downloader shows them.
        file_utils.get_file = remember
        try:
            return self._build(key, weights="imagenet")
        except UserError:
            raise
        except Exception as error:
            if not wanted:
                raise
            folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
            check = f" (hash {wanted['hash']})" if wanted["hash"] else ""
            reason = one_line(error).rsplit(" -- ", 1)[-1]  # Keras puts the address before it.
            raise UserError(
                f"{key}: the ImageNet weights can't be loaded: {reason}; fetch "
                f"{wanted['origin']}{check} elsewhere and put it at {folder / wanted['fname']}, or bring a file of "
                f"your own: {key}.weights: FILE (in weights/, or an absolute path)"
            ) from None
        finally:
            file_utils.get_file = get_file


def check_entries(params: Params) -> None:
    """Check the network's name, input size and weights file of every entry, before any of them runs.

    Raises
    ------
    UserError
        With a line for every entry whose network is not known or whose input size is below what the network takes.
    """
    problems: list[str] = []
    networks: dict[Path, str] = {}  # Of the weights files that are not there yet.
    for section, entries in (("finetune", params.finetune), ("backbones", params.backbones)):
        for name, entry in entries.items():
            key, weights, network = f"{section}.{name}", WEIGHTS / entry.weights, entry.backbone or name
            try:
                _application(key, network)
                if entry.input_size is not None:
                    Network(name, entry.model_copy(update={"weights": "random"}), section)
            except UserError as error:
                problems += error.problems
                continue
            if section == "finetune":
                networks[tuned_weights(name)] = network
            if weights in networks and networks[weights] != network:
                problems.append(
                    f"params.yaml: {key}: {network} can't take {weights}, which will be {networks[weights]}'s; set "
                    f"backbone: {networks[weights]}"
                )
            elif entry.weights not in ("imagenet", "random") and weights not in networks and not weights.is_file():
                problems.append(_missing_file(key, weights, network))
    if problems:
        raise UserError(problems)


def tuned_weights(name: str) -> Path:
    """Return the weights file that the entry `name` of `finetune` writes."""
    return TUNED / f"{name}.weights.h5"


def save_tuned(network: Network, path: Path, seen: set[str]) -> None:
    """Write a fine-tuned network's weights, and the MD5 of every picture whose label they know."""
    require_room(path, 4 * network.base.count_params() + 32 * len(seen))
    with atomic_path(path) as partial:
        with_suffix = partial.with_suffix(".weights.h5")  # Keras wants its own suffix on what it writes.
        try:
            network.base.save_weights(with_suffix)
            with_suffix.rename(partial)
        finally:
            with_suffix.unlink(missing_ok=True)
        with h5py.File(partial, "a") as file:
            file["seen"] = np.array(sorted(seen), "S32")


def read_seen(path: Path) -> set[str]:
    """Return the MD5 of the pictures whose labels a weights file knows; none, unless `save_tuned` wrote it."""
    with h5py.File(path) as file:
        return {value.decode() for value in file["seen"][:]} if "seen" in file else set()


def _application(key: str, wanted: str) -> Callable[..., Any]:
    """Find the function of keras.applications that builds an entry's network."""
    known = {key: getattr(keras.applications, key) for key in dir(keras.applications) if key[0].isupper()}
    known[SmallConvNet.__name__] = SmallConvNet
    if wanted not in known:
        by_lower = {key.lower(): key for key in known}
        near = [by_lower[key] for key in difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.5)]
        hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
        raise UserError(
            f"params.yaml: {key}: unknown network {wanted!r}; accepted: any name in keras.applications "
            f"({hint}); rename the entry, or name its network with `backbone:`"
        )
    return known[wanted]


def _preprocessing(application: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `preprocess_input` of the module in which a network is defined."""
    return sys.modules[application.__module__].preprocess_input


def _published_size(application: Callable[..., Any]) -> int:
    """Return the input size of a network's published classifier, in pixels."""
    # One class keeps the classifier small; the size does not depend on it.
    return application(weights=None, include_top=True, classes=1).input_shape[1] or SIZE_OF_ANY


def _missing_file(key: str, file: Path, network: str) -> str:
    return (
        f"params.yaml: {key}.weights: {file}: no such file; accepted: imagenet, random, or a file of "
        f"{network}'s weights (.weights.h5 or .h5, without top), its path seen from {WEIGHTS}/ or absolute"
    )


def _load_file(model: Any, file: Path, key: str, network: str) -> None:
    """Load a user's weights file into a network."""
    if not file.is_file():
        raise UserError(_missing_file(key, file, network))
    try:
        if file.suffix != ".h5":
            raise ValueError(f"its suffix is {file.suffix!r} instead of .weights.h5 or .h5")
        with warnings.catch_warnings():
            # Keras warns once for every layer that a file lacks, hundreds of lines, before it raises.
            warnings.simplefilter("ignore")
            model.load_weights(file)
    except Exception as error:  # Keras and h5py raise many types here; all mean that the file is not this network's.
        raise UserError(
            f"{file}: does not fit {network} ({key}.weights): {one_line(error, 200)}; accepted: a whole "
            "file of this network's weights without its top, as save_weights() writes it"
        ) from None
