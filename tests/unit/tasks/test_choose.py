"""Of several encodings the best out of fold is taken; which one a fold is scored with, the other folds decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from gap_ensemble.competition.found import Competition, Submission, TaskDescription
from gap_ensemble.heads.head import Outputs
from gap_ensemble.scoring.decisions import MostProbable
from gap_ensemble.scoring.metrics import find_metric
from gap_ensemble.tasks.choose import choose_encoding
from gap_ensemble.tasks.task import Encoding, identity, task_of

TASK = task_of(
    Competition(TaskDescription("classes", ["a", "b"], "prefix", "accuracy"), Submission("class", ["id", "class"]))
)
FOLD = np.repeat([0, 1, 2], 10)
Y = np.arange(30) % 2


@dataclass
class RightIn:
    """An ensemble that is right about so many of the ten rows of each fold."""

    n_right: tuple[int, int, int]

    def __post_init__(self) -> None:
        self.data = SimpleNamespace(fold=FOLD)

    def out_of_fold(self, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        numbers = np.flatnonzero(k == FOLD)
        said = np.where(np.arange(10) < self.n_right[k], Y[numbers], 1 - Y[numbers])
        yield numbers, np.eye(2)[said]


def test_a_fold_has_no_say_in_what_it_is_scored_with() -> None:
    encodings = [Encoding(name, Outputs("classes", 2), identity, identity) for name in ("one", "other")]
    # The first is far better in fold 0, and so the best of all; by folds 1 and 2 alone the other is.
    fitted = [RightIn((10, 7, 7)), RightIn((2, 8, 8))]
    decision = MostProbable(find_metric("accuracy"))
    chosen = choose_encoding(TASK, encodings, fitted, Y, decision)  # type: ignore[arg-type]
    assert chosen.best == 0
    assert chosen.best_of_fold == [1, 0, 0]
