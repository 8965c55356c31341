"""The features of pictures by one network: what the store lacks is computed, everything else is read.

    rows = extract_features(job, pictures, store)

A picture goes by its content. However it is named, whatever its label, in whichever competition it stands: a network
computes it once.
"""

import hashlib
import inspect
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.extraction import jax_engine, openvino_engine
from gap_ensemble.extraction.devices import Device, find_device
from gap_ensemble.extraction.engines import open_engine
from gap_ensemble.extraction.reading import Picture, Readers, read_batch, read_known
from gap_ensemble.extraction.workers import Pool, Threads, chunks_of
from gap_ensemble.images import decoding
from gap_ensemble.images.grey import Scale
from gap_ensemble.messages.errors import UserError
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.network import Network, code_of, open_network
from gap_ensemble.params import Backbone
from gap_ensemble.storage.store import Damaged, NetworkStore, StoredRows, open_store

SECONDS_BETWEEN_SAVES = 20
# Pictures that a worker gets at a time, on a processor: a few seconds of work. On a GPU, so many batches.
CHUNK = 64
BATCHES_IN_CHUNK = 8


@dataclass(frozen=True)
class ExtractJob:
    """Turn pictures into features: chunks are sequences of `Picture`, results float32 arrays (n, n_features).

    Attributes
    ----------
    name : str
        The entry's name in its section of params.yaml.
    entry : Backbone
        Its values.
    raw : Path
        The folder that the files are relative to.
    device : Device
        What `Pool.device` returned. A worker that computes on another one refuses.
    grey_scale : Scale or None
        The data set's, for pictures of more than 8 bits.
    batch_size : int or None
        Pictures at a time on a GPU.
    flip : bool
        Whether features are the mean over each picture and its mirror image.
    section : str
        The section in which the entry stands.
    """

    name: str
    entry: Backbone
    raw: Path
    device: Device
    grey_scale: Scale | None = None
    batch_size: int | None = None
    flip: bool = False
    section: str = "backbones"

    def worker(self) -> "Worker":
        """Load the network, and make it ready to compute."""
        return Worker(self)

    def needs(self, chunk: Sequence[Picture]) -> list[Path]:
        """Return the raw folder, and one of its pictures: the folder may be there and empty."""
        return [self.raw, self.raw / chunk[0].file]

    def identity(self) -> str:
        """Identify network, weights, options and code, as `fingerprint` does."""
        return fingerprint(open_network(self.name, self.entry, self.section), self)


