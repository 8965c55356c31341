"""Entries of `backbones` that name no network, checked together before the first network runs for hours."""

from collections.abc import Mapping

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone


def bad_entries(entries: Mapping[str, Backbone]) -> list[str]:
    """Find what is wrong with the names, the arguments and the input sizes of networks of keras.applications.

    No file is opened: weights may be on another machine, or be written later by stage finetune. Files of presets and
    of ONNX are read when the network runs.

    Parameters
    ----------
    entries : mapping of str to Backbone
        Entries of `backbones` in params.yaml. With none of them Keras, which takes seconds, is not imported.

    Returns
    -------
    list of str
        One line for each.
    """
    problems: list[str] = []
    for name, entry in entries.items():
        if entry.source != "application":
            continue
        try:
            # SmallConvNet has no ImageNet weights, which is wrong as well.
            weights = entry.weights if entry.weights == "imagenet" else "random"
            open_network(name, entry.model_copy(update={"weights": weights}))
            if entry.input_size is not None or entry.arguments:
                # Built without weights: Keras itself refuses a size that is too small.
                _ = open_network(name, entry.model_copy(update={"weights": "random"})).n_features
        except UserError as error:
            problems += error.problems
    return problems
