"""Blend several experiments: score the blend out of fold and write its submission.

    dvc exp show --only-changed                                    # names of experiments
    python -m tools.blend frosty-gnat sonic-wisp                   # weights fitted out of fold
    python -m tools.blend --how mean workspace frosty-gnat --to submissions/blend.csv

An experiment is anything that DVC takes as a revision (an experiment's name, a branch, a commit), or `workspace`. Rows
are matched by id. The experiments must be of the same competition; their clip is that of `predict.clip` here.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.competition.competition import Competition, read_competition
from gap_ensemble.heads.blend import fit_blend_weights
from gap_ensemble.messages.errors import UserError, listed, run
from gap_ensemble.params import load_params
from gap_ensemble.paths import JUDGED, OOF, SAMPLE, TEST
from gap_ensemble.scoring.scores import Calibration, Scores, cross_fitted_log_loss, fit_calibration
from gap_ensemble.storage.tables import read_table, write_table
from gap_ensemble.tasks.submission import PROBABILITY_FORMS, positive_index, proba_of_rows, rows_of_submission
from tools.revisions import open_at

BLENDS = ("fitted", "mean", "geometric")


def main() -> None:
    """Blend what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.blend", description="Blend experiments' predictions.")
    parser.add_argument("experiments", nargs="+", help="names of experiments, branches or commits, or `workspace`")
    parser.add_argument("--how", choices=BLENDS, default="fitted", help="default: weights fitted out of fold")
    parser.add_argument("--to", type=Path, default=Path("submissions/blend.csv"), help="default: %(default)s")
    arguments = parser.parse_args()
    if len(arguments.experiments) < 2:
        raise UserError(f"tools.blend: found {len(arguments.experiments)} experiment; give two or more")

    clip, competition = load_params().predict.clip, read_competition()
    if competition.submission.kind not in PROBABILITY_FORMS:
        raise UserError("tools.blend: this competition's submission has no probabilities; only those can be blended")
    positive = positive_index(competition)
    id_column = competition.submission.columns[0]
    judged = _read(arguments.experiments[0], JUDGED, "file")
    files = judged.index
    label = pd.Index(competition.class_names).get_indexer(judged["class"])
    fold = judged["fold"].to_numpy(int)
    oof = [_probabilities(name, OOF, competition, files) for name in arguments.experiments]
    ids = pd.Index(read_table(SAMPLE)[id_column])
    test = [_probabilities(name, TEST, competition, ids) for name in arguments.experiments]

    weights = np.full(len(oof), 1 / len(oof))
    honest = np.empty_like(oof[0])
    true_proba = np.stack([proba[np.arange(len(label)), label] for proba in oof], axis=1)
    for k in np.unique(fold):  # The weights that judge a row are fitted without its fold.
        others = fold != k
        fold_weights = fit_blend_weights(true_proba[others]) if arguments.how == "fitted" and others.any() else weights
        honest[~others] = blend([proba[~others] for proba in oof], fold_weights, arguments.how)
    if arguments.how == "fitted":
        weights = fit_blend_weights(true_proba)
    for name, proba, weight in [*zip(arguments.experiments, oof, weights, strict=True), ("blend", honest, None)]:
        print(_line(name, proba, label, fold, positive, clip, weight))

    calibration = fit_calibration(label, honest, positive) if clip == "auto" else Calibration(*clip)
    blended = calibration.apply(blend(test, weights, arguments.how), positive)
    write_table(arguments.to, rows_of_submission(competition, ids.tolist(), blended))
    print(f"{arguments.to}: {len(ids):,} rows")


def blend(probas: list[np.ndarray], weights: np.ndarray, how: str) -> np.ndarray:
    """Average probabilities.

    Parameters
    ----------
    probas : list of ndarray of shape (n_samples, n_classes)
        One an experiment.
    weights : ndarray of shape (len(probas),)
        Sum to one.
    how : {"fitted", "mean", "geometric"}
        `geometric` averages logarithms and divides rows by their sum.

    Returns
    -------
    ndarray of shape (n_samples, n_classes), float64
    """
    if how != "geometric":
        return np.asarray(np.average(np.stack(probas), axis=0, weights=weights))
    means = np.exp(np.average(np.log(np.maximum(np.stack(probas), 1e-12)), axis=0, weights=weights))
    return np.asarray(means / means.sum(axis=1, keepdims=True))


def _line(
    name: str,
    proba: np.ndarray,
    label: np.ndarray,
    fold: np.ndarray,
    positive: int | None,
    clip: str | tuple[float, float],
    weight: float | None,
) -> str:
    scores = Scores(proba.shape[1])
    scores.add(label, proba)
    clipped = (
        cross_fitted_log_loss(label, proba, fold, positive)
        if isinstance(clip, str)
        else Calibration(*clip).log_loss(label, proba, positive)
    )
    result = scores.result()
    shown = "" if weight is None else f", weight {weight:.3f}"
    return (
        f"{name}: log loss {result['log_loss']:.4f}, clipped {clipped:.4f}, accuracy {result['accuracy']:.4f}, out of "
        f"fold{shown}"
    )


def _read(experiment: str, path: Path, id_column: str) -> pd.DataFrame:
    """Read a table of an experiment, indexed by its ids."""
    with open_at(experiment, path) as file:
        table = pd.read_csv(file, dtype={id_column: str, "class": str}, keep_default_na=False)
    return table.set_index(id_column)


def _probabilities(experiment: str, path: Path, competition: Competition, ids: pd.Index) -> np.ndarray:
    """Return an experiment's probabilities for the given ids, shape (len(ids), n_classes)."""
    table = _read(experiment, path, competition.submission.columns[0])
    missing = ids.difference(table.index)
    if len(missing):
        raise UserError(
            f"tools.blend: {experiment}: {path} has no row for {listed(missing)}; experiments with the same pictures, "
            "the same train.folds and the same finetune entries can be blended"
        )
    return proba_of_rows(competition, table.loc[ids].reset_index())


if __name__ == "__main__":
    run(main)
