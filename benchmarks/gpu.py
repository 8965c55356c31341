"""Extraction on an NVIDIA GPU: what the card computes in each precision, and a whole competition twice.

    python -m benchmarks.gpu --raw data/raw

First the networks alone, on pictures that are decoded already: pictures a second in every precision, by the number of
pictures at a time, and the share of the rate at which JAX multiplies large matrices in that precision. Then the whole
path, from JPEG files to rows in the store, twice, each time in a process of its own, which compiles the network itself
and has an empty store: start-up (to the first result), pictures a second after it, and whether the bytes are equal. The
files are copies of those in the folder, with other bytes at their end, so that each counts as a picture of its own. The
networks are untrained, which takes as long as trained.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster import Timed, digest_of
from benchmarks.extract import NETWORKS, forward_gflop
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.jax_engine import POLICIES, JaxEngine
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.extraction.workers import Threads
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone

ENTRY = Backbone(weights="random")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--raw", type=Path, required=True, help="a folder with JPEG files, at any depth")
    parser.add_argument("--pictures", type=int, default=37500, help="of the whole path; default: %(default)s")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default: %(default)s")
    parser.add_argument("--skip", choices=["alone", "path"], help="leave one of the two tables out")
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store:
        print(json.dumps(extract(options)))
        return
    device = find_device("auto")
    if device.kind != "gpu":
        raise UserError(f"benchmarks.gpu: needs an NVIDIA GPU; found {device.name} {device.warning}")
    print(f"{device}; {usable_cores()} cores\n", flush=True)
    if options.skip != "alone":
        networks_alone(options)
    if options.skip != "path":
        whole_path(options)


def networks_alone(options: argparse.Namespace) -> None:
    """Print what the card computes."""
    from gap_ensemble.networks import keras_setup  # noqa: F401 - JAX reads its settings when it first computes.

    peaks = {precision: matrix_tflops(precision) for precision in POLICIES}
    print("| network | precision | pictures at a time | pictures/s | share of large matrices | start-up, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.networks:
        for precision in POLICIES:
            for batch_size in options.batch_sizes:
                begin = time.perf_counter()
                network: Any = open_network(name, ENTRY)
                engine = JaxEngine(network, precision, batch_size)
                shape = (batch_size, engine.input_size, engine.input_size, 3)
                pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
                engine(pictures)
                start_up = time.perf_counter() - begin
                rate = batch_size * calls_a_second(engine, pictures, options.seconds)
                share = rate * forward_gflop(network.model) / 1000 / peaks[precision]
                print(
                    f"| {name} | {precision} | {batch_size} | {rate:,.0f} | {share:.0%} | {start_up:.0f} |", flush=True
                )
    print(f"\nLarge matrices, TFLOP/s: {', '.join(f'{key} {value:,.0f}' for key, value in peaks.items())}\n")


def calls_a_second(engine: JaxEngine, pictures: np.ndarray, seconds: float) -> float:
    """Return how often an engine is called to its end by as many threads as it wants."""
    counts = []
    begin = time.perf_counter()

    def work(_: int) -> None:
        while time.perf_counter() - begin < seconds:
            engine(pictures)
            counts.append(1)

    with ThreadPoolExecutor(engine.n_threads) as pool:
        list(pool.map(work, range(engine.n_threads)))
    return len(counts) / (time.perf_counter() - begin)


def matrix_tflops(precision: str, size: int = 8192, times: int = 10) -> float:
    """Return the rate of a product of two square matrices in 10^12 floating-point operations a second."""
    import jax

    matrix = jax.random.normal(jax.random.key(0), (size, size), precision)
    product = jax.jit(lambda a: jax.numpy.matmul(a, a, precision="highest"))
    product(matrix).block_until_ready()
    begin = time.perf_counter()
    for _ in range(times):
        result = product(matrix)
    result.block_until_ready()
    return 2 * size**3 * times / (time.perf_counter() - begin) / 1e12


def whole_path(options: argparse.Namespace) -> None:
    """Print rates and digests of whole extractions."""
    originals = [path.read_bytes() for path in sorted(options.raw.rglob("*.jpg"))]
    if not originals:
        raise UserError(f"{options.raw}: has no JPEG files")
    print("| network | precision | pictures | start-up, s | pictures/s | SHA-256 of the features |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        raw.mkdir()
        for number in range(options.pictures):
            content = originals[number % len(originals)] + b"\0" * (number // len(originals))
            (raw / f"{number:06d}.jpg").write_bytes(content)
        for name in options.networks:
            for store in ("one", "two"):
                place = Path(folder, name, store)
                command = [sys.executable, *sys.orig_argv[1:], "--raw", str(raw), "--networks", name]
                command += ["--store", str(place)]
                environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(place / "compiled")}
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise UserError(f"{name}: failed: {' '.join(done.stderr.split())[-500:]}")
                result = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| {name} | {result['precision']} | {options.pictures:,} | {result['start-up']:.0f} | "
                    f"{result['rate']:,.0f} | {result['digest']} |",
                    flush=True,
                )


def extract(options: argparse.Namespace) -> dict[str, Any]:
    """Extract the features of all pictures by one network, and return what was measured."""
    files = sorted(options.raw.iterdir())
    pictures = [Picture(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in files]
    begin, pool = time.perf_counter(), Timed(Threads())
    device = find_device("auto")
    job = ExtractJob(options.networks[0], ENTRY, options.raw, device)
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        rows = extract_features(job, pictures, options.store, pool)
    (first_time, n_first, _), (last_time, n_last, _) = pool.results[0], pool.results[-1]
    return {
        "precision": device.precision,
        "start-up": first_time - begin,
        "rate": (n_last - n_first) / (last_time - first_time),
        "digest": digest_of(rows),
    }


if __name__ == "__main__":
    run(main)
