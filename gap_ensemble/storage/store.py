"""The store: every row of features that a network has computed, by the content of the picture.

    features/store/<network>-<precision>-<fingerprint>/
        about.json     what it is, for people, and which repositories use it
        keys, rows     a record for each picture: who it is, and its features
        lock           held by the run that adds rows

The store lies outside the outputs that DVC knows, because DVC deletes those before it runs a stage. Several
repositories may share one (`extract.store`, or the environment variable GAP_ENSEMBLE_STORE).

Both files only grow. A record of `keys` is 24 bytes: the picture's MD5 (16), the CRC-32 of its row (4), the CRC-32 of
these 20 bytes (4). The row of the same number in `rows` is on the disk before its key is: a kill or a power cut loses
what was added since the last `save`, nothing else. A record that is torn does not count. One process adds rows at a
time; where the file system can't lock, every process adds to files of its own (`keys-…`, `rows-…`).
"""

import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.storage.files import blamed_on, write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VARIABLE = "GAP_ENSEMBLE_STORE"
DEFAULT = Path("features/store")

SECONDS_BETWEEN_TRIES = 1.0

KEY = np.dtype([("md5", "V16"), ("row_crc", "<u4"), ("crc", "<u4")])
KEY_BYTES = KEY.itemsize


class Damaged(Exception):  # noqa: N818 - it names what they are
    """Rows that are not what was written, as their checksums say."""

    def __init__(self, keys: set[str]):
        self.keys = keys
        super().__init__(f"{len(keys)} damaged rows")


def store_folder(named: str | None) -> Path:
    """Return where the store lies.

    That is the environment variable GAP_ENSEMBLE_STORE if it is set, else what `extract.store` names, else
    `features/store`. A copy of the repository that DVC makes for an experiment uses the store of the repository.

    Parameters
    ----------
    named : str or None
        `extract.store` of params.yaml.
    """
    wanted = Path(os.environ.get(VARIABLE) or named or DEFAULT).expanduser()
    return repository() / wanted


def repository() -> Path:
    """Return the repository's root; for a copy that DVC has made for an experiment, that of the original."""
    here = Path.cwd()
    for folder in here.parents:  # .dvc/tmp/exps/<copy>
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return here


def open_store(folder: Path, fingerprint: str, about: dict[str, str]) -> "NetworkStore":
    """Return the rows of one network.

    Parameters
    ----------
    folder : Path
        Where the store lies.
    fingerprint : str
        Identifies everything that a row depends on, except for the picture.
    about : dict of str to str
        `network` and `precision`, which become a part of the folder's name, and whatever else tells people what it is.
    """
    name = "-".join([about["network"], about["precision"], fingerprint[:16]]).replace("/", "_")
    return NetworkStore(folder / name, {**about, "fingerprint": fingerprint})


