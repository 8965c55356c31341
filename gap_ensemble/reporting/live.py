"""What training logs for `dvc plots`, through DVCLive: learning curves, ROC, calibration, confusion matrix.

dvc.yaml lists the same plots for every task and head. `dvc plots` complains of files that are missing and leaves empty
ones out, so a plot that a task does not have is an empty file.
"""

import matplotlib
import numpy as np
from dvclive import Live
from scmrepo.exceptions import SCMError

from gap_ensemble.heads.head import Curves
from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.paths import TRAINING
from gap_ensemble.reporting.plots import MAX_CLASSES, Training, draw_plots, one_against_rest
from gap_ensemble.storage.files import write_text
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import Task

matplotlib.use("Agg")

# More rows than this make an unwieldy plot.
MAX_PLOTTED_ROWS = 50_000

# What dvc.yaml lists, and what stands in a file of a plot that there is not.
RESIDUALS = "residuals.csv"
PLOTS = {
    **{f"metrics/{split}/{name}.tsv": f"step\t{name}\n" for split in ("train", "val") for name in ("loss", "accuracy")},
    **{f"sklearn/{name}.json": "[]\n" for name in ("roc", "calibration", "confusion_matrix")},
    RESIDUALS: "actual,predicted\n",
}


def open_live() -> Live:
    """Return the logger of curves and plots, before anything is trained.

    Raises
    ------
    UserError
        If DVCLive can't work in this repository.
    """
    try:
        return Live(str(TRAINING), dvcyaml=None, save_dvc_exp=False, report=None)
    except SCMError as error:
        raise UserError(f"DVCLive: {one_line(error)}; make a first commit: git add -A && git commit") from None


def log_training(live: Live, task: Task, training: Training, evaluation: Evaluation) -> None:
    """Write learning curves (means over heads) and the plots that the task has.

    Parameters
    ----------
    live : Live
    task : Task
    training : Training
    evaluation : Evaluation
        Out-of-fold predictions.
    """
    every = -(-len(evaluation.truth) // MAX_PLOTTED_ROWS)
    y, values = evaluation.truth[::every], evaluation.values[::every]
    with live:
        _log_curves(live, training.curves)
        if task.competition.task.kind == "numbers":
            lines = [f"{actual:.6g},{predicted:.6g}\n" for actual, predicted in zip(y.flat, values.flat, strict=True)]
            write_text(TRAINING / "plots" / RESIDUALS, PLOTS[RESIDUALS] + "".join(lines))
        else:
            is_class, probability = one_against_rest(y, values)
            live.log_sklearn_plot("roc", is_class, probability, name="roc")
            live.log_sklearn_plot("calibration", is_class, probability, name="calibration", n_bins=10)
        if y.ndim == 1 and len(task.names) <= MAX_CLASSES:
            names = np.array(task.names)
            live.log_sklearn_plot("confusion_matrix", names[y], names[values.argmax(axis=1)], name="confusion_matrix")
        live.log_image("overview.png", draw_plots(task, training, y, values))
        # The last values of the curves are in the plots; scores are written by the stage that makes the submission.
        live.summary, live._step = {}, None
    for name, nothing in PLOTS.items():
        path = TRAINING / "plots" / name
        if not path.exists():
            write_text(path, nothing)


def _log_curves(live: Live, curves: list[Curves]) -> None:
    """Log the mean over all heads after every epoch, of those that have trained so long."""
    names = dict.fromkeys(name for curve in curves for name in curve)
    for epoch in range(max((len(points) for curve in curves for points in curve.values()), default=0)):
        live.step = epoch + 1
        for name in names:
            points = [curve[name][epoch] for curve in curves if epoch < len(curve.get(name, []))]
            split, metric = ("val", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
            if points:
                live.log_metric(f"{split}/{metric}", float(np.mean(points)))
