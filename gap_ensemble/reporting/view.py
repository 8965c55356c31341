"""How the rows of a task are shown: one view for classes, grades, labels and numbers each."""

from typing import Protocol

import numpy as np

from gap_ensemble.reporting.markup import Section


class View(Protocol):
    """How the rows of a task are shown."""

    def caption(self, i: int) -> str:
        """Return what stands below the picture of row i."""

    def groups(self, i: int) -> tuple[str, ...]:
        """Return what the filter finds row i by."""

    def hue(self, i: int) -> float:
        """Return the colour of row i on the map, in degrees."""

    def is_right(self, i: int) -> bool:
        """Whether what is submitted for row i is the truth."""

    def suspects(self) -> np.ndarray:
        """Return numbers of rows whose labels may be wrong, the most suspicious first."""

    def sections(self) -> list[Section]:
        """Return the parts that only this kind of task has."""
