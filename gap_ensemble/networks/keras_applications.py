"""Networks of `keras.applications`, by their names: input size, preprocessing, weights.

    backbones:
      Xception: {weights: imagenet}
      Quarter: {backbone: MobileNet, weights: imagenet, arguments: {alpha: 0.25}}

No network of Keras is listed by hand. The input size is that of the published classifier, and the preprocessing is the
`preprocess_input` of the module that defines the network. Networks of this project (`small_convnet.py`,
`efficientnet_lite.py`) have builders with the same signature.
"""

import contextlib
import difflib
import inspect
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.networks import efficientnet_lite, small_convnet
from gap_ensemble.networks.keras_network import KerasNetwork, read_fine_tuned_on, read_input_size
from gap_ensemble.networks.keras_setup import keras, weights_folder
from gap_ensemble.networks.network import digest_of
from gap_ensemble.networks.own_weights import find_file, load_file
from gap_ensemble.params import Backbone

# MobileNetV3's classifier takes any size; 224 is the one that it was trained on.
SIZE_OF_ANY = 224

# Arguments of the builders that other keys of an entry, or this module, decide.
OURS = {
    "classes",
    "classifier_activation",
    "include_preprocessing",
    "include_top",
    "input_shape",
    "input_tensor",
    "name",
    "pooling",
    "weights",
}

# Keras builds these with one more layer if, and only if, the weights are "imagenet".
BUILT_FOR_IMAGENET = "keras.src.applications.efficientnet"

POOLINGS = ("avg", "max", "flatten")

# By their names: the builder, and the input size.
BUILDERS: dict[str, tuple[Callable[..., Any], int]] = {**small_convnet.BUILDERS, **efficientnet_lite.BUILDERS}


