"""Pictures per second from JPEG files to an HDF5 file, beside what a user would write instead.

    python -m benchmarks.extract --raw data/raw

The contenders, each in a process of its own, one after the other in every round:

    keras    image_dataset_from_directory and model.predict, batches of 16
    onnx     ONNX Runtime on Keras's own export of the network, with a pool of decoding threads
    ours     what stage extract does, in float32 and, where the processor has units for it, in bfloat16

The networks are untrained, which takes as long as trained. The clock runs from the first file to the closed HDF5 file;
importing and building the network, and a first batch, come before it and are shown as start-up. Prints pictures per
second, ratios (the median over the rounds, and the least and the greatest), peak memory, and the share of the rate at
which TensorFlow multiplies large matrices on the same cores, which is what the arithmetic in float32 could reach.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.growth import rss_unit
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.images.decoding import check_picture, read_linked_picture
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import Backbone
from gap_ensemble.storage.features import write_features
from gap_ensemble.storage.hdf5 import text_array
from tools.workspace import ROOT

BATCH = 16
CONTENDERS = ("keras", "onnx", "ours, float32", "ours, bfloat16")
NETWORKS = ("ResNet50", "Xception", "InceptionV3")


def main() -> None:
    """Run all contenders one after the other in every round, or the one that `--contender` names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract")
    parser.add_argument("--raw", type=Path, required=True, help="a folder with JPEG files, at any depth")
    parser.add_argument("--pictures", type=int, default=160, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(measure(arguments.contender, arguments.networks[0], arguments.raw, arguments.work)))
        return
    files = sorted(path.resolve() for path in arguments.raw.rglob("*.jpg"))[: arguments.pictures]
    if len(files) < arguments.pictures:
        raise UserError(
            f"{arguments.raw}: found {len(files):,} JPEG files, fewer than --pictures {arguments.pictures:,}"
        )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "pictures").mkdir()
        for number, path in enumerate(files):
            (work / f"pictures/{number:06d}.jpg").symlink_to(path)
        contenders = [
            name for name in CONTENDERS if "bfloat16" not in name or find_device("auto").precision == "bfloat16"
        ]
        start_up: dict[tuple[str, str], list[float]] = defaultdict(list)
        rates: dict[tuple[str, str], list[float]] = defaultdict(list)
        memory: dict[tuple[str, str], list[float]] = defaultdict(list)
        for network in arguments.networks:
            start(work, "export", network)
            for number in range(arguments.rounds):
                for contender in contenders[:: 1 if number % 2 == 0 else -1]:
                    result = start(work, contender, network)
                    rates[network, contender].append(len(files) / result["seconds"])
                    memory[network, contender].append(result["gib"])
                    start_up[network, contender].append(result["wall"] - result["seconds"])
        peak = start(work, "arithmetic", NETWORKS[0])["gflops"]
        gflop = {network: start(work, "count", network)["gflop"] for network in arguments.networks}
    print_table(rates, memory, start_up, peak, gflop)


