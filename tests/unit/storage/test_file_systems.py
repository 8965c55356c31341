"""File systems that lack something: locks, a way to sync, a network drive that is gone."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import write_text


def test_reading_hdf5_asks_for_no_lock(tmp_path: Path) -> None:
    """A lock that somebody holds shows it: NFS and Colab's Google Drive refuse every lock (errno 37, 95, 524)."""
    fcntl = pytest.importorskip("fcntl", reason="needs locks, which this system lacks")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    with open(path, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with h5py.File(path, "r") as file:
            assert file["x"][:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOLCK, errno.EACCES, errno.ESTALE])
def test_nothing_is_said_against_a_file_that_the_system_refuses_to_read(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "a text of HDF5's")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UserError) as caught:
        open_features(tmp_path / "a.h5")
    expected = f"{tmp_path}/a.h5: can't be read: {os.strerror(number)}; the file itself may be good"
    assert caught.value.problems == [expected]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(tmp_path / "a.txt", "whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "whole"}


def test_a_disk_that_fails_to_sync_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(tmp_path / "a.txt", "whole")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOTCONN, errno.ESTALE, errno.EOPNOTSUPP, 524])
def test_a_refusal_of_a_network_drive_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise OSError(number, "words", "/drive/a.csv")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    fix = "check that disk, or use another, then run it again"
    assert capsys.readouterr().err == f"ERROR: /drive/a.csv: {os.strerror(number)}; {fix}\n"
