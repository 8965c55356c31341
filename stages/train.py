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
from collections.abc import Iterator

import numpy as np
import pandas as pd
from dvclive import Live
from scmrepo.exceptions import SCMError

from gap_ensemble.competition.competition import Competition, read_competition
from gap_ensemble.heads.blend import HEADS, Blend, fit_blend_weights, parts_of
from gap_ensemble.heads.rows import MEMORY_BYTES, Curves, Features, Rows, TrainingData
from gap_ensemble.messages.errors import UserError, listed, one_line, run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import Train, load_params
from gap_ensemble.paths import ENSEMBLE, GROUPS, JUDGED, MODELS, OOF, RESULTS
from gap_ensemble.reporting.plots import draw_plots, one_against_rest
from gap_ensemble.scoring.scores import Scores
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import atomic_path
from gap_ensemble.storage.hdf5 import block_slices, texts
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
        parts = parts_of(params.train, json.loads(file.attrs["columns"]))
        group = group_numbers(files, pd.read_csv(GROUPS))
        seen = file["seen"][:] if "seen" in file else np.zeros(len(label), bool)
        fold = folds_of_unseen(label, group, seen, params.train.folds, params.seed)
        warn_of_rare_classes(label[fold >= 0] if seen.any() else label, class_names, params.train.folds)
        features = file["train"][:] if file["train"].size * 4 <= MEMORY_BYTES else file["train"]
        blends, curves = fit_folds(params.train, parts, features, label, fold, len(class_names), params.seed)
        fit_weights(blends, features, label, fold)
        judged, metrics, plotted = judge(blends, features, label, fold, files, read_competition())
    write_table(JUDGED, judged)
    log(live, metrics, curves, class_names, *plotted)
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


def fit_folds(
    options: Train,
    parts: dict[str, slice],
    features: Features,
    label: np.ndarray,
    fold: np.ndarray,
    n_classes: int,
    seed: int,
) -> tuple[list[Blend], list[Curves]]:
    """Train the heads of every fold on the rows of the other folds.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    parts : dict of str to slice
        The columns that get a head each.
    features : h5py.Dataset or ndarray of shape (n_rows, n_features), float32
        Features of the training pictures.
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row judges, or -1.
    n_classes, seed : int
        As for the heads.

    Returns
    -------
    blends : list of Blend
        One a fold.
    curves : list of dict of str to list of float
        Learning curves of each head.
    """
    n_folds = int(fold.max()) + 1
    blends = [Blend(options, parts, n_classes) for _ in range(n_folds)]
    curves: list[Curves] = []
    with Progress(options.epochs * n_folds * len(parts), "Training", unit="epochs") as progress:
        for name, columns in parts.items():
            rows = Rows(features, np.ones(len(label), bool), columns)
            data = TrainingData(options, rows, label, fold, n_folds, n_classes, seed)
            heads, head_curves = HEADS[options.head].fit_folds(data, progress.add)
            for blend, head in zip(blends, heads, strict=True):
                blend.heads[name] = head
            curves += head_curves
    return blends, curves


def fit_weights(blends: list[Blend], features: Features, label: np.ndarray, fold: np.ndarray) -> None:
    """Fit the blend's weights out of fold, save the models with them, and leave each fold with honest ones.

    The saved models, which predict the test pictures, get the weights that suit all judged rows. The blends that go on
    to judge get weights fitted without the rows that they judge. With a single split there are no such rows, and
    every part weighs the same.
    """
    n_parts = len(blends[0].parts)
    honest = [blend.weights for blend in blends]
    if n_parts > 1 and len(blends) > 1:
        true_proba = np.empty((len(label), n_parts))
        for k, blend in enumerate(blends):
            for rows, block in chosen_blocks(features, fold == k, blend.n_classes):
                for part, proba in enumerate(blend.predict_parts(block)):
                    true_proba[rows, part] = proba[np.arange(len(rows)), label[rows]]
        honest = [fit_blend_weights(true_proba[(fold >= 0) & (fold != k)]) for k in range(len(blends))]
        for blend in blends:
            blend.weights = fit_blend_weights(true_proba[fold >= 0])
        shown = zip(blends[0].parts, blends[0].weights, strict=True)
        print("Blend: " + ", ".join(f"{weight:.3f} {name}" for name, weight in shown))
    for k, blend in enumerate(blends):
        blend.save(MODELS / f"fold_{k + 1}")
        blend.weights = honest[k]


def judge(
    blends: list[Blend],
    features: Features,
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
        for k, blend in enumerate(blends):
            scores = Scores(len(names))
            for rows, block in chosen_blocks(features, fold == k, len(names)):
                proba = blend.predict_proba(block).astype(np.float32)
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
        if len(blends) > 1:
            metrics[f"val_{name}_std"] = float(np.std([scores[name] for scores in fold_scores]))
    metrics["n_train"] = min(int((fold != k).sum()) for k in range(len(blends)))
    metrics["n_val"] = int((fold >= 0).sum())
    proba_shown = np.concatenate(plotted_proba) if plotted_proba else None
    return pd.concat(judged), metrics, (np.concatenate(plotted_labels), proba_shown)


def chosen_blocks(features: Features, chosen: np.ndarray, n_classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers (n,) and features (n, n_features) of the chosen rows, in blocks whose probabilities stay small."""
    for block in block_slices(len(chosen), max(features.shape[1], n_classes) * 4):
        rows = np.flatnonzero(chosen[block])
        if len(rows):
            yield block.start + rows, features[block][rows]


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
