"""Disks that fill up, folders that can't be written, files cut short, two runs at once: one line each, nothing lost.

Every fault is followed by its mend, after which the same command succeeds and gives what it gives without the fault.
"""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import N_TEST, N_TRAIN
from test_resume import (
    OUTPUT,
    PARTIAL,
    STATE,
    Said,
    go,
    in_child,
    n_saved,
    stand_in,
)

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.paths import ENSEMBLE, FEATURES
from gap_ensemble.storage.features import create_features, open_features
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5, text_array
from stages import ensemble
from tools.sample import draw_competition
from tools.workspace import change_params, lay_out

N_ROWS = N_TRAIN + N_TEST
ROWS_BYTES = N_ROWS * 300 * 4  # 300 features of the stand-in
EARLIER = b"the output of an earlier run"
# What a shell's `ulimit -f` does: without a small disk at hand, a write fails in its middle all the same.
needs_limits = pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes, which this system lacks")


@pytest.fixture
def with_earlier_output(linked: Path) -> Path:
    """Return a project in which link has run, with the output of an earlier run of extract."""
    OUTPUT.parent.mkdir()
    OUTPUT.write_bytes(EARLIER)
    return linked


def error_of(said: Said) -> str:
    """Assert that a child stopped with one error line and without a crash; return the line."""
    assert said.status == 1, said
    assert said.errors.startswith("ERROR: ")
    assert said.errors.count("\n") == 1
    return said.errors


def assert_mended() -> None:
    """Assert that nothing was lost or is half-written, and that the next run goes on with the rows that were saved."""
    assert OUTPUT.read_bytes() == EARLIER
    assert [path.name for path in OUTPUT.parent.iterdir()] == [OUTPUT.name]
    assert {path.name for path in PARTIAL.glob("*")} <= {"MobileNet.rows", "MobileNet.json"}
    saved = n_saved()
    said = in_child(go)
    assert said.status == 0, said.errors
    assert (f"going on after {saved} of {N_ROWS} pictures" in said.output) == (saved > 0)
    mended = OUTPUT.read_bytes()
    shutil.rmtree("features")
    assert in_child(go).status == 0
    assert OUTPUT.read_bytes() == mended
    assert [path for path in Path("features").rglob("*") if path.is_file()] == [OUTPUT]


