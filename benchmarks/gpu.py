"""Extraction on an NVIDIA GPU: what the card computes in each precision, and a whole competition twice.

    python -m benchmarks.gpu --raw data/raw

First the networks alone, on pictures that are decoded already: pictures a second in every precision, by the number of
pictures at a time, and the share of the rate at which JAX multiplies large matrices in that precision. Then the whole
path, from JPEG files to rows in the store, twice, each time with an empty store: pictures a second, and whether the
bytes are equal. The files are copies of those in the folder, with other bytes at their end, so that each counts as a
picture of its own. The networks are untrained, which takes as long as trained.
"""

import argparse
import hashlib
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster import digest_of
from benchmarks.extract import NETWORKS, forward_gflop
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import OPENVINO_NAMES, find_device
from gap_ensemble.extraction.jax_engine import JaxEngine
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone

PRECISIONS = tuple(OPENVINO_NAMES)
ENTRY = Backbone(weights="random")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--raw", type=Path, required=True, help="a folder with JPEG files, at any depth")
    parser.add_argument("--pictures", type=int, default=37500, help="of the whole path; default: %(default)s")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default: %(default)s")
    options = parser.parse_args()
    device = find_device("auto")
    if device.kind != "gpu":
        raise UserError(f"benchmarks.gpu: needs an NVIDIA GPU; found {device.name} {device.warning}")
    print(f"{device}; {usable_cores()} cores\n", flush=True)
    networks_alone(options)
    whole_path(options)


def networks_alone(options: argparse.Namespace) -> None:
    """Print what the card computes."""
    peaks = {precision: matrix_tflops(precision) for precision in PRECISIONS}
    print("| network | precision | pictures at a time | pictures/s | share of large matrices | start-up, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.networks:
        for precision in PRECISIONS:
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
    print("| network | precision | pictures | pictures/s, twice | SHA-256 of the features, twice |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        raw.mkdir()
        pictures = []
        for number in range(options.pictures):
            content = originals[number % len(originals)] + b"\0" * (number // len(originals))
            (raw / f"{number:06d}.jpg").write_bytes(content)
            pictures.append(Picture(f"{number:06d}.jpg", hashlib.md5(content).hexdigest()))
        device = find_device("auto")
        for name in options.networks:
            rates, digests = [], []
            for store in ("one", "two"):
                begin = time.perf_counter()
                with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
                    rows = extract_features(ExtractJob(name, ENTRY, raw, device), pictures, Path(folder, name, store))
                rates.append(len(pictures) / (time.perf_counter() - begin))
                digests.append(digest_of(rows))
            print(
                f"| {name} | {device.precision} | {len(pictures):,} | {rates[0]:,.0f}, {rates[1]:,.0f} | "
                f"{digests[0]}, {digests[1]} |",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