def start(work: Path, contender: str, network: str) -> dict[str, float]:
    """Run one contender in a process of its own, and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.extract", "--contender", contender, "--networks", network]
    command += ["--raw", str(work / "pictures"), "--work", str(work)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    if status:
        raise UserError(f"{contender}, {network}: failed: {' '.join(errors.split())[-500:]}")
    wall = time.perf_counter() - begin
    return {**json.loads(output.splitlines()[-1]), "wall": wall, "gib": usage.ru_maxrss * rss_unit() / 2**30}


def print_table(
    rates: dict[tuple[str, str], list[float]],
    memory: dict[tuple[str, str], list[float]],
    start_up: dict[tuple[str, str], list[float]],
    peak: float,
    gflop: dict[str, float],
) -> None:
    """Print a row for every network and contender."""
    print(f"Large matrices: {peak:,.0f} GFLOP/s\n")
    columns = ["network", "contender", "pictures/s", "to keras", "to onnx"]
    columns += ["share of the arithmetic", "peak memory, GiB", "start-up, s"]
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for network in gflop:
        for contender in [name for name in CONTENDERS if (network, name) in rates]:
            mine = np.array(rates[network, contender])
            ratios = [spread(mine / np.array(rates[network, other])) for other in ("keras", "onnx")]
            share = np.median(mine) * gflop[network] / peak
            print(
                f"| {network} | {contender} | {np.median(mine):.1f} | {ratios[0]} | {ratios[1]} | {share:.0%} | "
                f"{max(memory[network, contender]):.2f} | {np.median(start_up[network, contender]):.0f} |"
            )


def spread(values: np.ndarray) -> str:
    """Return the median, the least and the greatest."""
    return f"{np.median(values):.2f} ({values.min():.2f}–{values.max():.2f})"


def measure(contender: str, network: str, pictures: Path, work: Path) -> dict[str, float]:
    """Do what one contender does, and return its seconds."""
    if contender == "arithmetic":
        return {"gflops": matrix_gflops()}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if contender == "onnx":
        return {"seconds": onnx_pool(network, pictures, work)}
    if contender.startswith("ours"):
        return {"seconds": ours(network, pictures, work, contender.removeprefix("ours, "))}
    import keras

    application = getattr(keras.applications, network)
    size = 224 if network == "ResNet50" else 299
    model = application(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    if contender == "count":
        return {"gflop": forward_gflop(model)}
    if contender == "export":
        model.predict_on_batch(np.zeros((1, size, size, 3), np.float32))
        model.export(work / f"{network}.onnx", format="onnx", verbose=False)
        return {}
    preprocess = sys.modules[application.__module__].preprocess_input

    def features() -> Any:
        dataset = keras.utils.image_dataset_from_directory(
            pictures, labels=None, image_size=(size, size), batch_size=BATCH, shuffle=False, verbose=False
        )
        return model.predict(dataset.map(preprocess), verbose=0)

    model.predict(np.zeros((BATCH, size, size, 3), np.float32), verbose=0)
    begin = time.perf_counter()
    with h5py.File(work / "keras.h5", "w") as file:
        file["train"] = features()
    return {"seconds": time.perf_counter() - begin}


def onnx_pool(network: str, pictures: Path, work: Path) -> float:
    """Decode in a pool of threads, and give whole batches to ONNX Runtime, which uses all cores for each."""
    import keras
    import onnxruntime

    preprocess = sys.modules[getattr(keras.applications, network).__module__].preprocess_input
    session = onnxruntime.InferenceSession(work / f"{network}.onnx", providers=["CPUExecutionProvider"])
    (declared,) = session.get_inputs()
    size = declared.shape[1]
    files = sorted(pictures.iterdir())
    session.run(None, {declared.name: np.zeros((BATCH, size, size, 3), np.float32)})
    begin = time.perf_counter()
    rows = []
    with ThreadPoolExecutor() as pool, h5py.File(work / "onnx.h5", "w") as file:
        decoded = pool.map(lambda path: read_linked_picture(path, size), files)
        for first in range(0, len(files), BATCH):
            batch = np.stack([next(decoded) for _ in files[first : first + BATCH]]).astype(np.float32)
            rows.append(session.run(None, {declared.name: preprocess(batch)})[0])
        file["train"] = np.concatenate(rows)
    return time.perf_counter() - begin


def ours(network_name: str, pictures: Path, work: Path, precision: str) -> float:
    """Do what stage extract does, with a worker that is ready."""
    from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
    from gap_ensemble.extraction.reading import Picture
    from gap_ensemble.extraction.workers import CHUNKS_IN_WORK, Chunk, Job, Result, Threads, map_ahead

    job = ExtractJob(network_name, Backbone(weights="random"), pictures, find_device(precision))
    listed = [Picture(path.name, check_picture(path).md5) for path in sorted(pictures.iterdir())]
    worker: Any = job.worker()
    worker(listed[:1])

    class Ready(Threads):
        def map(self, job: Job[Chunk, Result], chunks: Iterable[Chunk]) -> Iterator[Result]:  # noqa: ARG002
            return map_ahead(worker, chunks, CHUNKS_IN_WORK)

    begin = time.perf_counter()
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        features = extract_features(job, listed, work / f"store-{time.time_ns()}", Ready())
    rows = {"train_file": text_array(picture.file for picture in listed), "test_file": text_array([])}
    write_features(work / "ours.h5", features, rows, {})
    return time.perf_counter() - begin


def forward_gflop(model: Any) -> float:
    """Return the floating-point operations of one forward pass in units of 10^9: two for each multiplication."""
    operations = 0
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
            continue
        _, height, width, _ = layer.output.shape
        # A kernel of a convolution or a depthwise convolution is used once for every place of the output.
        kernels = [weight for weight in layer.weights if "kernel" in weight.name]
        operations += 2 * height * width * sum(int(np.prod(kernel.shape)) for kernel in kernels)
    return operations / 1e9


def matrix_gflops(size: int = 4096, times: int = 5) -> float:
    """Return the best rate of a product of two square matrices in 10^9 floating-point operations a second."""
    import tensorflow as tf

    matrix = tf.random.normal((size, size))
    best = 0.0
    for _ in range(times + 1):
        begin = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = max(best, 2 * size**3 / (time.perf_counter() - begin) / 1e9)
    return best


if __name__ == "__main__":
    run(main)
