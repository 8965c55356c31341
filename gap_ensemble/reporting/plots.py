"""The picture of a training run: learning curves, ROC, calibration and confusion matrix on one page."""

from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay


def one_against_rest(label: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what ROC and calibration are drawn of: whether it is the class, and its probability, shape (n,) each.

    With two classes that is the second; with more, every class of every row counts (micro-average).
    """
    if proba.shape[1] == 2:
        return label == 1, proba[:, 1]
    return np.eye(proba.shape[1], dtype=bool)[label].ravel(), proba.ravel()


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
    n_panels = 1 + 3 * (proba is not None)
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
    if proba is not None:
        is_class, probability = one_against_rest(label, proba)
        what = class_names[1] if len(class_names) == 2 else "every class against the rest"
        panel = next(panels)
        RocCurveDisplay.from_predictions(is_class, probability, ax=panel, name="out of fold", plot_chance_level=True)
        panel.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC: {what}")
        panel = next(panels)
        CalibrationDisplay.from_predictions(is_class, probability, n_bins=10, ax=panel, name="out of fold")
        panel.set(xlabel="mean predicted probability", ylabel="share that is the class", title=f"Calibration: {what}")
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
