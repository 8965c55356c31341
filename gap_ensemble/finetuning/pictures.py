"""Labelled pictures for training, decoded ahead."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gap_ensemble.extraction.workers import map_ahead
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.images.grey import Scale


@dataclass(frozen=True)
class Source:
    """How files become pictures: the folder that they are relative to, pixels a side, the data set's grey scale."""

    raw: Path
    input_size: int
    grey_scale: Scale | None


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, decoded ahead in threads and given out in batches.

    Attributes
    ----------
    source : Source
        How files become pictures.
    files, md5 : list of str
        The pictures, and the MD5 of their content.
    label : ndarray of shape (n_pictures,), integer
        Class of every picture.
    batch_size : int
        Pictures at a time.
    """

    source: Source
    files: list[str]
    md5: list[str]
    label: np.ndarray
    batch_size: int

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pictures (n, input_size, input_size, 3), float32, and labels (n,); with `rng`, in random order."""
        order = np.arange(len(self.files)) if rng is None else rng.permutation(len(self.files))

        def read(row: int) -> np.ndarray:
            source = self.source
            return read_linked_picture(source.raw / self.files[row], source.input_size, source.grey_scale)

        pictures = map_ahead(read, order, n_ahead=2 * self.batch_size)
        for start in range(0, len(order), self.batch_size):
            label = self.label[order[start : start + self.batch_size]]
            yield np.stack([next(pictures) for _ in label]).astype(np.float32), label
