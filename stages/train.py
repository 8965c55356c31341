"""Train the head, fold by fold, and judge it on pictures that it did not see.

    python -m stages.train        # or: dvc exp run -S train.dropout=0.3

Reads `features/ensemble.h5` and the groups of near-duplicates. Writes

    models/fold_<k>/            the heads of each fold
    results/oof.csv             out-of-fold predictions, in the submission's form: a row for every judged picture
    results/judged.csv          the same rows for people: file, class, fold, predicted, true_proba
    results/metrics.json        for `dvc metrics`, through DVCLive
    results/plots/              for `dvc plots`, through DVCLive

Every score is of out-of-fold predictions: a picture is judged by the one model that was trained without it and without
its near-duplicates.
"""

import json

import numpy as np
import pandas as pd
from dvclive import Live
from scmrepo.exceptions import SCMError

from gap_ensemble.competition.competition import Competition, read_competition
from gap_ensemble.heads.ensemble import EnsembleData, FittedEnsemble, fit_ensemble
from gap_ensemble.heads.head import Curves, Outputs
from gap_ensemble.heads.rows import MEMORY_BYTES
from gap_ensemble.messages.errors import UserError, listed, one_line, run
from gap_ensemble.params import load_params
from gap_ensemble.paths import ENSEMBLE, GROUPS, JUDGED, MODELS, OOF, RESULTS
from gap_ensemble.reporting.plots import draw_plots, one_against_rest
from gap_ensemble.scoring.scores import Scores
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import atomic_path
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.storage.tables import write_table
from gap_ensemble.tasks.submission import rows_of_submission
from gap_ensemble.validation.folds import assign_folds

# More classes than this make an unreadable confusion matrix, and more rows an unwieldy plot.
MAX_PLOTTED_CLASSES = 50
MAX_PLOTTED_ROWS = 50_000


def main() -> None:
    """Run the stage."""
    params = load_params()
    if params.train.head == "dense":
        from gap_ensemble.networks.backbones import make_deterministic

        make_deterministic(params.seed)
    live = open_live()
    with open_features(ENSEMBLE) as file:
        label, files, class_names = file["label"][:], texts(file["train_file"]), texts(file["class_names"])
        columns = {name: slice(*span) for name, span in json.loads(file.attrs["columns"]).items()}
        group = group_numbers(files, pd.read_csv(GROUPS))
        seen = file["seen"][:] if "seen" in file else np.zeros(len(label), bool)
        fold = folds_of_unseen(label, group, seen, params.train.folds, params.seed)
        warn_of_rare_classes(label[fold >= 0] if seen.any() else label, class_names, params.train.folds)
        features = file["train"][:] if file["train"].size * 4 <= MEMORY_BYTES else file["train"]
        outputs = Outputs("classes", len(class_names))
        fitted = fit_ensemble(params.train, columns, EnsembleData(features, label, outputs, fold, group, params.seed))
        for k, model in enumerate(fitted.models):
            model.save(MODELS / f"fold_{k + 1}")
        judged, metrics, plotted = judge(fitted, label, fold, files, read_competition())
    write_table(JUDGED, judged)
    log(live, metrics, fitted.curves, class_names, *plotted)
    for name, value in metrics.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value:,}")