class Application(KerasNetwork):
    """A network of `keras.applications`, or one of this project's own.

    Parameters
    ----------
    key, entry
        As `Network` says.
    name : str
        The network's name in `keras.applications`.
    """

    def __init__(self, key: str, entry: Backbone, name: str):
        super().__init__(key, entry)
        self.builder = self._find_builder(name)
        self.title = name
        if name in BUILDERS and entry.weights == "imagenet":
            raise UserError(
                f"params.yaml: {key}.weights: found imagenet, of which {name} has none; accepted: random, or a file of "
                "its own weights"
            )
        if name in BUILDERS:
            self.modules = frozenset({self.builder.__module__})
        self.pooling = self._find_pooling()
        self._check_arguments()
        self.weights_file: Path | None = None
        size_of_file = None
        if entry.weights not in ("imagenet", "random"):
            accepted = f"imagenet, random, or a file of {self.title}'s weights (.weights.h5 or .h5, without top)"
            self.weights_file = find_file(f"{key}.weights", str(entry.weights), accepted)
            self.fine_tuned_on = read_fine_tuned_on(self.weights_file)
            size_of_file = read_input_size(self.weights_file)
        # A network that was fine-tuned on small pictures gives poor features of large ones.
        self.input_size = entry.input_size or size_of_file or self._published_size()
        if size_of_file not in (None, self.input_size):
            print(
                f"WARNING: {key}.input_size: found {self.input_size}; {self.weights_file} was fine-tuned with pictures "
                f"of {size_of_file} pixels: leave input_size out, or set that"
            )

    def preprocess(self, pixels: Any) -> Any:
        """Turn pixels from 0 to 255 (float32) into what the network was trained on."""
        return sys.modules[self.builder.__module__].preprocess_input(pixels, data_format="channels_last")

    def _identity(self) -> object:
        # Keras's own weights go with its version: it checks the hash of what it has downloaded.
        weights = digest_of(self.weights_file) if self.weights_file else self.entry.weights
        return [self.title, self.input_size, self.pooling, sorted(self.entry.arguments.items()), weights]

    def _find_builder(self, name: str) -> Callable[..., Any]:
        """Find the function that builds the network."""
        known = {key: getattr(keras.applications, key) for key in dir(keras.applications) if key[0].isupper()}
        known |= {key: builder for key, (builder, _) in BUILDERS.items()}
        if name in known:
            return known[name]
        by_lower = {key.lower(): key for key in known}
        near = [by_lower[key] for key in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
        hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
        raise UserError(
            f"params.yaml: {self.key}: unknown network {name!r}; accepted: any name in keras.applications ({hint}); "
            "rename the entry, or name its network with `backbone:`"
        )

    def _find_pooling(self) -> str:
        pooling = self.entry.pooling or "avg"
        if pooling not in POOLINGS:
            raise UserError(
                f"params.yaml: {self.key}.pooling: found {pooling}; {self.title} has no tokens; accepted: "
                f"{', '.join(POOLINGS)}"
            )
        return pooling

    def _check_arguments(self) -> None:
        accepted = sorted(set(inspect.signature(self.builder).parameters) - OURS)
        for argument in self.entry.arguments:
            if argument not in accepted:
                known = f"accepted: {', '.join(accepted)}" if accepted else "it takes none"
                raise UserError(
                    f"params.yaml: {self.key}.arguments.{argument}: {self.title} has no such argument; {known}"
                )

    def _published_size(self) -> int:
        """Return the input size of the network's published classifier, in pixels."""
        if self.title in BUILDERS:
            return BUILDERS[self.title][1]
        # A builder asks for it before it builds anything.
        if "obtain_input_shape" not in inspect.getsource(sys.modules[self.builder.__module__]):
            return SIZE_OF_ANY
        utilities, sizes = keras.src.applications.imagenet_utils, []
        obtain = utilities.obtain_input_shape

        class Known(Exception):  # noqa: N818 - it is none
            pass

        def remember(*arguments: Any, **options: Any) -> Any:
            sizes.append(obtain(*arguments, **options)[0])
            raise Known

        utilities.obtain_input_shape = remember
        try:
            self.builder(weights=None, include_top=True)
        except Known:
            return int(sizes[0])
        finally:
            utilities.obtain_input_shape = obtain
        raise AssertionError(f"{self.title} asks for no input size")

    def _build(self) -> Any:
        if self.entry.weights == "imagenet":
            return self._load_imagenet()
        # An untrained network is the same whatever `seed` is, so that a new seed costs no new extraction.
        keras.utils.set_random_seed(zlib.crc32(self.title.encode()))
        model = self._build_untrained()
        if self.weights_file is not None:
            load_file(model, self.weights_file, f"{self.key}.weights", self.title)
        return model

    def _build_untrained(self) -> Any:
        """Build the layers that ImageNet weights would get, whatever the weights are."""
        if self.builder.__module__ != BUILT_FOR_IMAGENET:
            return self._call_builder(weights=None)
        load_weights = keras.Model.load_weights
        keras.Model.load_weights = lambda *_, **__: None
        try:
            with _downloader(lambda *_, **__: ""):
                return self._call_builder(weights="imagenet")
        finally:
            keras.Model.load_weights = load_weights

    def _call_builder(self, weights: str | None) -> Any:
        shape = (self.input_size, self.input_size, 3)
        options = {"weights": weights, "include_top": False, "input_shape": shape, **self.entry.arguments}
        try:
            return self.builder(pooling=None if self.pooling == "flatten" else self.pooling, **options)
        except (TypeError, ValueError) as error:
            if "Input size must be at least" in str(error):
                least = str(error).split("at least ")[1].split("x")[0]
                raise UserError(
                    f"params.yaml: {self.key}.input_size: found {self.input_size}; {self.title} takes {least} or "
                    "more: set one, or leave input_size out for the network's own"
                ) from None
            if self.entry.arguments:
                raise UserError(
                    f"params.yaml: {self.key}.arguments: found {self.entry.arguments}; {self.title} refuses them: "
                    f"{one_line(error, 200)}"
                ) from None
            raise

    def _load_imagenet(self) -> Any:
        """Load Keras's own ImageNet weights, from its folder or by its download."""
        wanted: dict[str, Any] = {}
        get_file = keras.src.utils.file_utils.get_file

        def remember(fname: str, origin: str, *arguments: Any, **options: Any) -> str:
            wanted.update(fname=fname, origin=origin, hash=options.get("file_hash") or options.get("md5_hash"))
            return str(get_file(fname, origin, *arguments, **options))

        # Keras keeps the file's name, address and hash inside its builders; the call to its downloader shows them.
        try:
            with _downloader(remember):
                return self._call_builder(weights="imagenet")
        except UserError:
            raise
        except Exception as error:
            if not wanted:
                raise
            check = f" (hash {wanted['hash']})" if wanted["hash"] else ""
            reason = one_line(error).rsplit(" -- ", 1)[-1]  # Keras puts the address before it.
            raise UserError(
                f"{self.key}: the ImageNet weights can't be loaded: {reason}; fetch {wanted['origin']}{check} "
                f"elsewhere and put it at {weights_folder() / wanted['fname']}, or bring a file of your own: "
                f"{self.key}.weights: FILE (in weights/, or an absolute path)"
            ) from None

    def _pool(self, base: Any) -> Any:
        if self.pooling != "flatten":
            return base
        return keras.Model(base.inputs, keras.layers.Flatten()(base.output), name=base.name)


@contextlib.contextmanager
def _downloader(replacement: Callable[..., str]) -> Iterator[None]:
    """Let `replacement` stand for Keras's downloader."""
    file_utils = keras.src.utils.file_utils
    original = file_utils.get_file
    file_utils.get_file = replacement
    try:
        yield
    finally:
        file_utils.get_file = original
