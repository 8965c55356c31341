"""The model that is trained: augmentation, preprocessing, network, dropout and a dense layer."""

from typing import Any

from gap_ensemble.finetuning.layers import is_trainable
from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.networks.keras_setup import BACKEND, keras
from gap_ensemble.params import Augment, Finetune


def training_model(network: Any, entry: Finetune, first_layer: int, head: DenseHead | None, n_classes: int) -> Any:
    """Return the model that is trained: augmentation, preprocessing, backbone, dropout and a dense layer.

    Batch normalisation stays in inference mode, because small batches have no statistics of their own to speak of.

    Parameters
    ----------
    network : KerasNetwork
        The backbone.
    entry : Finetune
        How it is trained.
    first_layer : int
        The layers below are frozen.
    head : DenseHead or None
        What was trained on the backbone's frozen features: a random head would send large gradients through it, and
        wreck what it knows. None, for an untrained backbone, makes a random one.
    n_classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        Takes pictures of shape (n, input_size, input_size, 3), 0 to 255; returns logits of shape (n, 1) for two classes
        and (n, n_classes) for more.
    """
    for i, step in enumerate(network.base.operations):
        if isinstance(step, keras.layers.Layer):
            # A batch normalisation that is not trainable stays in inference mode, too.
            step.trainable = i >= first_layer and is_trainable(step)
    inputs = keras.Input((network.input_size, network.input_size, 3))
    preprocess = keras.layers.Lambda(network.preprocess)
    outputs = preprocess(augmentation(entry.augment)(inputs))
    outputs = network.model(outputs)
    if head is not None:
        # Keras's Normalization would never divide by less than 1e-7.
        outputs = keras.layers.Rescaling(1 / head.scale, -head.mean / head.scale, dtype="float32")(outputs)
    outputs = keras.layers.Dropout(entry.dropout)(outputs)
    # float32 also where the rest is computed in half precision: the loss needs it.
    output = keras.layers.Dense(1 if n_classes == 2 else n_classes, dtype="float32")
    model = keras.Model(inputs, output(outputs), name="finetune")
    if head is not None:
        output.set_weights(head.layers[0])
    optimizer = keras.optimizers.get(entry.optimizer)
    if entry.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=entry.momentum)
    optimizer.learning_rate = entry.learning_rate
    loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy: Any = keras.metrics.SparseCategoricalAccuracy("accuracy")
    if n_classes == 2:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy = keras.metrics.BinaryAccuracy("accuracy", threshold=0)  # Of logits.
    model.compile(optimizer, loss, metrics=[accuracy], jit_compile=BACKEND == "jax")
    model.optimizer.build(model.trainable_variables)
    return model


def augmentation(options: Augment) -> Any:
    """Return the random changes of training pictures, as a model of Keras layers; none of them acts in inference."""
    layers = []
    if options.flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    if options.shear:
        layers.append(keras.layers.RandomShear(options.shear, options.shear, fill_mode="nearest"))
    if options.zoom:
        layers.append(keras.layers.RandomZoom((-options.zoom, options.zoom), fill_mode="nearest"))
    if options.shift:
        layers.append(keras.layers.RandomTranslation(options.shift, options.shift, fill_mode="nearest"))
    for layer in layers:
        # Keras says of some that they can't be compiled, which holds for TensorFlow. On JAX, one such layer would have
        # every operation of the whole model started on its own.
        layer.supports_jit = layer.supports_jit or BACKEND == "jax"
    return keras.Sequential(layers, name="augment") if layers else keras.layers.Identity(name="augment")
