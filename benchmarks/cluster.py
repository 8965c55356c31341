"""Extraction on Ray beside one process on the same cores: start-up, steady rate, memory of driver and workers, bytes.

    python -m benchmarks.cluster                       # on an otherwise quiet machine
    python -m benchmarks.cluster --pictures 1000 10000 --rounds 3

The contenders, each in a process of its own, one after the other in every round:

    one process    cluster.address: null, on all cores
    local          cluster.address: local, one worker on all cores
    two nodes      cluster.address: HOST:PORT, a cluster of two nodes on this machine, half of the cores each

The pictures are drawn noise, and the network is untrained, which takes as long as trained. Start-up is the time to the
first result: starting or joining the cluster, starting workers, loading the network. The rate is that of the last nine
tenths of the pictures, and so is the processor time that the driver takes for each. Memory is the peak of resident
pages; that of the workers is their sum.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gap_ensemble.extraction.cluster import Actors, open_pool
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.extraction.workers import Pool
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import Backbone
from gap_ensemble.storage.store import StoredRows
from tools.workspace import ROOT

CONTENDERS = ("one process", "local", "two nodes")


def main() -> None:
    """Run all contenders one after the other in every round, or the one that `--contender` names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster")
    parser.add_argument("--pictures", type=int, nargs="+", default=[1000, 10000], help="default: 1000 10000")
    parser.add_argument("--side", type=int, default=256, help="of a picture, in pixels; default: %(default)s")
    parser.add_argument("--network", default="MobileNetV2", help="default: %(default)s")
    parser.add_argument("--input-size", type=int, default=96, help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure(options)))
        return
    results: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, two_nodes("two nodes" in options.contenders) as address:
        addresses = {"local": "local", "two nodes": address}
        for n_pictures in options.pictures:
            raw = Path(folder) / str(n_pictures)
            draw(raw, n_pictures, options.side)
            for number in range(options.rounds):
                for contender in options.contenders[:: 1 if number % 2 == 0 else -1]:
                    result = start(contender, addresses.get(contender), raw)
                    results[n_pictures, contender].append(result)
                    print(f"{contender}, {n_pictures:,} pictures: {result}", file=sys.stderr, flush=True)
    print_table(results)


class two_nodes:  # noqa: N801 - a context manager
    """A cluster of two nodes on this machine, each with half of the cores; its address."""

    def __init__(self, wanted: bool):
        self.cluster: Any = None
        if wanted:
            os.environ.setdefault("RAY_worker_niceness", "0")  # As docs/cluster.md advises.
            from ray.cluster_utils import Cluster

            n_cores = max(1, usable_cores() // 2)
            self.cluster = Cluster(True, head_node_args={"num_cpus": n_cores, "include_dashboard": False})
            self.cluster.add_node(num_cpus=n_cores)

    def __enter__(self) -> str | None:
        return self.cluster.address if self.cluster else None

    def __exit__(self, *_: object) -> None:
        if self.cluster:
            self.cluster.shutdown()


def draw(folder: Path, n_pictures: int, side: int) -> None:
    """Write JPEG files of coarse noise, each of another content."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(n_pictures):
        coarse = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        Image.fromarray(coarse).resize((side, side)).save(folder / f"{number:06d}.jpg", quality=90)


def start(contender: str, address: str | None, raw: Path) -> dict[str, Any]:
    """Run one contender in a process of its own, and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.cluster", *sys.argv[1:], "--contender", contender, "--raw", str(raw)]
    command += ["--address", address] if address else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{contender}: failed: {' '.join(done.stderr.split())[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Extract, and return seconds, pictures a second, MiB, and a digest of the features."""
    pictures = [
        Picture(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(options.raw.iterdir())
    ]
    begin = time.perf_counter()
    pool = Timed(open_pool(options.address))
    entry = Backbone(weights="random", input_size=options.input_size)
    job = ExtractJob(options.network, entry, options.raw, pool.call(find_device, options.precision))
    memory = {"driver": 0, "workers": 0}
    stop = threading.Event()
    threading.Thread(target=watch, args=(pool, memory, stop), daemon=True).start()
    with tempfile.TemporaryDirectory() as store:
        rows = extract_features(job, pictures, Path(store), pool)
        stop.set()
        digest = digest_of(rows)
    first = next(index for index, (_, n, _) in enumerate(pool.results) if n >= len(pictures) // 10)
    (start_time, n_start, cpu_start), (end_time, n_end, cpu_end) = pool.results[first], pool.results[-1]
    return {
        "start-up": pool.results[0][0] - begin,
        "rate": (n_end - n_start) / (end_time - start_time),
        "driver_ms": 1000 * (cpu_end - cpu_start) / (n_end - n_start),
        "driver": memory["driver"] / 2**20,
        "workers": memory["workers"] / 2**20,
        "digest": digest,
    }


def digest_of(rows: StoredRows) -> str:
    """Return a digest of all rows of features."""
    digest = hashlib.sha256()
    for first in range(0, rows.n_rows, 1000):
        digest.update(rows.read(first, min(first + 1000, rows.n_rows)).tobytes())
    return digest.hexdigest()[:12]


@dataclass
class Timed:
    """A pool that writes down when results come."""

    pool: Pool

    def __post_init__(self) -> None:
        self.results: list[tuple[float, int, float]] = []
        self.pids: list[int] = []  # of the workers

    @property
    def n_workers(self) -> int:
        """How many other processes are at work."""
        return self.pool.n_workers

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function where the workers are."""
        return self.pool.call(function, *arguments, **options)

    def map(self, job: Any, chunks: Iterable[Any]) -> Iterator[Any]:
        """Yield the results, and note the time and the number of pictures so far."""
        n_done = 0
        results = self.pool.map(job, chunks)
        if isinstance(self.pool, Actors):
            asked = [worker.actor.call.remote(os.getpid, (), {}) for worker in self.pool.workers]
            self.pids = self.pool.ray.get(asked)
        for rows in results:
            n_done += len(rows)
            self.results.append((time.perf_counter(), n_done, time.process_time()))
            yield rows


def watch(pool: Timed, memory: dict[str, int], stop: threading.Event) -> None:
    """Keep the peaks of the resident memory of this process and of its workers, in bytes."""
    peaks: dict[int, int] = {}
    while not stop.wait(0.5):
        for pid in pool.pids:
            with contextlib.suppress(OSError):  # It has ended.
                peaks[pid] = max(peaks.get(pid, 0), peak_memory(str(pid)))
        memory["workers"] = sum(peaks.values())
        memory["driver"] = peak_memory("self")


def peak_memory(process: str) -> int:
    """Return the peak of a process's resident memory, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def print_table(results: dict[tuple[int, str], list[dict[str, Any]]]) -> None:
    """Print a row for every number of pictures and contender: medians over the rounds."""
    print(
        "| pictures | contender | start-up, s | pictures/s | to one process | driver, MiB | workers, MiB | features |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (n_pictures, contender), rounds in results.items():
        value = {name: float(np.median([one[name] for one in rounds])) for name in rounds[0] if name != "digest"}
        baseline = results.get((n_pictures, "one process"), rounds)
        ratios = [mine["rate"] / theirs["rate"] for mine, theirs in zip(rounds, baseline, strict=True)]
        digests = sorted({one["digest"] for one in rounds})
        print(
            f"| {n_pictures:,} | {contender} | {value['start-up']:.1f} | {value['rate']:.1f} | "
            f"{np.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {value['driver_ms']:.2f} | "
            f"{value['driver']:.0f} | {value['workers']:.0f} | {', '.join(digests)} |"
        )


if __name__ == "__main__":
    run(main)
