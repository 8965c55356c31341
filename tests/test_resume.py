"""An extraction that is killed goes on where it was, and gives the same bytes as one that went through.

Most of these tests kill children that are forked after one import of TensorFlow and have a few operations of NumPy
stand in for the network; the rest of the stage is the real one. One test has a real network and programs of its own.
"""

import atexit
import gc
import importlib
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import h5py
import numpy as np
import PIL
import pytest
from conftest import BATCH, N_TEST, N_TRAIN

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.storage.features import PartialRows
from stages import link
from tools.sample import draw_animal
from tools.workspace import change_params

PARTIAL = Path("features/partial")
STATE = PARTIAL / "MobileNet.json"
OUTPUT = Path("features/gap/MobileNet.h5")
# Saves after every batch, and is slow enough to be hit between two of them.
SLOWLY = """
import signal, sys, time
from stages import extract
from gap_ensemble.networks.backbones import Network
from gap_ensemble.messages.errors import run

extract.SECONDS_BETWEEN_SAVES = -1
features = Network.features
Network.features = lambda *arguments: (time.sleep({seconds}), features(*arguments))[1]
sys.argv = ["stages.extract", "MobileNet"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell in the background ignores it.
run(extract.main)
"""


def n_saved() -> int:
    try:
        return int(json.loads(STATE.read_text())["n_rows"])
    except FileNotFoundError:
        return 0


# --- a real network --------------------------------------------------------------------------------------------------


def start(seconds: float) -> subprocess.Popen[str]:
    code = SLOWLY.format(seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("linked")
def test_an_extraction_killed_and_then_interrupted_goes_on_to_the_same_bytes() -> None:
    saved = 0
    for how in (signal.SIGKILL, signal.SIGINT):
        running = start(seconds=0.2)
        while n_saved() < saved + 5 * BATCH:
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.05)
        running.send_signal(how)
        output, errors = running.communicate()
        assert running.returncode == (130 if how == signal.SIGINT else -how)
        assert "Traceback" not in errors
        assert not OUTPUT.exists()
        assert (f"going on after {saved} of {N_TRAIN + N_TEST} pictures" in output) == (how == signal.SIGINT)
        assert saved + 5 * BATCH <= n_saved() < N_TRAIN + N_TEST
        saved = n_saved()

    resumed = start(seconds=0)
    output, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert f"going on after {saved} of {N_TRAIN + N_TEST} pictures" in output
    assert not list(PARTIAL.iterdir())
    bytes_of_all = OUTPUT.read_bytes()

    shutil.rmtree("features")
    through = start(seconds=0)
    output, errors = through.communicate()
    assert through.returncode == 0, errors
    assert "going on" not in output
    assert OUTPUT.read_bytes() == bytes_of_all


# --- children with a stand-in for the network ------------------------------------------------------------------------


class Said(NamedTuple):
    """How a child ended and what it printed."""

    status: int
    output: str
    errors: str


def serve() -> None:
    """Fork a child for every line read, which calls one function of these tests; tell how it ended."""
    importlib.import_module("stages.extract")
    gc.freeze()  # A child need not look through all that is imported.
    for line in sys.stdin:
        folder, module, function, arguments, to_the_end = json.loads(line)
        pipes = [os.pipe(), os.pipe()]  # What a child prints fits into them.
        child = os.fork()
        if not child:
            os.chdir(folder)
            for number, (_, write) in enumerate(pipes, start=1):
                os.dup2(write, number)
            signal.alarm(60)  # A child that hangs is killed.
            status = 0
            try:
                getattr(importlib.import_module(module), function)(**arguments)
            except SystemExit as left:
                status = int(left.code or 0)
            except BaseException:
                traceback.print_exc()
                status = 1
            if to_the_end:
                sys.exit(status)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = []
        for read, write in pipes:
            os.close(write)
            with open(read, encoding="utf-8") as file:
                said.append(file.read())
        print(json.dumps([status, *said]), flush=True)