class Worker:
    """Holds a network in one process, and turns chunks into features with all cores that the process may use.

    Parameters
    ----------
    job : ExtractJob
        What it does.

    Raises
    ------
    UserError
        If this process would compute on another device than the job's, because features would differ; or if the
        network can't be loaded.
    """

    def __init__(self, job: ExtractJob):
        self.job = job
        network = open_network(job.name, job.entry, job.section)
        here = find_device(job.device.precision, network.kind)
        if here.identity() != job.device.identity():
            raise UserError(
                f"{job.name}: a worker would compute on {here} [{here.units}], others on {job.device} "
                f"[{job.device.units}], which gives other features; take workers of one kind"
            )
        self.engine = open_engine(network, job.device, job.batch_size)
        self.pool = ThreadPoolExecutor(self.engine.n_threads)
        self.read = read_batch if self.engine.batch_size == 1 else Readers()

    def __call__(self, chunk: Sequence[Picture]) -> np.ndarray:
        """Return the features of pictures, shape (n, n_features), float32. May be called from several threads.

        Raises
        ------
        UserError
            If a picture can't be read any more, or its content is no longer that of the manifest.
        """
        return np.concatenate(list(self.pool.map(self._features, chunks_of(chunk, self.engine.batch_size))))

    def close(self) -> None:
        """Begin no more pictures."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(self.read, Readers):
            self.read.close()

    def _features(self, pictures: Sequence[Picture]) -> np.ndarray:
        batch = self.read(self.job.raw, pictures, self.engine.input_size, self.job.grey_scale)
        if len(batch) < self.engine.batch_size:
            # It is filled up: another shape would be compiled again and could round differently.
            batch = np.concatenate([batch, np.zeros((self.engine.batch_size - len(batch), *batch.shape[1:]), np.uint8)])
        rows = self.engine(batch)
        if self.job.flip:
            rows = (rows + self.engine(np.ascontiguousarray(batch[:, :, ::-1]))) / 2
        return rows[: len(pictures)]


def extract_features(
    job: ExtractJob, pictures: Sequence[Picture], folder: Path, pool: Pool | None = None
) -> StoredRows:
    """Return the features of pictures, a row a picture; a network computes those that the store lacks.

    Parameters
    ----------
    job : ExtractJob
        The network, and how pictures go through it.
    pictures : sequence of Picture
        Two of the same content are computed once.
    folder : Path
        Where the store lies.
    pool : Pool, optional
        Who computes; by default the threads of this process.

    Raises
    ------
    UserError
        If a picture can't be read any more, or the network can't be loaded.
    KeyboardInterrupt
        Everything that was computed is kept; the text says how much.
    """
    network = open_network(job.name, job.entry, job.section)
    about = {"network": network.title, "precision": job.device.precision, "engine": job.device.engine}
    store = open_store(folder, fingerprint(network, job), about)
    wanted = [picture.md5 for picture in pictures]
    while True:
        missing = store.missing(wanted)
        if missing:
            _compute(job, pictures, store, pool or Threads())
        else:
            print(f"{job.name}: all {len(set(wanted)):,} pictures are in the store; none is computed")
        rows = store.rows(wanted)
        try:
            rows.check()
        except Damaged as damaged:
            print(f"WARNING: {store.folder}: {len(damaged.keys):,} rows are damaged on the disk; computed again")
            store.forget(damaged.keys)
        else:
            store.note_user()
            return rows


def _compute(job: ExtractJob, pictures: Sequence[Picture], store: NetworkStore, pool: Pool) -> None:
    """Add the rows of pictures to the store."""
    with store.writing() as writer:
        # Another run may have added some while this one waited for it.
        missing = store.missing([picture.md5 for picture in pictures])
        todo = list({picture.md5: picture for picture in pictures if picture.md5 in missing}.values())
        if not todo:
            return
        n_known = len({picture.md5 for picture in pictures}) - len(todo)
        if n_known:
            print(f"{job.name}: {n_known:,} pictures are in the store; {len(todo):,} are to be computed")
        print(f"{job.name}: computed on {job.device}", flush=True)
        if job.device.warning:
            print(f"WARNING: {job.device.warning}", flush=True)
        size = CHUNK if job.device.kind == "cpu" else BATCHES_IN_CHUNK * (job.batch_size or jax_engine.BATCH_SIZE)
        n_done, last_save = 0, time.monotonic()
        try:
            results = pool.map(job, chunks_of(todo, size))  # Loads the network, which the rate is not to count.
            with Progress(len(todo), job.name, n_workers=lambda: pool.n_workers) as progress:
                for rows in results:
                    writer.append([picture.md5 for picture in todo[n_done : n_done + len(rows)]], rows)
                    n_done += len(rows)
                    progress.add(len(rows))
                    if time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                        writer.save()
                        last_save = time.monotonic()
            writer.save()
        except (KeyboardInterrupt, UserError) as stopped:
            writer.save()
            if not n_done:
                raise
            kept = f"{job.name} keeps {n_done:,} of {len(todo):,} pictures; `dvc repro` goes on from there"
            if isinstance(stopped, KeyboardInterrupt):
                raise KeyboardInterrupt(kept) from None
            print(kept, flush=True)
            raise


def fingerprint(network: Network, job: ExtractJob) -> str:
    """Identify everything that a row of features depends on, except for the picture: 64 hexadecimal digits."""
    engine = openvino_engine if job.device.engine == "openvino" else jax_engine
    things: list[Any] = [*decoding.MODULES, engine, Worker, read_known]
    code = [code_of(inspect.getsource(thing)) for thing in things]
    batch = job.batch_size if job.device.kind == "gpu" else 1
    values = [network.fingerprint(), job.device.identity(), batch, job.flip, repr(job.grey_scale), code]
    return hashlib.sha256(repr(values).encode()).hexdigest()
