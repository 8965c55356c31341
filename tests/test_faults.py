"""Disks that fill up, folders that can't be written, files cut short, two runs at once: one line each, nothing lost.

Every fault is followed by its mend, after which the same command succeeds and gives what it gives without the fault.
"""

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import N_TEST, N_TRAIN

from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.paths import ENSEMBLE, FEATURES
from gap_ensemble.storage.features import create_features, open_features
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5, text_array
from stages import ensemble
from tools.workspace import change_params

N_ROWS = N_TRAIN + N_TEST
ROWS_BYTES = N_ROWS * 300 * 4  # 300 features of the stand-in
EARLIER = b"the output of an earlier run"
# What a shell's `ulimit -f` does: without a small disk at hand, a write fails in its middle all the same.
needs_limits = pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes, which this system lacks")


def limit_files(n_bytes: int) -> None:
    """Make every write beyond so many bytes of a file fail, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


# --- full disks ------------------------------------------------------------------------------------------------------


# HDF5 writes data first and its own structures last; it crashes if the first or the last write of all fails.


def test_a_small_file_is_named_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.json").write_text("earlier")
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="No space") as caught:
        write_text(tmp_path / "a.json", "new")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"earlier"}


def test_hdf5_by_way_of_python_is_what_hdf5_reads(tmp_path: Path) -> None:
    rows = {
        "label": np.arange(3),
        "train_file": text_array("abc"),
        "test_file": text_array("d"),
        "class_names": text_array("x"),
    }
    with atomic_hdf5(tmp_path / "a.h5") as file:
        create_features(file, 2, rows, {"backbone": "é"})
        file["train"][1] = 7
    with open_features(tmp_path / "a.h5") as file:
        assert file["train"][:].tolist() == [[0, 0], [7, 7], [0, 0]]
        assert file.attrs["backbone"] == "é"


# --- read-only folders -----------------------------------------------------------------------------------------------


# --- files cut short, or not ours ------------------------------------------------------------------------------------


def write_features_of(name: str) -> Path:
    """Write `features/gap/NAME.h5`, of four training pictures and two test pictures."""
    rows = {
        "label": np.array([0, 0, 1, 1], np.int32),
        "train_file": text_array(["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"]),
        "test_file": text_array(["1.jpg", "2.jpg"]),
        "class_names": text_array(["cat", "dog"]),
    }
    path = FEATURES / f"{name}.h5"
    with atomic_hdf5(path) as file:
        create_features(file, 3, rows, {"backbone": name})
    return path


def replaced(name: str, shape: tuple[int, ...] | None) -> Callable[[Path], None]:
    """Return a function that gives a dataset of a feature file another shape; None makes it a group."""

    def replace(path: Path) -> None:
        with h5py.File(path, "a") as file:
            if name in file:
                del file[name]
            if shape is None:
                file.create_group(name)
            else:
                file.create_dataset(name, shape, np.int32)

    return replace


def cut(part: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * part))


def make_foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = [1]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (cut(0), "not a whole HDF5 file"),
        (cut(0.5), "not a whole HDF5 file"),
        (cut(0.999), "not a whole HDF5 file"),
        (make_foreign, "not a feature file: it has no dataset 'train'"),
        (replaced("test", None), "not a feature file: it has no dataset 'test'"),
        (replaced("train", (3, 3)), "not a feature file: 3 rows of 'train' and 4 of 'label'"),
        (replaced("label", (5,)), "not a feature file: 4 rows of 'train' and 5 of 'label'"),
        (replaced("train_file", (3,)), "not a feature file: 4 rows of 'train' and 3 of 'train_file'"),
        (replaced("test", (1, 3)), "not a feature file: 1 rows of 'test' and 2 of 'test_file'"),
        (replaced("test", (2, 4)), "not a feature file: 3 columns of 'train' and 4 of 'test'"),
        (replaced("train", (4,)), "not a feature file: 'train' has 1 dimensions"),
        (replaced("seen", (3,)), "not a feature file: 4 rows of 'train' and 3 of 'seen'"),
        (replaced("label", ()), "not a feature file: 'label' has 0 dimensions"),
    ],
)
@pytest.mark.usefixtures("project")
def test_ensemble_refuses_a_spoilt_feature_file(spoil: Callable[[Path], None], found: str) -> None:
    change_params(
        PARAMS_FILE,
        lambda params: params.update(backbones={"First": {"weights": "random"}, "Second": {"weights": "random"}}),
    )
    first, second = write_features_of("First"), write_features_of("Second")
    ENSEMBLE.write_bytes(EARLIER)
    for path in (first, second):
        whole = path.read_bytes()
        spoil(path)
        with pytest.raises(UserError) as caught:
            ensemble.main()
        (line,) = caught.value.problems
        assert line.startswith(f"{path}: {found}")
        assert "run `dvc repro`" in line
        assert "\n" not in line
        assert ENSEMBLE.read_bytes() == EARLIER
        assert not list(ENSEMBLE.parent.glob(".*.partial"))
        path.write_bytes(whole)
    ensemble.main()
    with open_features(ENSEMBLE) as file:
        assert file["train"].shape == (4, 6)