def folds_of_unseen(label: np.ndarray, group: np.ndarray, seen: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Deal the rows into folds; those whose labels a fine-tuned network has seen, or a near-duplicate's, never judge.

    Parameters
    ----------
    label, group : ndarray of shape (n_rows,), integer
        Class of every row, and its group of near-duplicates.
    seen : ndarray of shape (n_rows,), bool
        What a fine-tuned network has seen.
    n_folds, seed : int
        As for `assign_folds`.

    Returns
    -------
    ndarray of shape (n_rows,), int32
        As `assign_folds` returns it.

    Raises
    ------
    UserError
        If fewer rows are left than there are folds.
    """
    unseen = ~np.isin(group, group[seen])
    if seen.any() and len(np.unique(group[unseen])) < max(n_folds, 2):
        raise UserError(
            f"{ENSEMBLE}: fine-tuned networks have not seen {unseen.sum():,} of {len(label):,} training pictures, too "
            f"few to judge {n_folds} folds; raise held_out in the entries of finetune, or leave those networks out"
        )
    if seen.any():
        print(f"{unseen.sum():,} of {len(label):,} training pictures judge: fine-tuned networks have not seen them")
    fold = np.full(len(label), -1, np.int32)
    fold[unseen] = assign_folds(label[unseen], n_folds, seed, group[unseen])
    return fold


def warn_of_rare_classes(label: np.ndarray, class_names: list[str], n_folds: int) -> None:
    """Say which classes have fewer pictures than there are folds: some fold has none of them to judge."""
    counts = np.bincount(label, minlength=len(class_names))
    rare = [f"{class_names[i]} ({counts[i]})" for i in np.flatnonzero(counts < max(n_folds, 2))]
    if rare:
        print(
            f"WARNING: {len(rare):,} classes have fewer pictures than train.folds ({n_folds}): {listed(rare)}; a class "
            "of one picture is judged by a model that never saw it"
        )


def group_numbers(files: list[str], groups: pd.DataFrame) -> np.ndarray:
    """Return the number of every file's group of near-duplicates, shape (n_files,); most have one to themselves."""
    shared = groups[groups["split"] == "train"].set_index("file")["group"]
    alone = np.arange(len(files)) + len(files) + 1
    return np.where(pd.Index(files).isin(shared.index), pd.Series(files).map(shared).fillna(0), alone).astype(np.int64)


def judge(
    fitted: FittedEnsemble,
    label: np.ndarray,
    fold: np.ndarray,
    files: list[str],
    competition: Competition,
) -> tuple[pd.DataFrame, dict[str, float], tuple[np.ndarray, np.ndarray | None]]:
    """Predict every judged row with its fold's model, write `results/oof.csv`, and score.

    Returns
    -------
    judged : DataFrame with columns file, class, fold, predicted, true_proba
        One row a judged picture.
    metrics : dict of str to number
        What `dvc metrics` shows.
    plotted : tuple of ndarray of shape (n,) and ndarray of shape (n, n_classes) or None
        Labels and probabilities of as many rows as a plot can show.
    """
    names = np.array(competition.class_names)
    all_scores, fold_scores = Scores(len(names)), []
    judged, plotted_labels, plotted_proba = [], [], []
    every = -(-int((fold >= 0).sum()) // MAX_PLOTTED_ROWS)
    with atomic_path(OOF) as partial, open(partial, "w", encoding="utf-8", newline="") as oof:
        for k in range(len(fitted.models)):
            scores = Scores(len(names))
            for rows, proba in fitted.out_of_fold(k):
                table = rows_of_submission(competition, [files[row] for row in rows], proba)
                table.to_csv(oof, index=False, header=oof.tell() == 0, lineterminator="\n")
                for kept in (scores, all_scores):
                    kept.add(label[rows], proba)
                values = {
                    "file": [files[row] for row in rows],
                    "class": names[label[rows]],
                    "fold": k + 1,
                    "predicted": names[proba.argmax(axis=1)],
                    "true_proba": proba[np.arange(len(rows)), label[rows]],
                }
                judged.append(pd.DataFrame(values))
                plotted_labels.append(label[rows[::every]])
                if len(names) <= MAX_PLOTTED_CLASSES:
                    plotted_proba.append(proba[::every])
            fold_scores.append(scores.result())

    metrics: dict[str, float] = {}
    for name, value in all_scores.result().items():
        metrics[f"val_{name}"] = value
        if len(fitted.models) > 1:
            metrics[f"val_{name}_std"] = float(np.std([scores[name] for scores in fold_scores]))
    metrics["n_train"] = min(int((fold != k).sum()) for k in range(len(fitted.models)))
    metrics["n_val"] = int((fold >= 0).sum())
    proba_shown = np.concatenate(plotted_proba) if plotted_proba else None
    return pd.concat(judged), metrics, (np.concatenate(plotted_labels), proba_shown)


def open_live() -> Live:
    """Return the logger of metrics and plots, before anything is trained.

    Raises
    ------
    UserError
        If DVCLive can't work in this repository.
    """
    try:
        return Live(str(RESULTS), dvcyaml=None, save_dvc_exp=False, report=None)
    except SCMError as error:
        raise UserError(f"DVCLive: {one_line(error)}; make a first commit: git add -A && git commit") from None


def log(
    live: Live,
    metrics: dict[str, float],
    curves: list[Curves],
    class_names: list[str],
    label: np.ndarray,
    proba: np.ndarray | None,
) -> None:
    """Write metrics and plots."""
    with live:
        for epoch in range(max(len(values) for curve in curves for values in curve.values())):
            live.step = epoch + 1
            for name in curves[0]:
                values = [curve[name][epoch] for curve in curves if epoch < len(curve[name])]
                split, metric = ("val", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
                live.log_metric(f"{split}/{metric}", float(np.mean(values)))
        if proba is not None:
            is_class, probability = one_against_rest(label, proba)
            live.log_sklearn_plot("roc", is_class, probability, name="roc")
            live.log_sklearn_plot("calibration", is_class, probability, name="calibration", n_bins=10)
            names = np.array(class_names)
            live.log_sklearn_plot(
                "confusion_matrix", names[label], names[proba.argmax(axis=1)], name="confusion_matrix"
            )
        live.log_image("overview.png", draw_plots(curves, label, proba, class_names))
        # The curves' last values are in the plots; the table of metrics keeps what experiments are compared by.
        live.summary, live._step = dict(metrics), None


if __name__ == "__main__":
    run(main)
