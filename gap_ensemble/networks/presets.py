"""Presets of KerasHub: DINOv2, DINOv3, SigLIP, CLIP, ViT, and whatever else its backbones can read.

    backbones:
      DINOv2: {preset: /kaggle/input/dinov2/keras/dinov2_small/1}    # a folder: Kaggle Models, or save_to_preset
      Online: {preset: dinov2_small}                                 # a name, where there is a connection
      Larger: {preset: /kaggle/input/dinov2/keras/dinov2_small/1, input_size: 448, pooling: cls}

The preset's own ImageConverter says how pixels are scaled and how large the picture is. How a picture becomes a square
is the matter of `images/decoding.py`, the same for every network: the whole picture, bilinear, antialiased. So the
preset's `interpolation` and `crop_to_aspect_ratio` do not count. Where a preset has no ImageConverter, as folders of
Hugging Face's DINOv2, the entry gives `mean`, `std` and `input_size`.

Some networks give a vector, some a map of features, and some tokens: one for the whole picture (`cls`), perhaps some
registers, and one a patch. `POOLINGS` says what is taken of them.
"""

import difflib
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.messages.errors import UserError, listed, one_line
from gap_ensemble.networks.keras_network import KerasNetwork
from gap_ensemble.networks.keras_setup import held_back, keras
from gap_ensemble.networks.network import digest_of
from gap_ensemble.networks.own_weights import difference
from gap_ensemble.networks.pixels import Scaling, per_channel
from gap_ensemble.params import Backbone
from gap_ensemble.paths import WEIGHTS, in_weights

# By the number of axes of a network's output; what is accepted, the default first.
POOLINGS = {
    2: ("own",),
    3: ("mean",),
    4: ("avg", "max", "flatten"),
}
# What the authors of a network train a linear classifier on, and what else there is.
# DINOv2 and DINOv3: the class token and the mean of the patches (hub/classifiers.py of both repositories). CLIP: the
# class token before the projection (section 3.2 of the paper). SigLIP: its own attention pooling. ViT and DeiT: the
# class token.
POOLINGS_OF = {
    "DINOV2Backbone": ("cls+mean", "cls", "mean"),
    "DINOV3Backbone": ("cls+mean", "cls", "mean"),
    "ViTBackbone": ("cls", "mean", "cls+mean"),
    "DeiTBackbone": ("cls", "mean", "cls+mean"),
    "CLIPBackbone": ("cls", "mean", "cls+mean", "own"),
    "MetaCLIP2Backbone": ("own", "cls", "mean", "cls+mean"),
    "SigLIPBackbone": ("own", "mean"),
}
# Files of a preset folder that change nothing.
NOT_READ = {"README.md", "metadata.json"}


