"""Entries of `finetune` in params.yaml: the file that each writes, and the entries that read it."""

from pathlib import Path
from typing import Any

from gap_ensemble.extraction.devices import Device
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.keras_setup import dtype_policy
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Finetune, Params
from gap_ensemble.paths import TUNED, WEIGHTS


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


def open_trainable(name: str, entry: Finetune, device: Device) -> Any:
    """Return the network of an entry, built, in half precision if the entry or a GPU wants it; prints one line of it.

    Raises
    ------
    UserError
        If it can't be fine-tuned, or as `open_network` says.
    """
    network = open_network(name, entry, section="finetune")
    if not isinstance(network, Application):
        raise UserError(
            f"params.yaml: finetune.{name}: {network.title} can't be fine-tuned; accepted: networks of "
            "keras.applications and of this project; use its frozen features in backbones"
        )
    mixed = entry.mixed_precision if entry.mixed_precision is not None else device.kind == "gpu"
    with dtype_policy("mixed_float16" if mixed else "float32"):
        precision = network.base.compute_dtype
        _ = network.model
    engine = "JAX" if device.kind == "gpu" else "TensorFlow"
    print(f"{name}: trained on {device.name}, {precision}, {engine}", flush=True)
    if device.warning:
        print(f"WARNING: {device.warning}", flush=True)
    return network
