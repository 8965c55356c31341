"""Fine-tuning: which layers are trained, the model that trains them, and what survives a kill."""

import difflib
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_setup import keras
from gap_ensemble.params import Augment, Finetune, Params
from gap_ensemble.paths import TUNED, WEIGHTS
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5

NORMALISATIONS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)


def tuned_weights(name: str) -> Path:
    """Return the weights file that the entry `name` of `finetune` writes."""
    return TUNED / f"{name}.weights.h5"


def check_backbones(name: str, params: Params) -> None:
    """Check that the entries which name a fine-tuned file can take it, before it is trained.

    Raises
    ------
    UserError
        With a line for every entry that names another network, or another input size.
    """
    tuned = params.finetune[name]
    title = tuned.backbone or name
    problems = []
    for section, entries in (("backbones", params.backbones), ("finetune", params.finetune)):
        for user, entry in entries.items():
            if entry.weights is None or WEIGHTS / entry.weights != tuned_weights(name):
                continue
            if (entry.backbone or user) != title:
                problems.append(
                    f"params.yaml: {section}.{user}: {entry.backbone or user} can't take {tuned_weights(name)}, which "
                    f"will be {title}'s; set backbone: {title}"
                )
            if entry.arguments != tuned.arguments:
                problems.append(
                    f"params.yaml: {section}.{user}.arguments: found {entry.arguments}; {tuned_weights(name)} will be "
                    f"of a network with {tuned.arguments}: set the same"
                )
    if problems:
        raise UserError(problems)


def first_trained_layer(model: Any, name: str, entry: Finetune) -> int:
    """Return the number of the first layer that is trained; those below it are frozen.

    Parameters
    ----------
    model : keras.Model
        The backbone.
    name : str
        The entry's name in `finetune` of params.yaml.
    entry : Finetune
        Its values: `train_from` names the layer, or `last_blocks` says how many blocks at the end are trained.

    Raises
    ------
    UserError
        If there is no such layer, or there are not so many blocks.
    """
    names = [step.name for step in model.operations]
    if entry.train_from is not None:
        if entry.train_from not in names:
            near = difflib.get_close_matches(entry.train_from, names, n=3) or names[-3:]
            raise UserError(
                f"params.yaml: finetune.{name}.train_from: {model.name} has no layer {entry.train_from!r}; nearest: "
                f"{', '.join(near)}; name one of its {len(names)} layers"
            )
        first = names.index(entry.train_from)
        if not any(map(is_trainable, model.operations[first:])):
            raise UserError(
                f"params.yaml: finetune.{name}.train_from: from {entry.train_from!r} on, {model.name} has no weights "
                f"to train; name an earlier layer, such as {names[block_starts(model)[-1]]}"
            )
        return first
    if entry.last_blocks == "all":
        return 0
    starts = block_starts(model)
    n_blocks = entry.last_blocks or 1
    if n_blocks > len(starts):
        raise UserError(
            f"params.yaml: finetune.{name}.last_blocks: found {n_blocks}; {model.name} has {len(starts)} blocks: set 1 "
            f"to {len(starts)}, or all"
        )
    return starts[-n_blocks]


def is_trainable(step: Any) -> bool:
    """Return whether fine-tuning may change a layer: whether it has weights and is no batch normalisation."""
    return bool(getattr(step, "weights", [])) and not isinstance(step, keras.layers.BatchNormalization)


