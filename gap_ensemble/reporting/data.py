"""What the report is made of: out-of-fold predictions beside the truth, and where the pictures lie."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from gap_ensemble.images.grey import Scale
from gap_ensemble.reporting.thumbnails import small_picture, to_jpeg
from gap_ensemble.scoring.decisions import Decision, cross_fitted
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import Task


@dataclass
class Pictures:
    """The pictures of rows.

    Attributes
    ----------
    raw : Path
        The folder that the manifest's files are relative to.
    grey_scale : Scale or None
    manifest : DataFrame
    missing : set of Path
        Pictures that were asked for and can't be read any more.
    """

    raw: Path
    grey_scale: Scale | None
    manifest: pd.DataFrame
    missing: set[Path] = field(default_factory=set)

    @cached_property
    def first(self) -> dict[tuple[str, str], Path]:
        """The first picture of every row, by split and row."""
        first = self.manifest.drop_duplicates(["split", "id"])
        return {
            (split, row): self.raw / file
            for split, row, file in zip(first["split"], first["id"], first["file"], strict=True)
        }

    def jpeg(self, split: str, row: str, size: int) -> bytes:
        """Return a row's first picture as a small JPEG; where it is gone, a grey square that says so."""
        return to_jpeg(self.image(split, row, size))

    def image(self, split: str, row: str, size: int) -> np.ndarray:
        """Return a row's first picture, (size, size, 3) uint8; where it is gone, a grey square."""
        path = self.first.get((split, row), self.raw)
        image, is_there = small_picture(path, size, self.grey_scale)
        if not is_there:
            self.missing.add(path)
        return image


@dataclass
class ReportData:
    """Out-of-fold predictions beside the truth.

    Attributes
    ----------
    pictures : Pictures
    evaluation : Evaluation
        Of thousands of classes, evenly spread rows.
    decision : Decision
        Not fitted.
    """

    pictures: Pictures
    evaluation: Evaluation
    decision: Decision

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.evaluation.task

    @property
    def y(self) -> np.ndarray:
        """The truth of the rows."""
        return self.evaluation.truth

    @property
    def values(self) -> np.ndarray:
        """Predictions, (n_rows, n_outputs)."""
        return self.evaluation.values

    @property
    def fold(self) -> np.ndarray:
        """The fold that validated each row, from 1."""
        return self.evaluation.fold

    @cached_property
    def row(self) -> list[str]:
        """Names of the rows."""
        names = self.evaluation.predictions.row
        return [names[i] for i in self.evaluation.numbers]

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each row, by its name."""
        return {name: number for number, name in enumerate(self.row)}

    @cached_property
    def submitted(self) -> np.ndarray:
        """What would be submitted for the rows, by decisions that are fitted without their fold."""
        return cross_fitted(self.decision, self.y, self.values, self.fold)

    @cached_property
    def truth_text(self) -> list[str]:
        """The truth as people write it."""
        return self.task.text(self.y)

    @cached_property
    def submitted_text(self) -> list[str]:
        """What would be submitted, as people write it."""
        return self.task.submitted_text(self.submitted)

    @cached_property
    def hardest(self) -> np.ndarray:
        """Numbers of all rows, the worst prediction first."""
        return np.argsort(self.task.true_values(self.y, self.values), kind="stable")
