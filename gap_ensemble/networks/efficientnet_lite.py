"""EfficientNet-Lite, as its authors trained it in TensorFlow: no squeeze-and-excitation, ReLU6, padding `same`.

    python -m tools.convert_weights efficientnet-lite0.pth weights/EfficientNetLite0.weights.h5

    backbones:
      EfficientNetLite0: {weights: EfficientNetLite0.weights.h5}

After tensorflow/tpu, models/official/efficientnet/lite. `keras.applications` has none of them. KerasHub's EfficientNet
pads as PyTorch does, by the same number of pixels on both sides, and suits weights that were trained so. Those of the
authors were not: where a convolution halves an even side, `same` pads one pixel at the end.
"""

import math
from collections.abc import Callable
from typing import Any

from gap_ensemble.networks.keras_setup import keras

# Kernel, stride, filters, expansion and repeats of every stage of Lite0.
STAGES = [(3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 2, 80, 6, 3), (5, 1, 112, 6, 3), (5, 2, 192, 6, 4)]
LAST_STAGE = (3, 1, 320, 6, 1)
# Width, depth, and the size of the pictures.
VARIANTS = {
    "EfficientNetLite0": (1.0, 1.0, 224),
    "EfficientNetLite1": (1.0, 1.1, 240),
    "EfficientNetLite2": (1.1, 1.2, 260),
    "EfficientNetLite3": (1.2, 1.4, 280),
    "EfficientNetLite4": (1.4, 1.8, 300),
}


def builder(name: str) -> Callable[..., Any]:
    """Return the function that builds a variant; it has the signature of the builders of `keras.applications`."""
    width, depth, size = VARIANTS[name]

    def build(
        weights: str | None = None,  # noqa: ARG001 - always None: there are no weights to download
        include_top: bool = True,
        pooling: str | None = None,
        input_shape: tuple[int, int, int] = (size, size, 3),
        classes: int = 1000,
    ) -> Any:
        inputs = keras.Input(input_shape)
        outputs = _normalised(keras.layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv")(inputs), "stem")
        for number, (kernel, stride, filters, expansion, repeats) in enumerate([*STAGES, LAST_STAGE], start=1):
            # The first and the last stage are not repeated more often in larger variants.
            n_blocks = repeats if number in (1, 7) else math.ceil(depth * repeats)
            for block in range(n_blocks):
                name_of_block = f"block{number}{chr(ord('a') + block)}"
                out = _round_filters(filters * width)
                outputs = _block(outputs, out, kernel, stride if block == 0 else 1, expansion, name_of_block)
        outputs = _normalised(keras.layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(outputs), "top")
        if include_top or pooling == "avg":
            outputs = keras.layers.GlobalAveragePooling2D(name="avg_pool")(outputs)
        elif pooling == "max":
            outputs = keras.layers.GlobalMaxPooling2D(name="max_pool")(outputs)
        if include_top:
            outputs = keras.layers.Dense(classes, activation="softmax", name="predictions")(outputs)
        return keras.Model(inputs, outputs, name=name.lower())

    build.__name__ = name
    return build


BUILDERS = {name: (builder(name), size) for name, (_, _, size) in VARIANTS.items()}


def preprocess_input(x: Any, data_format: str | None = None) -> Any:  # noqa: ARG001 - as in keras.applications
    """Scale pixels from [0, 255] as in `efficientnet_lite_builder.py`: mean 127, standard deviation 128."""
    return (x - 127.0) / 128.0


def _round_filters(filters: float) -> int:
    """Round to a multiple of 8, and by no more than a tenth down."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _normalised(x: Any, name: str, activation: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activation else x


def _block(x: Any, filters: int, kernel: int, stride: int, expansion: int, name: str) -> Any:
    """Return an inverted residual block: expand, convolve each channel by itself, project."""
    inputs = x
    if expansion != 1:
        x = keras.layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalised(x, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_dwconv")(x)
    x = _normalised(x, f"{name}_dwconv")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalised(x, f"{name}_project", activation=False)
    if stride == 1 and inputs.shape[-1] == filters:
        x = keras.layers.Add(name=f"{name}_add")([x, inputs])
    return x
