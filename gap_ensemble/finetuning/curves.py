"""The learning curves of fine-tuning, as a table and as a picture."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from gap_ensemble.paths import CURVES
from gap_ensemble.storage.files import atomic_path
from gap_ensemble.storage.tables import write_table


def write_curves(name: str, curves: dict[str, list[float]], best: int) -> None:
    """Write the learning curves as a table and as a picture; epoch 0 is before any training.

    Parameters
    ----------
    name : str
        The entry's name.
    curves : dict of str to list of float
        As `Checkpoints` has them.
    best : int
        The epoch whose weights are kept.
    """
    table = pd.DataFrame(curves).rename_axis("epoch").reset_index()
    write_table(CURVES / f"{name}.csv", table)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, metric, label in zip(axes, ("loss", "accuracy"), ("log loss", "accuracy"), strict=True):
        axis.plot(table["epoch"], table[metric], label="training, augmented")
        axis.plot(table["epoch"], table[f"val_{metric}"], label="early stopping")
        axis.axvline(best, color="grey", linestyle=":", label="kept")
        axis.set(xlabel="epoch", ylabel=label, title=name)
    axes[0].legend()
    with atomic_path(CURVES / f"{name}.png") as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
    plt.close(figure)
