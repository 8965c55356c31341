"""Predictions of several experiments on the rows that all of them have, and their scores there.

Experiments may differ in their rows: a fine-tuned network is scored only on pictures that it was not trained on. Scores
compare only on the same rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import Competition, TaskDescription, read_competition
from gap_ensemble.experiments.revisions import fetch
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.paths import COMPETITION, OOF, TEST
from gap_ensemble.scoring.decisions import Decision
from gap_ensemble.storage.hdf5 import block_slices
from gap_ensemble.storage.predictions import PredictionFile, open_predictions, prediction_writer
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import Task


@dataclass
class Part:
    """One experiment's predictions, in an order of rows that several experiments share.

    Attributes
    ----------
    file : PredictionFile
    place : ndarray of shape (n_rows,), integer
        Where each shared row lies in the file.
    """

    file: PredictionFile
    place: np.ndarray

    def values(self, block: slice) -> np.ndarray:
        """Return predictions for a slice of the shared rows, shape (n, n_outputs), float32."""
        numbers = self.place[block]
        order = np.argsort(numbers)
        values = np.empty((len(numbers), self.file.n_outputs), np.float32)
        values[order] = self.file.values(numbers[order])
        return values


@dataclass
class Shared:
    """Predictions of several experiments for the same rows.

    Attributes
    ----------
    row : list of str
    fold : ndarray of shape (n_rows,), int32
        0 for test rows.
    parts : dict of str to Part
        By the experiments' names.
    n_outputs : int
    """

    row: list[str]
    fold: np.ndarray
    parts: dict[str, Part]
    n_outputs: int

    def blocks(self) -> Iterator[slice]:
        """Yield slices of rows, so that predictions of all parts together stay small."""
        return block_slices(len(self.row), self.n_outputs * 8 * len(self.parts))


@contextmanager
def out_of_fold(experiments: list[str], truth: pd.Index, folder: Path) -> Iterator[Shared]:
    """Give the out-of-fold predictions of experiments on the rows that all of them have.

    The order of the experiments makes no difference. Where a single split was scored, rows get five new folds: what is
    fitted to the predictions of some rows is scored on others.

    Parameters
    ----------
    experiments : list of str
    truth : Index
        The training rows whose truth is known here.
    folder : Path
        Where copies of their files may lie.

    Raises
    ------
    UserError
        If an experiment has no predictions, or no row is shared.
    """
    with ExitStack() as stack:
        files = {name: stack.enter_context(open_predictions(fetch(name, OOF, folder))) for name in experiments}
        shared = truth
        for name in sorted(files):
            shared = shared.intersection(pd.Index(files[name].row), sort=False)
        n_rows = ", ".join(f"{len(file.row):,} ({name})" for name, file in files.items())
        if not len(shared):
            raise UserError(
                f"{listed(experiments)}: no row is in all of them ({n_rows}); give experiments that share rows"
            )
        print(f"{len(shared):,} rows are in all experiments and count, of {n_rows}")
        yield _share(files, shared.tolist())


@contextmanager
def of_test_rows(experiments: list[str], names: list[str], folder: Path) -> Iterator[Shared]:
    """Give the experiments' predictions for test rows.

    Raises
    ------
    UserError
        If an experiment lacks a row.
    """
    with ExitStack() as stack:
        files = {name: stack.enter_context(open_predictions(fetch(name, TEST, folder))) for name in experiments}
        for name, file in files.items():
            missing = pd.Index(names).difference(pd.Index(file.row))
            if len(missing):
                raise UserError(
                    f"{name}: no prediction for test row {listed(missing)}; experiments on the same test pictures can "
                    "be blended"
                )
        yield _share(files, names)


def _share(files: dict[str, PredictionFile], row: list[str]) -> Shared:
    parts = {name: Part(file, pd.Index(file.row).get_indexer(row)) for name, file in files.items()}
    first = parts[min(parts)]
    fold = first.file.fold[first.place]
    if fold.all() and len(np.unique(fold)) == 1:
        fold = (1 + np.arange(len(row)) % 5).astype(np.int32)
    return Shared(row, fold, parts, first.file.n_outputs)


def require_same_task(experiments: list[str], here: Competition, folder: Path) -> None:
    """Refuse experiments that predict something else than the competition in the workspace.

    Raises
    ------
    UserError
        A line each.
    """
    problems = []
    for name in experiments:
        task = read_competition(fetch(name, COMPETITION, folder)).task
        if (task.kind, task.names) != (here.task.kind, here.task.names):
            problems.append(
                f"{name}: predicts {_what(task)}, and {COMPETITION} here has {_what(here.task)}; experiments with the "
                "same can be blended"
            )
    if problems:
        raise UserError(problems)


def _what(task: TaskDescription) -> str:
    return f"{len(task.names)} {task.kind} ({listed(task.names, 4)})"


@dataclass
class Scored:
    """Scores of predictions on shared rows.

    Attributes
    ----------
    metric : str
    score : float
        The competition's metric on what would be submitted, out of fold.
    spread : float or None
        Its standard deviation over folds.
    loss : float
        Less is better.
    usual : dict of str to float
        The task's other scores.
    decision : Decision
        Fitted to all shared rows.
    of_folds : ndarray of shape (n_folds,)
        The score of every fold.
    """

    metric: str
    score: float
    spread: float | None
    loss: float
    usual: dict[str, float]
    decision: Decision
    of_folds: np.ndarray

    def __str__(self) -> str:
        """Return the score and its spread."""
        return f"{self.score:.4f}" + ("" if self.spread is None else f" ± {self.spread:.4f}")


def score(path: Path, task: Task, y: np.ndarray, decision: Decision) -> Scored:
    """Score a file of predictions.

    Parameters
    ----------
    path : Path
    task : Task
    y : ndarray
        The truth of its rows.
    decision : Decision
        Not fitted.
    """
    with open_predictions(path) as predictions:
        evaluation = Evaluation(task, predictions, y)
        scores = evaluation.submitted_scores(decision)
        value = scores[f"submission_{task.metric.name}"]
        return Scored(
            task.metric.name,
            value,
            scores.get(f"submission_{task.metric.name}_std"),
            -value if task.metric.greater_is_better else value,
            evaluation.usual_scores(),
            evaluation.fit(decision),
            evaluation.submitted_score_of_folds(decision),
        )


def score_parts(shared: Shared, task: Task, y: np.ndarray, decision: Decision, folder: Path) -> dict[str, Scored]:
    """Score every experiment on the shared rows.

    Parameters
    ----------
    shared : Shared
    task : Task
    y : ndarray
        The truth of the shared rows.
    decision : Decision
        Not fitted.
    folder : Path
        For files in between.
    """
    scores, path = {}, folder / "part.h5"
    for name, part in shared.parts.items():
        with prediction_writer(path, shared.row, shared.fold, shared.n_outputs) as writer:
            for block in shared.blocks():
                writer.add(part.values(block))
        scores[name] = score(path, task, y, decision)
    return scores
