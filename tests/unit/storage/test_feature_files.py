"""Feature files are written whole or not at all."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gap_ensemble.storage.features import open_features, write_features
from gap_ensemble.storage.hdf5 import text_array
from gap_ensemble.storage.store import StoredRows, open_store

N_TRAIN, N_TEST, N_COLUMNS = 40, 20, 300
KEYS = [f"{number:032x}" for number in range(N_TRAIN + N_TEST)]
ROWS = np.random.default_rng(0).normal(size=(len(KEYS), N_COLUMNS)).astype(np.float32)
NAMES = {
    "train_file": text_array(f"train/{i}.jpg" for i in range(N_TRAIN)),
    "test_file": text_array(f"test/{i}.jpg" for i in range(N_TEST)),
}
EARLIER = b"the output of an earlier run"


@pytest.fixture
def features(tmp_path: Path) -> StoredRows:
    store = open_store(tmp_path / "store", "f" * 64, {"network": "Small", "precision": "float32"})
    with store.writing() as writer:
        writer.append(KEYS, ROWS)
        writer.save()
    return store.rows(KEYS)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "gap/Small.h5"
    path.parent.mkdir()
    path.write_bytes(EARLIER)
    return path


def test_rows_are_written_in_order_and_always_alike(features: StoredRows, output: Path) -> None:
    write_features(output, features, NAMES, {"precision": "float32"})
    with open_features(output) as file:
        np.testing.assert_array_equal(file["train"], ROWS[:N_TRAIN])
        np.testing.assert_array_equal(file["test"], ROWS[N_TRAIN:])
        assert file.attrs["precision"] == "float32"
    first = output.read_bytes()
    write_features(output, features, NAMES, {"precision": "float32"})
    assert output.read_bytes() == first


def assert_nothing_lost(output: Path) -> None:
    assert output.read_bytes() == EARLIER
    assert [path.name for path in output.parent.iterdir()] == [output.name]


# HDF5 writes data first and its own structures last; it crashes if the first or the last write of all fails.
@pytest.mark.parametrize("n_bytes", [20, 3_000, 40_000, ROWS.nbytes + 100])
def test_the_disk_is_full_while_the_file_is_written(n_bytes: int, features: StoredRows, output: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        with pytest.raises(OSError, match="File too large") as refused:
            write_features(output, features, NAMES, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.errno == errno.EFBIG
    assert_nothing_lost(output)


@pytest.mark.parametrize(("module", "function"), [(os, "fsync"), (os, "replace"), (h5py.Dataset, "__setitem__")])
def test_a_refusal_leaves_what_was_there(
    module: Any, function: str, features: StoredRows, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, function, refuse)
    with pytest.raises(OSError, match="No space left"):
        write_features(output, features, NAMES, {})
    assert_nothing_lost(output)
