"""The small network of the tutorials, to train from scratch: the first baseline.

    finetune:
      Scratch: {backbone: SmallConvNet, weights: random, input_size: 64, last_blocks: all, optimizer: adam,
                learning_rate: 0.001, epochs: 40, patience: 10}

After F. Chollet, "Building powerful image classification models using very little data" (blog.keras.io, 2016), for
pictures of 32 to 150 pixels. Its builder has the signature of the builders of `keras.applications`.
"""

from typing import Any

from gap_ensemble.networks.keras_setup import keras


def SmallConvNet(  # noqa: N802 - named as in keras.applications
    weights: str | None = None,  # noqa: ARG001 - always None: there are no weights to download
    include_top: bool = True,
    pooling: str | None = None,
    input_shape: tuple[int, int, int] = (150, 150, 3),
    classes: int = 1000,
) -> Any:
    """Return three blocks of convolution and pooling as a Keras model.

    Raises
    ------
    ValueError
        If the pictures are too small to pool three times.
    """
    if min(input_shape[:2]) < 8:
        raise ValueError("Input size must be at least 8x8")
    inputs = outputs = keras.Input(input_shape)
    for number, filters in enumerate((32, 64, 128), start=1):
        name = f"block{number}"
        outputs = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv")(outputs)
        outputs = keras.layers.MaxPooling2D(name=f"{name}_pool")(outputs)
    if include_top or pooling == "avg":
        outputs = keras.layers.GlobalAveragePooling2D(name="avg_pool")(outputs)
    elif pooling == "max":
        outputs = keras.layers.GlobalMaxPooling2D(name="max_pool")(outputs)
    if include_top:
        outputs = keras.layers.Dense(classes, activation="softmax", name="predictions")(outputs)
    return keras.Model(inputs, outputs, name="small_convnet")


BUILDERS = {"SmallConvNet": (SmallConvNet, 150)}


def preprocess_input(x: Any, data_format: str | None = None) -> Any:  # noqa: ARG001 - as in keras.applications
    """Scale pixels from [0, 255] to [-1, 1]."""
    return x / 127.5 - 1