class NetworkStore:
    """Rows of one fingerprint.

    Parameters
    ----------
    folder : Path
        Where they lie; made when the first row is added.
    about : dict of str to str
        What they are.

    Attributes
    ----------
    n_rows : int
        Rows that are there.
    """

    def __init__(self, folder: Path, about: dict[str, str]):
        self.folder, self.about = folder, about
        self.reload()

    def reload(self) -> None:
        """Look up what is there."""
        self.n_columns = 0
        with suppress(OSError, ValueError, KeyError):
            self.n_columns = int(json.loads((self.folder / "about.json").read_text())["n_features"])
        self.segments = sorted(self.folder.glob("keys*")) if self.n_columns else []
        keys, crcs, places = [], [], []
        for number, path in enumerate(self.segments):
            records = _whole_records(path, self.n_columns)
            valid = np.flatnonzero(_is_valid(records))
            keys.append(records["md5"][valid])
            crcs.append(records["row_crc"][valid])
            places.append(np.stack([np.full(len(valid), number), valid], axis=1))
        # As bytes of fixed length, of which trailing zeros do not count: MD5 has a fixed length, so that none collide.
        self.keys = np.concatenate(keys).view("S16") if keys else np.empty(0, "S16")
        self.crcs = np.concatenate(crcs) if crcs else np.empty(0, "<u4")
        self.places = np.concatenate(places) if places else np.empty((0, 2), np.int64)
        order = np.argsort(self.keys, kind="stable")
        self.keys, self.crcs, self.places = self.keys[order], self.crcs[order], self.places[order]

    @property
    def n_rows(self) -> int:
        """Rows that are there."""
        return len(self.keys)

    def note_user(self) -> None:
        """Note that this repository uses the rows, so that `tools.store prune` in another one leaves them."""
        path, user = self.folder / "about.json", str(repository())
        with suppress(OSError, ValueError):  # A store that can only be read is of use, too.
            about = json.loads(path.read_text())
            if user not in about.setdefault("used_by", []):
                about["used_by"].append(user)
                write_text(path, json.dumps(about, indent=2) + "\n")

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Return those keys, MD5 in hexadecimal, that have no row."""
        wanted = _packed(keys)
        found = self._find(wanted)
        return {key for key, number in zip(keys, found, strict=True) if number < 0}

    def rows(self, keys: Sequence[str]) -> "StoredRows":
        """Return the rows of keys that all have one."""
        found = self._find(_packed(keys))
        assert (found >= 0).all()
        return StoredRows(self, keys, found)

    def forget(self, keys: set[str]) -> None:
        """Drop rows."""
        with self.writing():
            for i in self._find(_packed(sorted(keys))):
                segment, row = self.places[i]
                with open(self.segments[segment], "r+b") as file:
                    file.seek(int(row) * KEY_BYTES)
                    file.write(bytes(KEY_BYTES))
        self.reload()

    def _find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the number of every key's row; -1 if it has none."""
        if not len(self.keys):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, at, -1)

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Give what adds rows, to one process at a time: others wait, and find what was added meanwhile."""
        with _locked(self.folder) as alone:
            self.reload()
            writer = Writer(self, "" if alone else f"-{os.getpid()}-{secrets.token_hex(4)}")
            try:
                yield writer
            finally:
                writer.close()
                self.reload()
                if not self.n_columns:  # Nothing was added, so nothing is left behind.
                    shutil.rmtree(self.folder, ignore_errors=True)


class Writer:
    """Adds rows to a store.

    Parameters
    ----------
    store : NetworkStore
    suffix : str
        Of the files that it adds to.
    """

    def __init__(self, store: NetworkStore, suffix: str):
        self.store = store
        self.paths = {name: store.folder / f"{name}{suffix}" for name in ("keys", "rows")}
        self.files: dict[str, Any] = {}
        self.pending = b""

    def append(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Add rows (n, n_features), float32, of pictures whose MD5 in hexadecimal are `keys`."""
        rows = np.ascontiguousarray(rows, "<f4")
        if not self.files:
            self._open(rows.shape[1])
        records = np.zeros(len(rows), KEY)
        records["md5"] = _packed(keys).view("V16")
        records["row_crc"] = [zlib.crc32(row.data) for row in rows]
        records["crc"] = [zlib.crc32(record.tobytes()[: KEY_BYTES - 4]) for record in records]
        with blamed_on(self.paths["rows"]):
            self.files["rows"].write(rows.data)
        self.pending += records.tobytes()

    def save(self) -> None:
        """Make every row added so far survive a kill or a power cut."""
        pending, self.pending = self.pending, b""
        for name, content in (("rows", b""), ("keys", pending)):
            if name in self.files:
                with blamed_on(self.paths[name]):
                    self.files[name].write(content)
                    self.files[name].flush()
                    os.fsync(self.files[name].fileno())

    def close(self) -> None:
        """Close the files."""
        for name, file in self.files.items():
            with blamed_on(self.paths[name]):
                file.close()

    def _open(self, n_columns: int) -> None:
        folder = self.store.folder
        if not (folder / "about.json").exists():
            write_text(
                folder / "about.json", json.dumps({**self.store.about, "n_features": n_columns}, indent=2) + "\n"
            )
        n_whole = len(_whole_records(self.paths["keys"], n_columns))
        for name, record_bytes in (("keys", KEY_BYTES), ("rows", 4 * n_columns)):
            number = os.open(self.paths[name], os.O_RDWR | os.O_CREAT, 0o666)
            file = self.files[name] = open(number, "r+b")  # noqa: SIM115
            file.truncate(n_whole * record_bytes)  # What a kill has left half-written.
            file.seek(0, os.SEEK_END)


