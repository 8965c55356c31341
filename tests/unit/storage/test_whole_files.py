"""Files are whole or not there: on a full disk, in a read-only folder, when a library raises, nothing is lost."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.storage.features import create_features, open_features
from gap_ensemble.storage.files import require_room, write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5, text_array
from gap_ensemble.storage.tables import write_table

EARLIER = b"of an earlier run"
# What a shell's `ulimit -f` does: without a small disk at hand, a write fails in its middle all the same.
needs_limits = pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes, which this system lacks")


def write_hdf5(path: Path) -> None:
    with atomic_hdf5(path) as file:
        file["numbers"] = np.arange(50_000, dtype=np.float64)


WRITES: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "x" * 400_000),
    "table": lambda path: write_table(path, pd.DataFrame({"a": range(60_000)})),
    "HDF5": write_hdf5,
}


def in_child(function: Callable[[], None]) -> tuple[int, str]:
    """Run a program's main in a process of its own; return its exit status and what it said on stderr."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 2)
        sys.stderr = os.fdopen(2, "w")
        status = 0
        try:
            run(function)
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        except BaseException as error:
            print(f"Traceback: {error!r}", file=sys.stderr)
            status = 99
        sys.stderr.flush()
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@needs_limits
@pytest.mark.parametrize("n_bytes", [20, 3_000, 100_000])
@pytest.mark.parametrize("kind", WRITES)
def test_a_disk_that_fills_up_is_one_line_and_nothing_is_lost(tmp_path: Path, kind: str, n_bytes: int) -> None:
    path = tmp_path / "output"
    path.write_bytes(EARLIER)

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        WRITES[kind](path)

    status, said = in_child(write)
    assert status == 1, said
    assert said == f"ERROR: {path}: File too large; make room or make it writable, then run it again\n"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"output": EARLIER}


@pytest.mark.parametrize("kind", WRITES)
def test_a_read_only_folder_is_one_line(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:  # noqa: ARG001
        raise OSError(errno.EROFS, "Read-only file system")

    path = tmp_path / "output"
    path.write_bytes(EARLIER)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        WRITES[kind](path)
    assert caught.value.filename == str(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"output": EARLIER}


def test_a_library_that_gives_no_reason_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Can't write data\n(no reason given)")

    monkeypatch.setattr(h5py.Dataset, "__setitem__", refuse)
    with (
        pytest.raises(UserError, match=r"not written: Can't write data \(no reason given\)"),
        atomic_hdf5(tmp_path / "a.h5") as file,
    ):
        file.create_dataset("x", (3,))[0] = 1
    assert not list(tmp_path.iterdir())


def test_an_exception_in_the_block_leaves_what_there_was(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(EARLIER)

    def write() -> None:
        with atomic_hdf5(path) as file:
            file["x"] = 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.h5": EARLIER}


def test_a_file_that_the_disk_cannot_hold_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"big\.h5: takes [\d,.]+ MB, but [\d,.]+ MB are free; make room there"):
        require_room(tmp_path / "big.h5", 10**18)


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_hdf5(tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def write_features(path: Path) -> None:
    """Write features of four training pictures and two test pictures."""
    rows = {"train_file": text_array(["é.jpg", "b.jpg", "c.jpg", "d.jpg"]), "test_file": text_array(["1.jpg", "2.jpg"])}
    with atomic_hdf5(path) as file:
        create_features(file, 3, rows, {"backbone": "é"})
        file["train"][1] = 7


def test_features_come_back_as_they_were(tmp_path: Path) -> None:
    write_features(tmp_path / "a.h5")
    with open_features(tmp_path / "a.h5") as file:
        assert file["train"][:].tolist() == [[0, 0, 0], [7, 7, 7], [0, 0, 0], [0, 0, 0]]
        assert file["train_file"].asstr()[0] == "é.jpg"
        assert file.attrs["backbone"] == "é"


def replaced(name: str, shape: tuple[int, ...]) -> Callable[[Path], None]:
    """Return a function that gives a dataset of a feature file another shape."""

    def replace(path: Path) -> None:
        with h5py.File(path, "a") as file:
            if name in file:
                del file[name]
            file.create_dataset(name, shape, np.int32)

    return replace


def make_foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = [1]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (Path.unlink, "no such file"),
        (lambda path: os.truncate(path, 0), "not a whole HDF5 file"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "not a whole HDF5 file"),
        (lambda path: path.write_text("<html>404</html>"), "not a whole HDF5 file"),
        (make_foreign, "not a feature file: it has no dataset 'train'"),
        (replaced("train", (3, 3)), "not a feature file: 3 rows of 'train' and 4 of 'train_file'"),
        (replaced("test_file", (1,)), "not a feature file: 2 rows of 'test' and 1 of 'test_file'"),
        (replaced("test", (2, 4)), "not a feature file: 3 columns of 'train' and 4 of 'test'"),
        (replaced("train", (4,)), "not a feature file: 'train' has 1 dimensions"),
        (replaced("fine_tuned_on", (3,)), "not a feature file: 3 rows of 'fine_tuned_on' and 4 of 'train'"),
    ],
)
def test_a_spoilt_feature_file_is_named(tmp_path: Path, spoil: Callable[[Path], object], found: str) -> None:
    path = tmp_path / "a.h5"
    write_features(path)
    spoil(path)
    with pytest.raises(UserError) as caught:
        open_features(path)
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: {found}")
    assert "run `dvc repro`" in line


def test_a_program_ends_in_one_line(tmp_path: Path) -> None:
    """A stage that runs before the one that writes its files."""
    done = subprocess.run(
        [sys.executable, "-m", "stages.ensemble"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "ERROR: params.yaml: not found; run this from the repository's root, beside dvc.yaml\n"