@cache
def server() -> subprocess.Popen[str]:
    """Start `serve` in a fresh process: one in which TensorFlow has computed can't be forked."""
    folders = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).parent)]
    process = subprocess.Popen(
        [sys.executable, "-c", "import test_resume; test_resume.serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folders[0],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
    atexit.register(process.kill)
    return process


def in_child(function: Callable[..., None], *, to_the_end: bool = False, **arguments: object) -> Said:
    """Call a function of the tests in a child, in the current folder.

    `to_the_end` of the interpreter, where HDF5 closes what is still open, takes a second more.
    """
    process = server()
    assert process.stdin is not None
    assert process.stdout is not None
    order = [str(Path.cwd()), function.__module__, function.__name__, arguments, to_the_end]
    print(json.dumps(order), file=process.stdin, flush=True)
    return Said(*json.loads(process.stdout.readline()))


class StandIn:
    """Computes next to nothing, where a network would; what else it needs, it inherits in `stand_in`."""

    input_size, n_features, pooling = 16, 300, "avg"
    seen: frozenset[str] = frozenset()
    weights = 1.0
    seconds = 0.0

    def __init__(self, name: str, _: object):
        self.model, self.name = self, name

    def get_weights(self) -> list[np.ndarray]:
        return [np.array([self.weights])]

    def compile(self, engine: str) -> None:
        assert engine == "tensorflow"

    def features(self, pictures: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        values = pictures.reshape(len(pictures), -1)[:, : self.n_features].astype(np.float32)
        return np.sqrt(values) * np.float32(self.weights)


def stand_in() -> Any:
    """Return stage extract as it is, except for the network."""
    extract: Any = importlib.import_module("stages.extract")
    extract.Network = type("StandInNetwork", (StandIn, extract.Network), {})
    extract.check_entries = extract.one_thread_a_batch = extract.make_deterministic = lambda _=None: None
    extract.SECONDS_BETWEEN_SAVES = -1
    sys.argv = ["stages.extract", "MobileNet"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Also where whoever started the tests ignores it.
    return extract


def go() -> None:
    """Extract."""
    run(stand_in().main)


def go_until(moment: int) -> None:
    """Extract, and die at a moment counted in steps that a kill could tear; print the names of the steps."""
    extract = stand_in()
    steps: list[str] = []

    def step(name: str, halfway: Callable[[], object]) -> None:
        steps.append(name)
        if len(steps) - 1 == moment:
            halfway()
            os.kill(os.getpid(), signal.SIGKILL)

    def before_and_after(module: Any, function: str) -> None:
        original = getattr(module, function)

        def stepwise(*arguments: Any, **options: Any) -> Any:
            step(function, lambda: None)
            result = original(*arguments, **options)
            step(function, lambda: None)
            return result

        setattr(module, function, stepwise)

    append, write_text, set_rows = PartialRows.append, Path.write_text, h5py.Dataset.__setitem__

    def tear_rows(partial: PartialRows, rows: np.ndarray) -> None:
        append(partial, rows[: len(rows) // 2])
        partial.file.write(b"torn")
        partial.file.flush()

    def tear_dataset(dataset: h5py.Dataset, block: slice, rows: np.ndarray) -> None:
        half = len(rows) // 2
        set_rows(dataset, slice(block.start, block.start + half), rows[:half])
        dataset.file.flush()

    def append_rows(self: PartialRows, rows: np.ndarray) -> None:
        step("rows", lambda: tear_rows(self, rows))
        append(self, rows)

    def write_state(path: Path, text: str, **options: Any) -> int:
        step("state", lambda: write_text(path, text[: len(text) // 2], **options))
        return write_text(path, text, **options)

    def write_dataset(dataset: h5py.Dataset, block: slice, rows: np.ndarray) -> None:
        step("HDF5", lambda: tear_dataset(dataset, block, rows))
        set_rows(dataset, block, rows)

    PartialRows.append = append_rows  # type: ignore[method-assign]
    Path.write_text = write_state  # type: ignore[assignment, method-assign]
    h5py.Dataset.__setitem__ = write_dataset
    for module, function in ((os, "fsync"), (os, "replace"), (Path, "unlink")):
        before_and_after(module, function)
    extract.main()
    print(json.dumps(steps))


def go_for(seconds: float) -> None:
    """Extract slowly, and die after so many seconds, wherever that is."""
    StandIn.seconds = 0.01
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    go()


def assert_goes_on(reference: bytes) -> None:
    """Assert that a kill left nothing but whole files, and that the next run goes on from there to the same bytes."""
    assert not OUTPUT.exists() or OUTPUT.read_bytes() == reference
    saved = n_saved()
    said = in_child(go)
    assert said.status == 0, said.errors
    assert (f"going on after {saved} of {N_TRAIN + N_TEST} pictures" in said.output) == (saved > 0)
    assert OUTPUT.read_bytes() == reference
    assert [path for path in Path("features").rglob("*") if path.is_file()] == [OUTPUT]


def through() -> tuple[bytes, list[str]]:
    """Extract without a kill; return the bytes of the output and the steps."""
    said = in_child(go_until, moment=-1)
    assert said.status == 0, said.errors
    return OUTPUT.read_bytes(), json.loads(said.output.splitlines()[-1])


def kill_at(moment: int, steps: list[str], reference: bytes) -> None:
    shutil.rmtree("features")
    said = in_child(go_until, moment=moment)
    assert said.status == -signal.SIGKILL, said.errors
    # Every batch is saved as soon as it is there: of what was done before, the one in work is lost.
    finished = moment > steps.index("unlink", steps.index("HDF5"))
    assert finished or n_saved() >= (steps[:moment].count("rows") - 1) * BATCH
    assert_goes_on(reference)


@pytest.mark.usefixtures("linked")
def test_a_kill_inside_a_write_loses_one_batch_at_most() -> None:
    """A random moment of each kind: rows, their count or the HDF5 file half-written, renamed, removed."""
    reference, steps = through()
    for kind in ("rows", "state", "HDF5", "replace", "unlink"):
        moment = random.choice([i for i, step in enumerate(steps) if step == kind])
        print(f"killed at step {moment} of {len(steps)}, {kind}")  # Seen if the test fails.
        kill_at(moment, steps, reference)


@pytest.mark.long
@pytest.mark.usefixtures("linked")
def test_a_kill_at_20_random_steps() -> None:
    reference, steps = through()
    for moment in random.sample(range(len(steps)), 20):
        print(f"killed at step {moment} of {len(steps)}, {steps[moment]}")
        kill_at(moment, steps, reference)


def kill_at_random_times(n_times: int) -> None:
    reference, _ = through()
    for _ in range(n_times):
        shutil.rmtree("features")
        seconds = random.uniform(0, 0.3)
        print(f"killed after {seconds} seconds")
        assert in_child(go_for, seconds=seconds).status in (0, -signal.SIGKILL)
        assert_goes_on(reference)


@pytest.mark.usefixtures("linked")
def test_a_kill_at_any_time() -> None:
    kill_at_random_times(3)


@pytest.mark.long
@pytest.mark.usefixtures("linked")
def test_a_kill_at_20_random_times() -> None:
    kill_at_random_times(20)


def go_by_a_slow_clock() -> None:
    """Extract with a clock by which every batch takes 7 seconds, and print the most seconds that were ever unsaved."""
    clock = SimpleNamespace(now=0.0, saved=0.0, unsaved=[])
    append, save = PartialRows.append, PartialRows.save

    def slow_append(self: PartialRows, rows: np.ndarray) -> None:
        clock.now += 7
        append(self, rows)
        clock.unsaved.append(clock.now - clock.saved)

    def remember_save(self: PartialRows) -> None:
        save(self)
        assert n_saved() == self.n_rows
        clock.saved = clock.now

    PartialRows.append, PartialRows.save = slow_append, remember_save  # type: ignore[method-assign]
    seconds = importlib.import_module("stages.extract").SECONDS_BETWEEN_SAVES
    extract = stand_in()
    extract.SECONDS_BETWEEN_SAVES = seconds
    extract.time = SimpleNamespace(monotonic=lambda: clock.now)
    extract.main()
    print(json.dumps(max(clock.unsaved)))


@pytest.mark.usefixtures("linked")
def test_at_most_a_minute_of_work_is_ever_unsaved() -> None:
    said = in_child(go_by_a_slow_clock)
    assert said.status == 0, said.errors
    assert 7 < float(said.output.splitlines()[-1]) <= 60  # More than one batch: saving each would cost time.


def go_until_ctrl_c(n_batches: int) -> None:
    """Extract, and press Ctrl-C when so many batches are there."""
    extract = stand_in()
    extract.SECONDS_BETWEEN_SAVES = 1e9
    append = PartialRows.append

    def press(self: PartialRows, rows: np.ndarray) -> None:
        append(self, rows)
        if self.n_rows == n_batches * BATCH:
            os.kill(os.getpid(), signal.SIGINT)

    PartialRows.append = press  # type: ignore[method-assign]
    run(extract.main)


@pytest.mark.usefixtures("linked")
def test_ctrl_c_saves_every_row_and_says_how_many() -> None:
    reference, _ = through()
    shutil.rmtree("features")
    said = in_child(go_until_ctrl_c, n_batches=11)
    assert said.status == 130
    kept = "Interrupted: MobileNet keeps 88 of 160 pictures; `dvc repro` goes on from there\n"
    assert said.errors == kept
    assert n_saved() == 88
    assert_goes_on(reference)


def test_ctrl_c_elsewhere_says_that_nothing_is_half_written(capsys: pytest.CaptureFixture[str]) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        run(press)
    assert left.value.code == 130
    assert capsys.readouterr().err.startswith("Interrupted: nothing half-written is left; the same command goes on")


# --- what is taken over, and what is not -----------------------------------------------------------------------------


def go_with_other(what: str | None) -> None:
    """Extract with other weights, code or libraries than `go`."""
    extract = stand_in()
    changed, getsource = extract.images, inspect.getsource
    if what == "weights":
        StandIn.weights = 2.0
    elif what == "network":
        StandIn.pooling = "max"
    elif what == "library":
        PIL.__version__ = "0.0"
    elif what == "code":
        inspect.getsource = lambda object: getsource(object) + "#" * (object is changed)  # noqa: A006
    run(extract.main)


def other_picture() -> None:
    draw_animal("dog", np.random.default_rng(7)).save("data/raw/test/40.jpg", quality=90)
    link.main()


def fewer_pictures() -> None:
    Path("data/raw/train/cat.7.jpg").unlink()
    link.main()


def other_parameter() -> None:
    change_params(PARAMS_FILE, lambda params: params["extract"].update(flip=True))


@pytest.mark.parametrize(
    "change",
    [other_picture, fewer_pictures, other_parameter, "weights", "network", "library", "code"],
    ids=lambda change: change if isinstance(change, str) else change.__name__,
)
@pytest.mark.usefixtures("linked")
def test_rows_of_another_extraction_are_thrown_away(change: str | Callable[[], None]) -> None:
    assert in_child(go_until_ctrl_c, n_batches=11).status == 130
    assert n_saved() == 88
    what = change if isinstance(change, str) else change()
    said = in_child(go_with_other, what=what)
    assert said.status == 0, said.errors
    assert "going on" not in said.output
    changed = OUTPUT.read_bytes()
    shutil.rmtree("features")
    assert in_child(go_with_other, what=what).status == 0
    assert OUTPUT.read_bytes() == changed


ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)


def filled(path: Path, fingerprint: str = "one") -> PartialRows:
    partial = PartialRows(path, 3, fingerprint)
    partial.append(ROWS)
    partial.save()
    return partial


def test_rows_added_since_the_last_save_are_not_taken_over(tmp_path: Path) -> None:
    partial = filled(tmp_path / "a.rows")
    assert (tmp_path / "a.rows").stat().st_size == ROWS.nbytes  # On the disk before they are counted.
    partial.append(np.full((2, 3), 7, np.float32))
    partial.close()  # On the disk, perhaps torn, and not counted.
    again = PartialRows(tmp_path / "a.rows", 3, "one")
    assert again.n_rows == 5
    assert again.read(0, 5).tolist() == ROWS.tolist()
    again.append(ROWS[:1])
    again.save()
    again.close()
    more = PartialRows(tmp_path / "a.rows", 3, "one")
    assert more.read(0, more.n_rows).tolist() == [*ROWS.tolist(), ROWS[0].tolist()]


@pytest.mark.parametrize("name", ["a.json", "a.rows"])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"fingerprint": "one", "n_r', b"[1]", b'"one"', b'{"fingerprint": "one"}', b"\xff\xfe\0", bytes(60), None],
)
def test_a_torn_or_foreign_file_is_thrown_away(name: str, content: bytes | None, tmp_path: Path) -> None:
    filled(tmp_path / "a.rows").close()
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    again = filled(tmp_path / "a.rows")
    assert again.n_rows == 5
    assert again.read(0, 5).tolist() == ROWS.tolist()


def test_rows_of_another_fingerprint_are_thrown_away(tmp_path: Path) -> None:
    filled(tmp_path / "a.rows").close()
    assert PartialRows(tmp_path / "a.rows", 3, "other").n_rows == 0


# --- two at once -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("linked")
def test_two_extractions_of_one_network_at_once() -> None:
    """The second is refused, and takes nothing from the first."""
    pytest.importorskip("fcntl", reason="needs locks, which this system lacks")
    first = PartialRows(PARTIAL / "MobileNet.rows", 3, "of the first")
    first.append(ROWS)
    first.save()
    said = in_child(go)
    assert said.status == 1
    assert said.errors == (
        "ERROR: features/partial/MobileNet.rows: in use by another run; wait for it or stop it, then run this again\n"
    )
    assert not OUTPUT.exists()
    assert n_saved() == 5
    assert first.read(0, 5).tolist() == ROWS.tolist()
    first.remove()
    assert in_child(go).status == 0


def test_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gap_ensemble.storage.features.fcntl", None)
    filled(tmp_path / "a.rows").close()
    partial = PartialRows(tmp_path / "a.rows", 3, "one")
    assert partial.n_rows == 5
    partial.remove()
    assert not list(tmp_path.iterdir())


def test_rows_that_another_process_removes_in_the_moment_of_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="needs locks, which this system lacks")
    first = filled(tmp_path / "a.rows")
    flock = fcntl.flock

    def finish_first(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.remove()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    second = PartialRows(tmp_path / "a.rows", 3, "one")
    assert second.n_rows == 0
    with pytest.raises(UserError, match="in use by another run"):
        PartialRows(tmp_path / "a.rows", 3, "one")