def limit_files(n_bytes: int) -> None:
    """Make every write beyond so many bytes of a file fail, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


# --- full disks ------------------------------------------------------------------------------------------------------


def go_on_a_full_disk(n_bytes: int) -> None:
    limit_files(n_bytes)
    go()


def go_with_a_full_disk_at_the_end(n_bytes: int) -> None:
    extract = stand_in()
    write_features = extract.write_features

    def write(*arguments: Any) -> None:
        limit_files(n_bytes)
        write_features(*arguments)

    extract.write_features = write
    run(extract.main)


@needs_limits
@pytest.mark.parametrize(
    ("n_bytes", "name"), [(50, "MobileNet."), (100_000, "MobileNet.rows: File too large; make room")]
)
@pytest.mark.usefixtures("with_earlier_output")
def test_the_disk_is_full_while_rows_are_written(n_bytes: int, name: str) -> None:
    line = error_of(in_child(go_on_a_full_disk, n_bytes=n_bytes, to_the_end=True))
    assert line.startswith(f"ERROR: features/partial/{name}")
    assert (n_saved() > 0) == (n_bytes > 100)
    assert_mended()


# HDF5 writes data first and its own structures last; it crashes if the first or the last write of all fails.
@needs_limits
@pytest.mark.parametrize("n_bytes", [20, 3_000, 100_000, ROWS_BYTES + 100])
@pytest.mark.usefixtures("with_earlier_output")
def test_the_disk_is_full_while_the_hdf5_file_is_written(n_bytes: int) -> None:
    said = in_child(go_with_a_full_disk_at_the_end, n_bytes=n_bytes, to_the_end=True)
    assert error_of(said) == (
        "ERROR: features/gap/MobileNet.h5: File too large; make room or make it writable, then run it again\n"
    )
    assert n_saved() == N_ROWS
    assert_mended()


def go_with_a_refusal(where: str, number: int | None) -> None:
    """Extract, with an OSError that names no file from the tenth call of one function on."""
    modules: dict[str, tuple[Any, str]] = {
        "fsync": (os, "fsync"),
        "replace": (os, "replace"),
        "dataset": (h5py.Dataset, "__setitem__"),
        "close": (h5py.File, "close"),
    }
    module, function = modules[where]
    original = getattr(module, function)
    calls_left = 10 if where in ("fsync", "replace") else 0

    def refuse(*arguments: Any, **options: Any) -> Any:
        nonlocal calls_left
        calls_left -= 1
        if calls_left >= 0:
            return original(*arguments, **options)
        if where == "close":
            original(*arguments)
        if number is None:
            raise OSError("Can't write data\n(no reason given)")
        raise OSError(number, "a text of\nseveral lines")

    setattr(module, function, refuse)
    go()


@pytest.mark.parametrize("where", ["fsync", "replace", "dataset", "close"])
@pytest.mark.parametrize("number", [errno.ENOSPC, None])
@pytest.mark.usefixtures("with_earlier_output")
def test_a_refusal_in_any_write_is_one_line(where: str, number: int | None) -> None:
    line = error_of(in_child(go_with_a_refusal, where=where, number=number, to_the_end=where == "close"))
    assert line.startswith("ERROR: features/partial/" if where in ("fsync", "replace") else f"ERROR: {OUTPUT}: ")
    assert ("No space left on device; make room" if number else "not written: Can't write data (no reason") in line
    assert n_saved() > 0
    assert_mended()


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


def go_with_a_read_only_folder(folder: str) -> None:
    """Extract where nothing in a folder can be changed: not even by root, who may write anywhere."""
    refused = os.path.abspath(folder)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.truncate") or (
            event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and isinstance(arguments[0], str | os.PathLike):
            path = os.path.abspath(arguments[0])
            if path.startswith(refused + os.sep) and not (event == "os.remove" and not os.path.exists(path)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(arguments[0]))

    sys.addaudithook(refuse)
    go()


@pytest.mark.parametrize("folder", ["features", "features/partial", "features/gap"])
@pytest.mark.usefixtures("with_earlier_output")
def test_a_read_only_folder(folder: str) -> None:
    line = error_of(in_child(go_with_a_read_only_folder, folder=folder))
    assert line.startswith(f"ERROR: {folder}/")
    assert "Read-only file system; make room or make it writable" in line
    assert n_saved() == (N_ROWS if folder == "features/gap" else 0)
    assert_mended()


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


def spoil_partial(path: Path, how: str) -> None:
    if how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "foreign":
        path.write_bytes(bytes(path.stat().st_size))
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("path", [STATE, STATE.with_suffix(".rows")], ids=lambda path: path.suffix)
@pytest.mark.parametrize("how", ["cut", "foreign", "folder"])
@pytest.mark.usefixtures("with_earlier_output")
def test_a_spoilt_file_among_the_partial_rows(path: Path, how: str) -> None:
    """Rows that are not surely the ones that were saved are computed again; a folder in their place is named."""
    assert in_child(go_with_a_refusal, where="replace", number=errno.ENOSPC).status == 1
    assert n_saved() > 0
    spoil_partial(path, how)
    said = in_child(go)
    if how == "folder":
        assert error_of(said).startswith(f"ERROR: {path}: Is a directory; ")
        path.rmdir()
        if path != STATE:
            STATE.unlink()
        assert_mended()
    else:
        assert said.status == 0, said.errors
        assert "going on" not in said.output
        OUTPUT.write_bytes(EARLIER)
        assert_mended()


def save_weights() -> None:
    """Write the weights of a network to weights/whole.weights.h5."""
    from gap_ensemble.networks.backbones import Network
    from gap_ensemble.params import Backbone

    Network("MobileNet", Backbone(weights="random", input_size=32)).model.save_weights("weights/whole.weights.h5")


def go_with_the_network() -> None:
    from stages import extract

    sys.argv = ["stages.extract", "MobileNet"]
    run(extract.main)


@pytest.mark.usefixtures("with_earlier_output")
def test_a_weights_file_cut_in_half() -> None:
    assert in_child(save_weights).status == 0
    entry = {"weights": "mine.weights.h5", "input_size": 32}
    change_params(PARAMS_FILE, lambda params: params.update(backbones={"MobileNet": entry}))
    shutil.copy("weights/whole.weights.h5", "weights/mine.weights.h5")
    cut(0.5)(Path("weights/mine.weights.h5"))
    line = error_of(in_child(go_with_the_network))
    assert line.startswith("ERROR: weights/mine.weights.h5: does not fit MobileNet (backbones.MobileNet.weights): ")
    assert "accepted: a whole file" in line
    assert OUTPUT.read_bytes() == EARLIER
    assert not PARTIAL.exists()
    shutil.copy("weights/whole.weights.h5", "weights/mine.weights.h5")
    said = in_child(go_with_the_network)
    assert said.status == 0, said.errors
    with open_features(OUTPUT) as file:
        assert file["train"].shape == (N_TRAIN, 1024)


# --- two runs at once ------------------------------------------------------------------------------------------------


def start_repro(folder: Path) -> subprocess.Popen[str]:
    """Start `dvc repro` up to the features, in a group of processes of its own."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "true"}
    return subprocess.Popen(
        [programs / "dvc", "repro", "extract@MobileNet"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_extract(repro: subprocess.Popen[str]) -> None:
    assert repro.stdout is not None
    for line in repro.stdout:
        if line.startswith("Running stage 'extract@"):
            return
    raise AssertionError("stage extract did not run")


def test_two_dvc_repro_at_once_and_one_killed(tmp_path: Path) -> None:
    """DVC refuses the second; the first goes on unharmed; and a killed one leaves no lock that bars the next."""
    draw_competition(tmp_path / "data/raw", 8, 4)

    def change(params: Any) -> None:
        params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 32}}

    lay_out(tmp_path, change)
    first = start_repro(tmp_path)
    wait_for_extract(first)
    second = start_repro(tmp_path)
    output, _ = second.communicate()
    assert second.returncode != 0
    assert "Traceback" not in output
    (line,) = (line for line in output.splitlines() if line.startswith("ERROR: "))
    assert "is busy, it is being blocked by" in line
    output, _ = first.communicate()
    assert first.returncode == 0, output
    again = start_repro(tmp_path)
    assert "Data and pipelines are up to date." in again.communicate()[0]
    features = (tmp_path / OUTPUT).read_bytes()

    shutil.rmtree(tmp_path / ".dvc/cache")
    (tmp_path / OUTPUT).unlink()
    killed = start_repro(tmp_path)
    wait_for_extract(killed)
    time.sleep(random.uniform(0, 3))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    mended = start_repro(tmp_path)
    output, _ = mended.communicate()
    assert mended.returncode == 0, output
    assert (tmp_path / OUTPUT).read_bytes() == features
