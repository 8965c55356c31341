"""Which layers of a network are trained: from one by its name on, or the last blocks."""

import difflib
from itertools import pairwise
from typing import Any

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_setup import keras
from gap_ensemble.params import Finetune

NORMALISATIONS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)


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