class PresetNetwork(KerasNetwork):
    """A network of KerasHub.

    Parameters
    ----------
    key, entry
        As `Network` says.
    """

    libraries = (*KerasNetwork.libraries, "keras-hub")

    def __init__(self, key: str, entry: Backbone):
        super().__init__(key, entry)
        self.key_of_preset = f"{key}.{'preset' if entry.preset else 'weights'}"
        self.preset = str(entry.preset or entry.weights)
        self.folder = self._find_folder()
        self.title = self.folder.resolve().name if self.folder else self.preset.rsplit("/", 1)[-1]
        self.hub = _keras_hub(self.key_of_preset)
        self._converter = self._load_converter()
        self.scaling = Scaling.of_entry(key, entry) or self._scaling_of_preset()
        self.input_size = entry.input_size or self._size_of_preset()

    def preprocess(self, pixels: Any) -> Any:
        """Scale pixels from 0 to 255 (float32) as the preset's ImageConverter does."""
        mean, std = self.scaling.mean, self.scaling.std
        scale = np.array([1 / value for value in std], np.float32)
        offset = np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)
        return pixels * scale + offset

    def _identity(self) -> object:
        # A name stands for a version that KerasHub fixes.
        weights: Any = self.preset
        if self.folder is not None:
            weights = [item for item in digest_of(self.folder) if item[0] not in NOT_READ]
        return [weights, self.input_size, self.scaling, self.entry.pooling]

    def _find_folder(self) -> Path | None:
        """Return the preset's folder, or None if it is a name for KerasHub."""
        path = in_weights(self.preset)
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise UserError(
                    f"params.yaml: {self.key_of_preset}: {path}: has no config.json; accepted: the folder that holds "
                    "it, as save_to_preset writes it (inside are: "
                    f"{listed(sorted(p.name for p in path.iterdir())) or '-'})"
                )
            return path
        if "://" in self.preset or ("/" not in self.preset and not path.exists()):
            return None
        raise UserError(
            f"params.yaml: {self.key_of_preset}: {path}: no such folder; accepted: a preset folder of KerasHub, its "
            f"path relative to {WEIGHTS}/ or absolute, or a name such as dinov2_small"
        )

    def _source(self) -> str:
        return str(self.folder or self.preset)

    def _load_converter(self) -> Any:
        """Return the preset's ImageConverter, or None if it has none."""
        try:
            return self.hub.layers.ImageConverter.from_preset(self._source())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> UserError:
        """Return what is said when KerasHub refuses a preset: it raises many types."""
        if self.folder is not None:
            reason = difference(error)
            if "safetensors" in reason and isinstance(error, ImportError):
                reason = "it is a folder of Hugging Face; `pip install safetensors` reads it"
            elif "Unable to find a subclass of ImageConverter" in reason:
                reason = "its network takes no pictures"
            return UserError(
                f"params.yaml: {self.key_of_preset}: {self.folder}: can't be read by KerasHub "
                f"{self.hub.__version__}: {reason}; accepted: a whole preset folder of a network for pictures"
            )
        known = sorted(self.hub.src.utils.preset_utils.BUILTIN_PRESETS)
        handle = self.hub.src.utils.preset_utils.BUILTIN_PRESETS.get(self.preset, {}).get("kaggle_handle", "")
        if "://" not in self.preset and not handle:
            near = difflib.get_close_matches(self.preset, known, n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}" if near else "see keras.io/keras_hub/presets"
            return UserError(
                f"params.yaml: {self.key_of_preset}: {self.preset}: no such folder in {WEIGHTS}/, and no preset of "
                f"KerasHub ({hint})"
            )
        page = handle or self.preset
        for scheme, site in (("kaggle://", "https://www.kaggle.com/models/"), ("hf://", "https://huggingface.co/")):
            page = page.replace(scheme, site)
        return UserError(
            f"params.yaml: {self.key_of_preset}: {self.preset}: can't be downloaded: {one_line(error, 150)}; fetch "
            f"{page} elsewhere (on Kaggle: Add Input), and give the path of its folder"
        )

    def _scaling_of_preset(self) -> Scaling:
        converter = self._converter
        if converter is None:
            raise self._says_nothing("how pixels are scaled", "mean and std")
        scale = [float(value) for value in per_channel(1.0 if converter.scale is None else _number(converter.scale))]
        offset = [float(value) for value in per_channel(0.0 if converter.offset is None else _number(converter.offset))]
        # x * scale + offset is (x - mean) / std.
        mean = [-b / a for a, b in zip(scale, offset, strict=True)]
        return Scaling((mean[0], mean[1], mean[2]), (1 / scale[0], 1 / scale[1], 1 / scale[2]))

    def _size_of_preset(self) -> int:
        size = self._converter.image_size if self._converter is not None else None
        if size is None:
            raise self._says_nothing("how large its pictures are", "input_size")
        if size[0] != size[1]:
            raise UserError(
                f"params.yaml: {self.key}.input_size: missing; the preset {self._source()} takes {size[0]} × {size[1]} "
                "pixels, and this project squares: set the side"
            )
        return int(size[0])

    def _says_nothing(self, what: str, keys: str) -> UserError:
        return UserError(
            f"params.yaml: {self.key}: the preset {self._source()} has no image_converter.json, which says "
            f"{what}; add {keys} to the entry (DINOv2: mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], "
            "input_size: 224)"
        )

    def _load(self, **options: Any) -> Any:
        try:
            return self.hub.models.Backbone.from_preset(self._source(), dtype=keras.config.dtype_policy(), **options)
        except Exception as error:
            raise self._unreadable(error) from None

    @cached_property
    def _backbone(self) -> Any:
        """KerasHub's backbone, for pictures of `input_size`."""
        config = self._config_of_folder()
        shape = (self.input_size, self.input_size, 3)
        # Networks without positions, and those that interpolate them while they load, are built in any size.
        if "image_shape" in config and not self._has_fixed_positions(config):
            self._check_patches(config.get("patch_size"))
            return self._load(image_shape=shape)
        backbone = self._load()
        encoder = getattr(backbone, "vision_encoder", backbone)
        native = getattr(encoder, "image_shape", None)
        if native is None:
            raise UserError(
                f"params.yaml: {self.key_of_preset}: {self._source()}: {type(backbone).__name__} takes no pictures; "
                "accepted: a preset of a network for pictures"
            )
        self._check_patches(getattr(encoder, "patch_size", None))
        if native[0] == self.input_size:
            return backbone
        larger = type(encoder).from_config({**encoder.get_config(), "image_shape": shape})
        _copy_weights(encoder, larger)
        if encoder is backbone:
            return larger
        backbone.vision_encoder = larger
        return backbone

    def _config_of_folder(self) -> dict[str, Any]:
        """Return the backbone's values in a folder that KerasHub wrote; of others none are known before loading."""
        if self.folder is None:
            return {}
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise self._unreadable(error) from None
        self.class_name = config.get("class_name", "")
        return dict(config.get("config", {})) if isinstance(config, dict) else {}

    def _has_fixed_positions(self, config: dict[str, Any]) -> bool:
        return config.get("patch_size") is not None and self.class_name not in ("DINOV2Backbone", "DINOV3Backbone")

    def _check_patches(self, patch_size: Any) -> None:
        side = int(patch_size[0] if isinstance(patch_size, (list, tuple)) else patch_size or 1)
        if self.input_size % side:
            below = self.input_size // side * side
            raise UserError(
                f"params.yaml: {self.key}.input_size: found {self.input_size}; {self.title} cuts pictures into "
                f"patches of {side} pixels: set a multiple, such as {below or side} or {below + side}"
            )

    def _build(self) -> Any:
        backbone = self._backbone
        self.class_name = type(backbone).__name__
        inputs = keras.Input((self.input_size, self.input_size, 3), name="pictures")
        encoder = getattr(backbone, "vision_encoder", None)
        if encoder is None:
            takes = backbone.input
            output = backbone({next(iter(takes)): inputs} if isinstance(takes, dict) else inputs)
        elif self.entry.pooling == "own" or (self.entry.pooling is None and self._poolings(3)[0] == "own"):
            output = backbone.get_vision_embeddings(inputs)
        elif self.class_name == "SigLIPBackbone":  # Its encoder ends with the pooling.
            output = keras.Model(encoder.input, encoder.post_layer_norm.output)({"images": inputs})
        else:
            output = encoder({"images": inputs})
        if isinstance(output, dict):
            raise UserError(
                f"params.yaml: {self.key_of_preset}: {self._source()}: {self.class_name} gives several outputs; "
                "accepted: a network for classification"
            )
        return keras.Model(inputs, output, name=self.title)

    def _poolings(self, rank: int) -> tuple[str, ...]:
        """Return the poolings that are accepted, the default first."""
        if rank == 3 and self.class_name == "ViTBackbone" and not self._n_prefix_tokens():
            return POOLINGS[3]
        return POOLINGS_OF.get(self.class_name, POOLINGS[rank]) if rank == 3 else POOLINGS.get(rank, ())

    def _n_prefix_tokens(self) -> int:
        """Return how many tokens come before those of the patches: class tokens, then registers."""
        backbone = self._backbone
        if self.class_name in ("DINOV2Backbone", "DINOV3Backbone"):
            return 1 + int(backbone.num_register_tokens)
        if self.class_name == "ViTBackbone":
            return int(backbone.use_class_token)
        return {"DeiTBackbone": 2, "CLIPBackbone": 1, "MetaCLIP2Backbone": 1}.get(self.class_name, 0)

    def _pool(self, base: Any) -> Any:
        output = base.output
        accepted = self._poolings(len(output.shape))
        pooling = self.entry.pooling or accepted[0]
        if pooling not in accepted:
            raise UserError(
                f"params.yaml: {self.key}.pooling: found {pooling}; {self.title} is a {self.class_name}; accepted: "
                f"{', '.join(self._poolings(3) if pooling == 'own' else accepted)}"
            )
        if pooling == "own":
            return base
        if len(output.shape) == 4:
            layers = {
                "avg": keras.layers.GlobalAveragePooling2D,
                "max": keras.layers.GlobalMaxPooling2D,
                "flatten": keras.layers.Flatten,
            }
            return keras.Model(base.inputs, layers[pooling]()(output), name=base.name)
        cls = output[:, 0]
        mean = keras.ops.mean(output[:, self._n_prefix_tokens() :], axis=1)
        pooled = {"cls": cls, "mean": mean, "cls+mean": keras.ops.concatenate([cls, mean], axis=-1)}[pooling]
        return keras.Model(base.inputs, pooled, name=base.name)


