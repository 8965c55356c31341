"""Train the head, fold by fold, and judge it on pictures that it did not see.

    python -m stages.train        # or: dvc exp run -S train.dropout=0.3

Reads `features/ensemble.h5`. Writes `models/fold_<k>.weights.h5`; `results/oof.h5` with the out-of-fold probabilities;
through DVCLive `results/metrics.json` for `dvc metrics` and `results/plots` for `dvc plots`. The scores are of
out-of-fold predictions: every training picture is judged by the one model that was trained without it.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from dvclive import Live
from scmrepo.exceptions import SCMError

from stages.common.backbones import make_deterministic
from stages.common.errors import UserError, one_line, run
from stages.common.features import block_slices, open_features, text_array, texts
from stages.common.files import atomic_path
from stages.common.folds import assign_folds
from stages.common.heads import MEMORY_BYTES, DenseHead, Rows
from stages.common.params import Train, load_params
from stages.common.plots import draw_plots
from stages.common.progress import Progress
from stages.common.scores import Scores

ENSEMBLE = Path("features/ensemble.h5")
MODELS = Path("models")
RESULTS = Path("results")

# More classes than this make an unreadable confusion matrix, and more rows an unwieldy plot.
MAX_PLOTTED_CLASSES = 50
MAX_PLOTTED_ROWS = 50_000

Curves = dict[str, list[float]]


def main() -> None:
    """Run the stage."""
    params = load_params()
    make_deterministic(params.seed)
    MODELS.mkdir(exist_ok=True)
    with open_features(ENSEMBLE) as file:
        label, class_names = file["label"][:], texts(file["class_names"])
        fold = assign_folds(label, params.train.folds, params.seed)
        in_memory = file["train"].size * 4 <= MEMORY_BYTES
        features = file["train"][:] if in_memory else file["train"]
        with atomic_path(RESULTS / "oof.h5") as partial, h5py.File(partial, "w") as oof_file:
            judged = np.flatnonzero(fold >= 0)
            oof_file["file"] = file["train_file"][:][judged]
            oof_file["label"], oof_file["fold"] = label[judged], fold[judged]
            oof_file["class_names"] = text_array(class_names)
            oof = oof_file.create_dataset("proba", (len(judged), len(class_names)), np.float32)
            curves, fold_scores, scores = train_folds(params.train, features, label, fold, params.seed, oof)
    n_models = int(fold.max()) + 1
    metrics = {f"val_{name}": value for name, value in scores.items()}
    if n_models > 1:
        metrics["val_log_loss_std"] = float(np.std([score["log_loss"] for score in fold_scores]))
    n_smallest_fold = min(int((fold != k).sum()) for k in range(n_models))
    metrics |= {"n_train": n_smallest_fold, "n_val": len(judged)}
    log(metrics, curves, class_names)
    for name, value in metrics.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value:,}")


def train_folds(
    options: Train,
    features: h5py.Dataset | np.ndarray,
    label: np.ndarray,
    fold: np.ndarray,
    seed: int,
    oof: h5py.Dataset,
) -> tuple[list[Curves], list[dict[str, float]], dict[str, float]]:
    """Train one head a fold and judge each on its own fold.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    features : h5py.Dataset or ndarray of shape (n_rows, n_features), float32
        Features of the training pictures.
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row judges, or -1.
    seed : int
        Seed of every head.
    oof : h5py.Dataset of shape (n_judged, n_classes), float32
        Takes the out-of-fold probabilities, in the order of the judged rows.

    Returns
    -------
    curves : list of dict
        Learning curves of each fold.
    fold_scores : list of dict
        Scores of each fold.
    scores : dict
        Scores of all judged rows together.
    """
    n_classes = oof.shape[1]
    all_scores, curves, fold_scores = Scores(n_classes), [], []
    position = np.cumsum(fold >= 0) - 1  # Row of `oof` for each judged row.
    n_folds = int(fold.max()) + 1
    with Progress(n_folds, "Training", unit="folds") as progress:
        for k in range(n_folds):
            head = DenseHead(options, features.shape[1], n_classes, seed)
            curves.append(head.fit(Rows(features, label, fold != k), Rows(features, label, fold == k)))
            scores = Scores(n_classes)
            for rows, proba in predicted_blocks(head, features, fold == k, n_classes):
                oof[position[rows]] = proba
                scores.add(label[rows], proba)
                all_scores.add(label[rows], proba)
            fold_scores.append(scores.result())
            head.save(MODELS / f"fold_{k + 1}.weights.h5")
            progress.add(1)
    return curves, fold_scores, all_scores.result()


def predicted_blocks(
    head: DenseHead, features: h5py.Dataset | np.ndarray, chosen: np.ndarray, n_classes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers (n,) and probabilities (n, n_classes) of the chosen rows, a block at a time."""
    for block in block_slices(len(chosen), max(features.shape[1], n_classes) * 4):
        rows = np.flatnonzero(chosen[block])
        if len(rows):
            yield block.start + rows, head.predict_proba(features[block][rows])


def log(metrics: dict[str, float], curves: list[Curves], class_names: list[str]) -> None:
    """Write metrics and plots through DVCLive.

    Raises
    ------
    UserError
        If DVCLive can't work in this repository.
    """
    with h5py.File(RESULTS / "oof.h5") as oof:
        # Evenly spread rows, should there be more than a plot can show; the file is shuffled.
        shown = slice(None, None, -(-len(oof["label"]) // MAX_PLOTTED_ROWS))
        label = oof["label"][shown]
        proba = oof["proba"][shown] if len(class_names) <= MAX_PLOTTED_CLASSES else None
    try:
        with Live(str(RESULTS), dvcyaml=None, save_dvc_exp=False, report=None) as live:
            n_epochs = max(len(values) for curve in curves for values in curve.values())
            for epoch in range(n_epochs):
                live.step = epoch + 1
                for name in curves[0]:
                    values = [curve[name][epoch] for curve in curves if epoch < len(curve[name])]
                    split, metric = ("val", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
                    live.log_metric(f"{split}/{metric}", float(np.mean(values)))
            if proba is not None and len(class_names) == 2:
                live.log_sklearn_plot("roc", label, proba[:, 1], name="roc")
                live.log_sklearn_plot("calibration", label, proba[:, 1], name="calibration", n_bins=10)
            if proba is not None:
                names = np.array(class_names)
                live.log_sklearn_plot(
                    "confusion_matrix", names[label], names[proba.argmax(axis=1)], name="confusion_matrix"
                )
            live.log_image("overview.png", draw_plots(curves, label, proba, class_names))
            # The curves' last values are in the plots; the table of metrics keeps what experiments are compared by.
            live.summary, live._step = dict(metrics), None
    except SCMError as error:
        raise UserError(f"DVCLive: {one_line(error)}; make a first commit: git add -A && git commit") from None


if __name__ == "__main__":
    run(main)
