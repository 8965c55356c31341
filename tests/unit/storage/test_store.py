"""The store of features: what was added is there, what is torn is not, and nothing is lost."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_ensemble.storage import store as store_module
from gap_ensemble.storage.store import KEY_BYTES, Damaged, NetworkStore, open_store, store_folder

ABOUT = {"network": "Small", "precision": "float32", "engine": "openvino"}
N_COLUMNS = 3


def md5(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


KEYS = [md5(number) for number in range(5)]
ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)


def opened(folder: Path, fingerprint: str = "f" * 64) -> NetworkStore:
    return open_store(folder, fingerprint, ABOUT)


def add(store: NetworkStore, keys: list[str], rows: np.ndarray) -> None:
    with store.writing() as writer:
        writer.append(keys, rows)
        writer.save()


@pytest.fixture
def filled(tmp_path: Path) -> NetworkStore:
    store = opened(tmp_path)
    add(store, KEYS, ROWS)
    return store


def everything(store: NetworkStore, keys: list[str] = KEYS) -> list[list[float]]:
    return store.rows(keys).read(0, len(keys)).tolist()


@pytest.mark.usefixtures("filled")
def test_rows_are_found_by_content_in_any_order(tmp_path: Path) -> None:
    again = opened(tmp_path)
    assert again.n_rows == 5
    assert again.missing([*KEYS, md5(7)]) == {md5(7)}
    wanted = [KEYS[3], KEYS[0], KEYS[3]]
    assert everything(again, wanted) == [ROWS[3].tolist(), ROWS[0].tolist(), ROWS[3].tolist()]


@pytest.mark.usefixtures("filled")
def test_another_fingerprint_is_another_store(tmp_path: Path) -> None:
    assert opened(tmp_path, "e" * 64).missing(KEYS) == set(KEYS)


def test_md5_that_ends_in_zeros(tmp_path: Path) -> None:
    keys = ["ab" * 15 + "00", "ab" * 14 + "0000", "00" * 16]
    store = opened(tmp_path)
    add(store, keys, ROWS[:3])
    assert everything(store, keys) == ROWS[:3].tolist()
    assert store.missing(["00" * 15 + "01"]) == {"00" * 15 + "01"}


def test_rows_added_since_the_last_save_do_not_count(filled: NetworkStore, tmp_path: Path) -> None:
    with filled.writing() as writer:
        writer.append([md5(6)], ROWS[:1])
        writer.save()
        writer.append([md5(7)], ROWS[:1])
    again = opened(tmp_path)
    assert again.missing([md5(6), md5(7)]) == {md5(7)}


@pytest.mark.parametrize("name", ["keys", "rows"])
@pytest.mark.parametrize("n_bytes", range(1, 2 * KEY_BYTES, 5))
def test_a_torn_tail_is_dropped_and_the_next_rows_are_right(
    name: str, n_bytes: int, filled: NetworkStore, tmp_path: Path
) -> None:
    path = filled.folder / name
    os.truncate(path, path.stat().st_size - n_bytes)
    again = opened(tmp_path)
    lost = again.missing(KEYS)
    assert lost == set(KEYS[again.n_rows :])
    assert 1 <= len(lost) <= 4
    add(again, KEYS[again.n_rows :], ROWS[again.n_rows :])
    assert everything(opened(tmp_path)) == ROWS.tolist()


@pytest.mark.parametrize(
    "tail",
    [bytes(KEY_BYTES), bytes(5), b"\xff" * KEY_BYTES, np.random.default_rng(0).bytes(3 * KEY_BYTES)],
    ids=["zeros", "short", "ones", "noise"],
)
def test_what_is_no_record_does_not_count(tail: bytes, filled: NetworkStore, tmp_path: Path) -> None:
    for name, content in (("keys", tail), ("rows", bytes(200))):
        with open(filled.folder / name, "ab") as file:
            file.write(content)
    again = opened(tmp_path)
    assert again.n_rows == 5
    add(again, [md5(6)], ROWS[:1] + 1)
    assert everything(opened(tmp_path), [*KEYS, md5(6)]) == [*ROWS.tolist(), (ROWS[0] + 1).tolist()]


def test_a_damaged_row_is_noticed_and_can_be_forgotten(filled: NetworkStore, tmp_path: Path) -> None:
    with open(filled.folder / "rows", "r+b") as file:
        file.seek(2 * N_COLUMNS * 4)
        file.write(b"\xff")
    store = opened(tmp_path)
    with pytest.raises(Damaged) as damaged:
        store.rows(KEYS).check()
    assert damaged.value.keys == {KEYS[2]}
    store.forget(damaged.value.keys)
    assert opened(tmp_path).missing(KEYS) == {KEYS[2]}
    add(store, [KEYS[2]], ROWS[2:3])
    assert everything(opened(tmp_path)) == ROWS.tolist()


def test_nothing_is_left_of_a_run_that_added_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no network"), opened(tmp_path).writing():
        raise ValueError("no network")
    assert not list(tmp_path.iterdir())


def test_a_second_writer_waits_and_finds_what_was_added(
    filled: NetworkStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store_module, "SECONDS_BETWEEN_TRIES", 0.01)
    second, found = opened(tmp_path), []

    def wait_and_look() -> None:
        with second.writing():
            found.append(second.missing([md5(6)]))

    thread = threading.Thread(target=wait_and_look)
    with filled.writing() as writer:
        thread.start()
        while "waiting for another run" not in capsys.readouterr().out:
            time.sleep(0.01)
        writer.append([md5(6)], ROWS[:1])
        writer.save()
        assert not found
    thread.join()
    assert found == [set()]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524])
def test_without_locks_two_writers_lose_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = opened(tmp_path), opened(tmp_path)
    with first.writing() as one, second.writing() as other:
        one.append(KEYS[:2], ROWS[:2])
        other.append(KEYS[1:4], ROWS[1:4])
        one.save()
        one.append(KEYS[4:], ROWS[4:])
        other.save()
        one.save()
    assert everything(opened(tmp_path)) == ROWS.tolist()
    assert "no locks here" in capsys.readouterr().out


def test_a_system_without_locks_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "fcntl", None)
    with opened(tmp_path).writing() as one, opened(tmp_path).writing() as other:
        one.append(KEYS[:3], ROWS[:3])
        other.append(KEYS[3:], ROWS[3:])
        one.save()
        other.save()
    assert everything(opened(tmp_path)) == ROWS.tolist()


def test_a_lock_that_another_run_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that adds nothing removes the folder, with the lock for which another one waits."""
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock
    removed: list[int] = []

    def remove_first(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not removed:
            removed.append(descriptor)
            next(tmp_path.rglob("lock")).unlink()

    monkeypatch.setattr(store_module, "SECONDS_BETWEEN_TRIES", 0.01)
    monkeypatch.setattr(fcntl, "flock", remove_first)
    store = opened(tmp_path)
    with store.writing() as writer:
        assert removed
        assert (store.folder / "lock").exists()  # Or a third run would lock a file of its own.
        writer.append(KEYS, ROWS)
        writer.save()
    assert everything(opened(tmp_path)) == ROWS.tolist()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.storage.test_store import *
store = opened(Path(sys.argv[1]))
with store.writing() as writer:
    for number in range(1000):
        writer.append([md5(number)], np.full((1, 3), number, np.float32))
        writer.save()
        print(number, flush=True)
"""


def test_a_killed_writer_keeps_what_it_saved(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    code = KILLED.format(root=root)
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    for _ in range(20):
        last = int(process.stdout.readline())
    process.kill()
    process.communicate()
    keys = [md5(number) for number in range(last + 1)]
    store = opened(tmp_path)
    assert store.missing(keys) == set()
    assert everything(store, keys) == [[number] * 3 for number in range(last + 1)]
    add(store, [md5(5000)], ROWS[:1])  # Its lock is gone with it.


def test_a_full_disk_names_the_file_and_loses_nothing(filled: NetworkStore, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        with pytest.raises(OSError, match=r"(keys|rows)") as refused, filled.writing() as writer:  # noqa: PT012
            for number in range(10, 20):
                writer.append([md5(number)], ROWS[:1])
                writer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.errno == errno.EFBIG
    assert everything(opened(tmp_path)) == ROWS.tolist()


def test_where_the_store_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAP_ENSEMBLE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert store_folder(None) == tmp_path / "features/store"
    assert store_folder("elsewhere") == tmp_path / "elsewhere"
    assert store_folder("/shared") == Path("/shared")
    copy = tmp_path / ".dvc/tmp/exps/tmp123"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)  # A copy of the repository, in which DVC runs an experiment.
    assert store_folder(None) == tmp_path / "features/store"
    monkeypatch.setenv("GAP_ENSEMBLE_STORE", "/of/everybody")
    assert store_folder("elsewhere") == Path("/of/everybody")


def test_about_says_what_it_is(filled: NetworkStore) -> None:
    about = json.loads((filled.folder / "about.json").read_text())
    assert about["network"] == "Small"
    assert about["n_features"] == N_COLUMNS