def _number(value: Any) -> Any:
    """Return a converter's scale or offset: one number, or three."""
    return tuple(float(part) for part in value) if isinstance(value, (list, tuple)) else float(value)


def _copy_weights(source: Any, target: Any) -> None:
    """Copy the weights of a network to the same network for pictures of another size: positions are interpolated."""
    for old, new in zip(source.weights, target.weights, strict=True):
        if tuple(old.shape) == tuple(new.shape):
            new.assign(old)
        elif "int" not in keras.backend.standardize_dtype(new.dtype):  # Numbers of positions stay as they are.
            new.assign(resized_positions(np.asarray(old), tuple(new.shape)))


def resized_positions(positions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate position embeddings for a grid of another size: bicubic, as in DINOv2 and ViT.

    Parameters
    ----------
    positions : ndarray of shape (..., n_tokens, n_features)
        One embedding a token: those of class tokens first, then those of a square of patches, row by row.
    shape : tuple of int
        The shape that is wanted, with another number of tokens.

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    ValueError
        If the tokens are no squares with equally many tokens before them.
    """
    old, new, width = positions.shape[-2], shape[-2], positions.shape[-1]
    for n_prefix in range(3):
        sides = [math.isqrt(n - n_prefix) for n in (old, new)]
        if [side**2 + n_prefix for side in sides] == [old, new] and width == shape[-1]:
            break
    else:
        raise ValueError(f"positions of shape {positions.shape} can't become {shape}")
    flat = positions.reshape(old, width)
    grid = flat[n_prefix:].reshape(1, sides[0], sides[0], width)
    resized = keras.ops.image.resize(grid, (sides[1], sides[1]), interpolation="bicubic", data_format="channels_last")
    return np.concatenate([flat[:n_prefix], np.asarray(resized).reshape(-1, width)]).reshape(shape)


def _keras_hub(key: str) -> Any:
    """Import KerasHub. It needs no tensorflow-text for networks of pictures."""
    try:
        with held_back():
            import keras_hub
    except ImportError as error:
        raise UserError(
            f"params.yaml: {key}: KerasHub can't be imported: {one_line(error, 120)}; `make setup` installs it, or "
            "`pip install --no-deps keras-hub regex tokenizers sentencepiece`"
        ) from None
    return keras_hub
