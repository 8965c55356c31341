"""Compare experiments on the rows that all of them have, and blend them: what is said, and what is written."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.experiments.blending import fit_blend, write_blend
from gap_ensemble.experiments.common import (
    Scored,
    Shared,
    of_test_rows,
    out_of_fold,
    require_same_task,
    score,
    score_parts,
)
from gap_ensemble.experiments.revisions import fetch
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import load_params
from gap_ensemble.paths import ROWS, SAMPLE
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.predictions import open_predictions
from gap_ensemble.tasks.predicting import write_submission
from gap_ensemble.tasks.task import Task, task_of

# Above this weight of one part, a blend is a copy of it.
COPY = 0.995


def compare_experiments(experiments: list[str]) -> None:
    """Print the scores of experiments on the rows that all of them have, and their differences from the best.

    Raises
    ------
    UserError
        If they can't be compared.
    """
    task, train, _ = _here()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        require_same_task(experiments, task.competition, folder)
        with out_of_fold(experiments, train.index, folder) as shared:
            y = task.encode(train.loc[shared.row])
            scores = score_parts(shared, task, y, task.decision(load_params().predict), folder)
            folds = {name: part.file.fold[part.place] for name, part in shared.parts.items()}
            doubts = [*_other_folds(folds), *_other_targets(shared, task, y, folder)]
    print(_table(scores, {}))
    for line in _differences(scores, folds, task.metric.greater_is_better):
        print(line)
    for doubt in doubts:
        print(f"WARNING: {doubt}")


def blend_experiments(experiments: list[str], how: str, to: Path) -> None:
    """Blend experiments, print the scores, and write the blend's submission and beside it its scores.

    Parameters
    ----------
    experiments : list of str
    how : str
        One of `blending.HOW`.
    to : Path
        The submission; its scores get the same name and `.json`.

    Raises
    ------
    UserError
        If they can't be blended.
    """
    task, train, test = _here()
    if how == "geometric" and task.competition.task.kind == "numbers":
        raise UserError("--how geometric: this competition predicts numbers; accepted: fitted, mean")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        require_same_task(experiments, task.competition, folder)
        with out_of_fold(experiments, train.index, folder) as shared:
            y = task.encode(train.loc[shared.row])
            decision = task.decision(load_params().predict)
            scores = score_parts(shared, task, y, decision, folder)
            blend = fit_blend(shared, y, task.competition.task.kind, how)
            doubts = _other_targets(shared, task, y, folder)
            write_blend(folder / "blend.h5", shared, blend)
            of_blend = score(folder / "blend.h5", task, y, decision)
        weights = dict(zip(scores, blend.weights.tolist(), strict=True))
        print(_table(scores | {"the blend": of_blend}, weights))
        for doubt in [*doubts, *_doubt(scores, of_blend, weights)]:
            print(f"WARNING: {doubt}")
        if task.competition.submission is None:
            print("No submission is written, since the competition has no sample submission")
            return
        with of_test_rows(experiments, test.index.tolist(), folder) as shared_test:
            write_blend(folder / "test.h5", shared_test, blend)
        with open_predictions(folder / "test.h5") as predictions:
            n_rows = write_submission(to, SAMPLE, task, of_blend.decision, predictions)
    _write_scores(to, f"blend of {' '.join(scores)}", of_blend, len(y), weights)
    print(f"{to}: {n_rows:,} rows")


def _here() -> tuple[Task, pd.DataFrame, pd.DataFrame]:
    """Return the task of the workspace, and its training and test rows by name."""
    rows = read_rows()
    train, test = (rows[rows["split"] == split].set_index("row", drop=False) for split in ("train", "test"))
    return task_of(read_competition()), train, test


def _table(scores: dict[str, Scored], weights: dict[str, float]) -> str:
    """Return a line an experiment, the competition's metric first."""
    first = next(iter(scores.values()))
    lines = [["", f"{first.metric} (as submitted)", *(name.removeprefix("val_") for name in _usual(first))]]
    for name, scored in scores.items():
        lines.append([name, str(scored), *(f"{scored.usual[key]:.4f}" for key in _usual(scored))])
    if weights:
        for line in lines:
            line.append("weight" if not line[0] else f"{weights[line[0]]:.3f}" if line[0] in weights else "")
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _differences(scores: dict[str, Scored], folds: dict[str, np.ndarray], greater_is_better: bool) -> list[str]:
    """Return a line for every experiment but the best: how far it is from it, and whether that is more than noise.

    Differences are paired fold by fold, not row by row: rows of a group err together, which their number hides, and a
    single row has no AUC or kappa. Noise is what Student's t allows in 95 of 100 cases: with five folds 2.8 standard
    errors. Where the rows of two experiments (`folds`, by name) validate in different folds, there is no verdict.
    """
    best = min(scores, key=lambda name: scores[name].loss)
    lines = []
    for name, scored in scores.items():
        apart = scored.of_folds - scores[best].of_folds
        apart = apart[np.isfinite(apart)]  # A fold of one class has no AUC.
        if name == best or len(apart) < 2:
            continue
        mean, error = apart.mean(), apart.std(ddof=1) / np.sqrt(len(apart))
        allowed = student.ppf(0.975, len(apart) - 1)
        verdict = f"within noise ({allowed:.1f} standard errors)"
        if abs(mean) > allowed * error:
            verdict = f"{'better' if (mean > 0) == greater_is_better else 'worse'} by more than noise"
        if (folds[name] != folds[best]).any():
            verdict = "no verdict, since the folds are not the same"
        lines.append(
            f"{name} against {best}: {mean:+.4f} ± {error:.4f}, mean and standard error of the differences in "
            f"{len(apart)} folds: {verdict}"
        )
    return lines


