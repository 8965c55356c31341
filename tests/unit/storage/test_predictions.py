"""Files of predictions that are not there, not whole, or of another kind."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.storage.predictions import open_predictions, prediction_writer


def make_foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = [1]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (Path.unlink, "no such file; run `dvc repro`"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "not a whole HDF5 file"),
        (make_foreign, "not a file of predictions; run `dvc repro`"),
    ],
)
def test_a_spoilt_file_is_named(spoil: Callable[[Path], object], found: str, tmp_path: Path) -> None:
    path = tmp_path / "oof.h5"
    with prediction_writer(path, ["a", "b"], np.array([1, 2]), 2) as writer:
        writer.add(np.full((2, 2), 0.5))
    spoil(path)
    with pytest.raises(UserError) as caught, open_predictions(path):
        pass
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: {found}")