def block_starts(model: Any) -> list[int]:
    """Return the numbers of the layers with which the blocks of a network begin, from its input to its output.

    A block ends where all paths through the network meet again, as in the addition of a residual block or the
    concatenation of an inception block (a multiplication, as in squeeze-and-excitation, is a part of a block). A
    network without such places (VGG, MobileNet) is cut where its feature map shrinks. What has no weights but those of
    a normalisation belongs to the block before it.
    """
    steps = model.operations  # Layers and the operations between them, each after all that it uses.
    number = {id(step): i for i, step in enumerate(steps)}
    tensors = [[tensor for node in step._inbound_nodes[:1] for tensor in node.input_tensors] for step in steps]
    sources = [{number[id(tensor._keras_history.operation)] for tensor in inputs} for inputs in tensors]
    last_use = {source: i for i, inputs in enumerate(sources) for source in inputs}  # The last i stays.
    cuts, open_until = [], 0  # Where nothing but this step's own output is used behind it.
    for i in range(len(steps)):
        if open_until <= i:
            cuts.append(i)
        open_until = max(open_until, last_use.get(i, i))

    ends = [i for i in cuts if len(sources[i]) > 1 and not isinstance(steps[i], keras.layers.Multiply)]
    if not ends:
        sides = [(i, steps[i].output.shape[1]) for i in cuts if len(steps[i].output.shape) == 4]
        ends = [i - 1 for (_, before), (i, side) in pairwise(sides) if side < before]
    starts: list[int] = []
    for start, stop in pairwise([0, *(end + 1 for end in ends), len(steps)]):
        weighted = [i for i in range(start, stop) if getattr(steps[i], "weights", [])]
        if any(not isinstance(steps[i], NORMALISATIONS) for i in weighted):
            starts.append(weighted[0])
    return starts


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
    model.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
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
    return keras.Sequential(layers, name="augment") if layers else keras.layers.Identity(name="augment")


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Make the random numbers of an epoch depend on nothing before it, so that a run taken up draws the same."""
    for number, variable in enumerate(v for v in model.variables if v.path.endswith("seed_generator_state")):
        variable.assign([(seed + number) % 2**32, epoch])


def variables_of(model: Any) -> list[Any]:
    """Return all that training changes: weights, the state of random numbers, and the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def best_epoch(curves: dict[str, list[float]]) -> int:
    """Return the epoch with the least log loss on the pictures that choose; 0 is before any training."""
    return int(np.argmin(curves["val_loss"]))


class Checkpoints:
    """What a killed run leaves: the model after its last epoch, after its best one, and the learning curves.

    The state names the files that count and is replaced only after they are safely on the disk.

    Parameters
    ----------
    folder : Path
        Where they lie, outside of the outputs that DVC deletes before it runs a stage.
    fingerprint : str
        Identifies everything that they depend on; those of another are thrown away.

    Attributes
    ----------
    curves : dict of str to list of float
        `loss`, `accuracy`, `val_loss`, `val_accuracy` after every epoch that is done; the first is before any training.
    best : int
        The epoch with the least `val_loss`.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint
        self.curves: dict[str, list[float]] = {}
        self.best = 0
        try:
            state = json.loads((folder / "state.json").read_text())
        except (OSError, ValueError):
            state = {}
        if state.get("fingerprint") == fingerprint:
            self.curves, self.best = state["curves"], state["best"]
        else:
            self.remove()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def n_epochs(self) -> int:
        """How many epochs are done, the one before any training not counted; -1 if not even that one."""
        return len(self.curves.get("val_loss", [])) - 1

    def add(self, model: Any, scores: dict[str, float]) -> None:
        """Keep the model after one more epoch."""
        curves = {name: [*self.curves.get(name, []), value] for name, value in scores.items()}
        epoch, best = self.n_epochs + 1, best_epoch(curves)
        with atomic_hdf5(self._path(epoch)) as file:
            for number, variable in enumerate(variables_of(model)):
                file[str(number)] = np.asarray(variable)
        state = {"fingerprint": self.fingerprint, "curves": curves, "best": best}
        write_text(self.folder / "state.json", json.dumps(state))
        self.curves, self.best = curves, best
        for path in self.folder.glob("*.h5"):
            if path not in (self._path(self.n_epochs), self._path(self.best)):
                path.unlink()

    def load(self, model: Any, epoch: int) -> None:
        """Bring the model back to what it was after an epoch, the last or the best."""
        with h5py.File(self._path(epoch), "r") as file:
            for number, variable in enumerate(variables_of(model)):
                variable.assign(file[str(number)][()])

    def remove(self) -> None:
        """Delete all: the state first, so that a kill in between leaves nothing that is taken for whole."""
        (self.folder / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.h5"