class StoredRows:
    """Rows of a store in the order that was asked for, read from the disk when they are wanted.

    Attributes
    ----------
    n_rows, n_columns : int
        The shape of all rows together.
    """

    def __init__(self, store: NetworkStore, keys: Sequence[str], numbers: np.ndarray):
        self.store, self.keys, self.numbers = store, keys, numbers
        self.n_rows, self.n_columns = len(keys), store.n_columns

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start` to `stop`, of shape (stop - start, n_columns), float32.

        Raises
        ------
        Damaged
            If rows are not what was written.
        """
        result = np.empty((stop - start, self.n_columns), "<f4")
        damaged = set()
        # Read, not mapped: pages that are mapped count as this process's memory.
        files = [
            open(path.with_name(path.name.replace("keys", "rows", 1)), "rb", buffering=0)  # noqa: SIM115
            for path in self.store.segments
        ]
        try:
            for i, number in enumerate(self.numbers[start:stop]):
                segment, row = self.store.places[number]
                files[segment].seek(int(row) * 4 * self.n_columns)
                n_read = files[segment].readinto(result[i].data)
                if n_read != 4 * self.n_columns or zlib.crc32(result[i].data) != self.store.crcs[number]:
                    damaged.add(self.keys[start + i])
        finally:
            for file in files:
                file.close()
        if damaged:
            raise Damaged(damaged)
        return result

    def check(self) -> None:
        """Read all rows.

        Raises
        ------
        Damaged
            With all rows that are not what was written.
        """
        damaged: set[str] = set()
        step = max(1, 2**24 // max(1, 4 * self.n_columns))
        for start in range(0, self.n_rows, step):
            try:
                self.read(start, min(start + step, self.n_rows))
            except Damaged as error:
                damaged |= error.keys
        if damaged:
            raise Damaged(damaged)


def networks_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder of every network in a store, and what its `about.json` says."""
    for path in sorted(folder.glob("*/about.json")):
        with suppress(OSError, ValueError):
            yield path.parent, json.loads(path.read_text())


def remove(folder: Path) -> None:
    """Delete the rows of one network, `about.json` first, so that a kill leaves nothing that is taken for whole."""
    (folder / "about.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _packed(keys: Iterable[str]) -> np.ndarray:
    """Return MD5 in hexadecimal as an array of 16 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(keys)), "S16")


def _whole_records(path: Path, n_columns: int) -> np.ndarray:
    """Return the records of a file of keys whose rows are on the disk."""
    try:
        content = path.read_bytes()
        rows_bytes = path.with_name(path.name.replace("keys", "rows", 1)).stat().st_size
    except FileNotFoundError:
        return np.empty(0, KEY)
    n_whole = min(len(content) // KEY_BYTES, rows_bytes // (4 * n_columns))
    return np.frombuffer(content, KEY, n_whole)


def _is_valid(records: np.ndarray) -> np.ndarray:
    """Return which records are not torn, shape (n_records,), bool."""
    content = records.tobytes()
    crcs = [zlib.crc32(content[i : i + KEY_BYTES - 4]) for i in range(0, len(content), KEY_BYTES)]
    return records["crc"] == np.array(crcs, np.uint32)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which is made; give False where the file system has no locks.

    Waits for another process that holds it.
    """
    said = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "a+b") as file:
            state = _try_to_lock(file.fileno(), folder / "lock")
            if state in ("locked", "no locks"):
                if state == "no locks":
                    print(
                        f"WARNING: {folder}: no locks here; two runs at once may compute the same pictures", flush=True
                    )
                yield state == "locked"
                return
        if state == "busy":
            if not said:
                print(f"{folder}: waiting for another run that computes the same network", flush=True)
                said = True
            time.sleep(SECONDS_BETWEEN_TRIES)


def _try_to_lock(descriptor: int, path: Path) -> str:
    """Return `locked`, `busy`, `no locks`, or `gone` if the file was removed before it could be locked."""
    if fcntl is None:
        return "no locks"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "locked" if os.path.samestat(os.fstat(descriptor), path.stat()) else "gone"
    except BlockingIOError:
        return "busy"
    except FileNotFoundError:
        return "gone"
    except OSError:  # Such as 37, 38, 95, 524: a network's file system.
        return "no locks"
