"""Of several encodings of a task, the one with the best score out of fold."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gap_ensemble.heads.ensemble import Ensemble, FittedEnsemble
from gap_ensemble.heads.head import Curves
from gap_ensemble.messages.errors import UserError
from gap_ensemble.scoring.decisions import Decision, cross_fitted
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.predictions import prediction_writer
from gap_ensemble.tasks.task import Encoding, Task


@dataclass
class Chosen:
    """The encoding that is taken, and the predictions out of fold.

    Attributes
    ----------
    task : Task
    encodings : list of Encoding
    fitted : list of FittedEnsemble
        One an encoding.
    best : int
        The encoding whose models predict the test rows.
    best_of_fold : list of int
        For every fold, the best by the other folds: its predictions are those that scores are taken of.
    """

    task: Task
    encodings: list[Encoding]
    fitted: list[FittedEnsemble]
    best: int
    best_of_fold: list[int]

    @property
    def curves(self) -> list[Curves]:
        """Learning curves of the encoding that is taken."""
        return self.fitted[self.best].curves

    @property
    def learned(self) -> str:
        """What the heads of the encoding that is taken learn, such as combinations of labels."""
        return self.encodings[self.best].name

    def save(self, folder: Path) -> None:
        """Write the models of every fold, `fold_1` and so on, and which encoding they predict."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "encoding.json", json.dumps(self.learned) + "\n")
        for k, model in enumerate(self.fitted[self.best].models):
            model.save(folder / f"fold_{k + 1}")

    def write_out_of_fold(self, path: Path, names: list[str]) -> None:
        """Write the predictions of every row that validates, fold by fold."""
        fold = self.fitted[0].data.fold
        numbers = np.concatenate([np.flatnonzero(fold == k) for k in range(len(self.best_of_fold))])
        row = [names[i] for i in numbers]
        with prediction_writer(path, row, fold[numbers] + 1, len(self.task.names)) as writer:
            for k, best in enumerate(self.best_of_fold):
                for _, predictions in self.fitted[best].out_of_fold(k):
                    values = self.encodings[best].decode(predictions)
                    writer.add(values)


def choose_encoding(
    task: Task, encodings: list[Encoding], fitted: list[FittedEnsemble], y: np.ndarray, decision: Decision
) -> Chosen:
    """Choose by the task's metric on what would be submitted, out of fold.

    Parameters
    ----------
    task : Task
    encodings : list of Encoding
    fitted : list of FittedEnsemble
        One an encoding.
    y : ndarray
        The task's truth, of all rows.
    decision : Decision
        Not fitted.
    """
    fold = fitted[0].data.fold
    n_folds = int(fold.max()) + 1
    if len(encodings) == 1:
        return Chosen(task, encodings, fitted, 0, [0] * n_folds)
    validates = fold >= 0
    submitted = []
    for encoding, ensemble in zip(encodings, fitted, strict=True):
        values = np.empty((len(y), len(task.names)), np.float32)
        for k in range(n_folds):
            for block, predictions in ensemble.out_of_fold(k):
                values[block] = encoding.decode(predictions)
        of_rows = cross_fitted(decision, y[validates], values[validates], fold[validates])
        whole = np.empty((len(y), *of_rows.shape[1:]), of_rows.dtype)
        whole[validates] = of_rows
        submitted.append(whole)

    def best_by(chosen: np.ndarray) -> int:
        losses = [task.metric.loss(y[chosen], said[chosen]) for said in submitted]
        return int(np.argmin(losses))

    best_of_fold = [best_by(validates & (fold != k)) if n_folds > 1 else 0 for k in range(n_folds)]
    best = best_by(validates) if n_folds > 1 else 0
    scores = [task.metric.score(y[validates], said[validates]) for said in submitted]
    shown = ", ".join(f"{encoding.name} {score:.4f}" for encoding, score in zip(encodings, scores, strict=True))
    print(f"{task.metric.name} out of fold: {shown}; {encodings[best].name} is taken")
    return Chosen(task, encodings, fitted, best, best_of_fold)


def load_models(folder: Path, task: Task, y: np.ndarray) -> tuple[Encoding, list[Ensemble]]:
    """Read what `Chosen.save` wrote.

    Parameters
    ----------
    folder : Path
    task : Task
    y : ndarray
        The truth of all training rows: encodings depend on it.

    Raises
    ------
    UserError
        If there are no models, or they are of another encoding.
    """
    path = folder / "encoding.json"
    if not path.is_file():
        raise UserError(f"{folder}: no models; run `dvc repro`")
    name = json.loads(path.read_text(encoding="utf-8"))
    encodings = {encoding.name: encoding for encoding in task.encodings(y)}
    if name not in encodings:
        raise UserError(
            f"{folder}: its models predict {name!r}, and the task has {', '.join(encodings)}; run `dvc repro`"
        )
    folders = sorted(folder.glob("fold_*"), key=lambda path: int(path.name.removeprefix("fold_")))
    return encodings[name], [Ensemble.load(path) for path in folders]
