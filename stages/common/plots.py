"""The picture of a training run: learning curves, ROC, calibration and confusion matrix on one page."""

from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay


def draw_plots(
    curves: list[dict[str, list[float]]], label: np.ndarray, proba: np.ndarray | None, class_names: list[str]
) -> Any:
    """Draw what there is to see.

    Parameters
    ----------
    curves : list of dict of str to list of float
        Keras's history of each fold.
    label : ndarray of shape (n_samples,), integer
        Class of every judged picture.
    proba : ndarray of shape (n_samples, n_classes) or None
        Out-of-fold probabilities; None leaves out what needs them.
    class_names : list of str

    Returns
    -------
    matplotlib.figure.Figure
    """
    positive = proba[:, 1] if proba is not None and len(class_names) == 2 else None
    n_panels = 1 + 2 * (positive is not None) + (proba is not None)
    figure, axes = plt.subplots(1, n_panels, figsize=(5 * n_panels, 4.5), layout="constrained", squeeze=False)
    panels = iter(axes[0])

    panel = next(panels)
    for k, curve in enumerate(curves):
        for name, colour in (("loss", "tab:blue"), ("val_loss", "tab:orange")):
            values = curve.get(name, [])  # A head without epochs has one loss, and none of validation.
            marker = "o" if len(values) == 1 else None
            epochs = range(1, len(values) + 1)
            panel.plot(epochs, values, color=colour, marker=marker, alpha=0.7, label=name if k == 0 else None)
    panel.set(xlabel="epoch", ylabel="log loss", yscale="log", title="Learning curves, one line a fold")
    panel.legend()
    if positive is not None:
        RocCurveDisplay.from_predictions(label, positive, ax=next(panels), name="out of fold", plot_chance_level=True)
        CalibrationDisplay.from_predictions(label, positive, n_bins=10, ax=next(panels), name="out of fold")
    if proba is not None:
        panel = next(panels)
        ConfusionMatrixDisplay.from_predictions(
            np.array(class_names)[label],
            np.array(class_names)[proba.argmax(axis=1)],
            labels=class_names,
            ax=panel,
            colorbar=False,
            include_values=len(class_names) <= 20,
            xticks_rotation="vertical",
        )
        panel.set(title="Confusion matrix")
    return figure
