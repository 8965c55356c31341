"""Entries of `backbones` that give no network, checked together before the first network runs for hours."""

from collections.abc import Mapping

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone
from gap_ensemble.paths import in_weights


def bad_entries(entries: Mapping[str, Backbone]) -> list[str]:
    """Load every network once, and find what is wrong: names, arguments, input sizes, weights.

    Weights that have to be downloaded are downloaded here. A file that is not there (yet) is not spoken of: stage
    finetune may write it later, and `missing_inputs` knows of others.

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
        file = entry.onnx or (entry.weights if entry.weights not in ("imagenet", "random") else None)
        is_there = file is None or in_weights(file).exists()
        if not is_there and entry.source != "application":
            continue
        try:
            if not is_there:
                entry = entry.model_copy(update={"weights": "random"})
            network = open_network(name, entry)
            # An untrained network of the size and the arguments that Keras gives it can always be built.
            if entry.weights != "random" or entry.input_size is not None or entry.arguments:
                _ = network.n_features
        except UserError as error:
            problems += error.problems
    return problems
