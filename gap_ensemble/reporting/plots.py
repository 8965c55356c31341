"""The picture of a training run: learning curves, and how predictions compare with the truth, on one page."""

from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay, RocCurveDisplay

from gap_ensemble.heads.head import Curves
from gap_ensemble.tasks.task import Task

# More classes than this make an unreadable confusion matrix; more still an unreadable picture of one.
MAX_NAMED_CLASSES = 20
MAX_CLASSES = 200


@dataclass(frozen=True)
class Training:
    """What there is to see of how heads were trained.

    Attributes
    ----------
    learned : str
        What the heads learn, and their loss is of: classes, labels, combinations of labels, or numbers.
    curves : list of dict of str to list of float
        Learning curves of every head.
    """

    learned: str
    curves: list[Curves]


def one_against_rest(y: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what ROC and calibration are drawn of: whether it is the class, and its probability, shape (n,) each.

    Of two classes that is the second; of more, and of labels, every one of every row counts (micro-average).
    """
    if y.ndim == 2:
        return y.ravel() == 1, values.ravel()
    if values.shape[1] == 2:
        return y == 1, values[:, 1]
    return (y[:, None] == np.arange(values.shape[1])).ravel(), values.ravel()


def draw_plots(task: Task, training: Training, y: np.ndarray, values: np.ndarray) -> Any:
    """Draw what there is to see of a task.

    Parameters
    ----------
    task : Task
    training : Training
    y : ndarray
        The truth of the rows that validate.
    values : ndarray of shape (n_samples, n_outputs)
        Predictions out of fold.

    Returns
    -------
    matplotlib.figure.Figure
    """
    is_numbers = task.competition.task.kind == "numbers"
    has_confusion = y.ndim == 1 and len(task.names) <= MAX_CLASSES
    n_panels = 1 + (1 if is_numbers else 2 + has_confusion)
    figure, axes = plt.subplots(1, n_panels, figsize=(5 * n_panels, 4.5), layout="constrained", squeeze=False)
    panels = iter(axes[0])
    draw_curves(next(panels), training)
    if is_numbers:
        PredictionErrorDisplay.from_predictions(
            y.ravel(), values.ravel(), kind="actual_vs_predicted", ax=next(panels), scatter_kwargs={"s": 5}
        )
        return figure
    is_class, probability = one_against_rest(y, values)
    what = task.names[1] if len(task.names) == 2 and y.ndim == 1 else "each against the rest"
    panel = next(panels)
    RocCurveDisplay.from_predictions(is_class, probability, ax=panel, name="out of fold", plot_chance_level=True)
    panel.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC: {what}")
    panel = next(panels)
    CalibrationDisplay.from_predictions(is_class, probability, n_bins=10, ax=panel, name="out of fold")
    panel.set(xlabel="mean predicted probability", ylabel="share that is true", title=f"Calibration: {what}")
    if has_confusion:
        draw_confusion(next(panels), task, y, values)
    return figure


def draw_curves(panel: Any, training: Training) -> None:
    """Draw the loss of every head after every epoch."""
    for k, curve in enumerate(training.curves):
        for name, colour in (("loss", "tab:blue"), ("val_loss", "tab:orange")):
            points = curve.get(name, [])  # A head without epochs has one loss, and none of validation.
            marker = "o" if len(points) == 1 else None
            epochs = range(1, len(points) + 1)
            panel.plot(epochs, points, color=colour, marker=marker, alpha=0.7, label=name if k == 0 else None)
    panel.set(
        xlabel="epoch", ylabel=f"loss of {training.learned}", yscale="log", title="Learning curves, one line a head"
    )
    if panel.get_legend_handles_labels()[0]:
        panel.legend()


def draw_confusion(panel: Any, task: Task, y: np.ndarray, values: np.ndarray) -> None:
    """Draw the confusion matrix, with names and numbers as long as they can be read."""
    few = len(task.names) <= MAX_NAMED_CLASSES
    ConfusionMatrixDisplay.from_predictions(
        y,
        values.argmax(axis=1),
        labels=np.arange(len(task.names)),
        display_labels=task.names if few else None,
        ax=panel,
        colorbar=False,
        include_values=few,
        xticks_rotation="vertical",
    )
    if not few:
        panel.set(xticks=[], yticks=[])
    panel.set(title="Confusion matrix")