def _other_folds(folds: dict[str, np.ndarray]) -> list[str]:
    """Return a line if rows do not validate in the same folds everywhere; `folds` has those of every experiment."""
    first, *others = folds
    return [
        f"{name}: {n:,} of {len(folds[name]):,} rows validate in other folds than those of {first}, so the difference "
        "contains luck of the folds: a target, a group, a near-duplicate or the seed is not the same; run one of them "
        "again on the files and the seed of the other to compare"
        for name in others
        if (n := int((folds[name] != folds[first]).sum()))
    ]


def _other_targets(shared: Shared, task: Task, y: np.ndarray, folder: Path) -> list[str]:
    """Return a line for every experiment in which shared rows had other targets than `y`, those of the workspace."""
    lines = []
    for name in shared.parts:
        rows = read_rows(fetch(name, ROWS, folder))
        theirs = task.encode(rows[rows["split"] == "train"].set_index("row").loc[shared.row])
        n = int((theirs != y).reshape(len(y), -1).any(axis=1).sum())
        if n:
            lines.append(
                f"{name}: was trained on other targets in {n:,} of {len(y):,} rows; it is scored by those of the "
                "workspace: run it again to compare"
            )
    return lines


def _usual(scored: Scored) -> list[str]:
    return [name for name in scored.usual if not name.endswith("_std")]


def _doubt(scores: dict[str, Scored], blend: Scored, weights: dict[str, float]) -> list[str]:
    """Return a line if something speaks against submitting the blend."""
    most = max(weights, key=weights.__getitem__)
    if weights[most] > COPY:
        return [f"the blend is a copy of {most}, whose weight is {weights[most]:.3f}"]
    best = min(scores, key=lambda name: scores[name].loss)
    if blend.loss >= scores[best].loss:
        return [f"the blend is no better than its best part out of fold: {blend} against {scores[best]} of {best}"]
    return []


def _write_scores(to: Path, name: str, scored: Scored, n_val: int, weights: dict[str, float]) -> None:
    """Write beside a submission what `tools.submit` notes of it."""
    values = {
        "experiment": name,
        f"submission_{scored.metric}": scored.score,
        "val_n_samples": n_val,
        "weights": weights,
    }
    write_text(to.with_suffix(".json"), json.dumps(values, indent=2) + "\n")
