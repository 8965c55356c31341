"""How time and memory of the stages grow with pictures, rows and classes.

    python -m benchmarks.growth --rows 100000 200000 --classes 15000
    python -m benchmarks.growth --pictures 1000 10000

With `--rows` it makes a feature file of random class centres and noise, and runs ensemble, train and predict on it.
With `--pictures` it makes pictures of noise (64 pixels a side) and runs `dvc repro` on them (MobileNet at 32 pixels),
and once more with nothing to do. The stages run in a folder of their own. The table has the seconds and the peak memory
of each stage's process, and the seconds that `dvc repro` itself took.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from gap_ensemble.competition.found import Competition, Found, Submission, TaskDescription, write_competition
from gap_ensemble.images.grey import write_grey_scale
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.paths import FEATURES, MANIFEST
from gap_ensemble.storage.features import create_features
from gap_ensemble.storage.hdf5 import block_slices, text_array
from gap_ensemble.storage.tables import write_table
from tools.workspace import lay_out

STAGES = ("ensemble", "train", "predict")
MADE: dict[str, dict[str, Any]] = {"Made": {"weights": "random", "backbone": "Xception"}}


def main() -> None:
    """Measure every size, in processes of their own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--rows", type=int, nargs="+", default=[])
    parser.add_argument("--pictures", type=int, nargs="+", default=[])
    parser.add_argument("--classes", type=int, nargs="+", default=[15_000])
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--duplicates", action="store_true", help="also search for near-duplicates")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-growth"))
    arguments = parser.parse_args()
    if arguments.pictures:
        print("| pictures | what | seconds | peak memory, GiB | on the disk, MB |\n| --- | --- | --- | --- | --- |")
    for n_pictures in arguments.pictures:
        folder = arguments.work / f"{n_pictures}"
        make_pictures(folder, n_pictures, arguments.duplicates)
        for what, seconds, gib in measure_repro(folder):
            size = megabytes(folder, what)
            print(f"| {n_pictures:,} | {what} | {seconds:.1f} | {gib} | {size} |", flush=True)
        shutil.rmtree(folder)
    if arguments.rows:
        print(
            "| rows | classes | features | stage | seconds | peak memory, GiB |\n| --- | --- | --- | --- | --- | --- |"
        )
    for n_classes in arguments.classes:
        for n_rows in arguments.rows:
            folder = arguments.work / f"{n_rows}-{n_classes}"
            make(folder, n_rows, n_classes, arguments.features, changes(MADE, arguments.duplicates, folds=1, epochs=1))
            for stage in STAGES:
                seconds, peak = measure(folder, stage)
                print(
                    f"| {n_rows:,} | {n_classes:,} | {arguments.features:,} | {stage} | {seconds:.0f} | {peak:.2f} |",
                    flush=True,
                )
            shutil.rmtree(folder)


def changes(backbones: dict[str, dict[str, Any]], duplicates: bool, **train: int) -> Callable[[dict[str, Any]], None]:
    """Return what sets the backbones, the search for near-duplicates and values of the head in params.yaml."""

    def change(params: dict[str, Any]) -> None:
        params["backbones"] = backbones
        params["ensemble"] |= {} if duplicates else {"duplicates": None}
        params["train"] |= train

    return change


def make(folder: Path, n_rows: int, n_classes: int, n_features: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Write what the stages link and extract would have written: one test row for ten training rows."""
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder, change)
    rng = np.random.default_rng(0)
    n_test = n_rows // 10
    class_names = [f"class {i:05d}" for i in range(n_classes)]
    label = rng.permutation(np.arange(n_rows, dtype=np.int32) % n_classes)
    files = {"train": [f"train/{i}.jpg" for i in range(n_rows)], "test": [f"test/{i}.jpg" for i in range(n_test)]}
    rows = {f"{split}_file": text_array(names) for split, names in files.items()}
    centres = rng.standard_normal((n_classes, n_features), np.float32)
    labels = {"train": label, "test": rng.integers(n_classes, size=n_test)}
    (folder / FEATURES).mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / FEATURES / "Made.h5", "w") as file:
        create_features(file, n_features, rows, {})
        for name, dataset_labels in labels.items():
            for block in block_slices(len(dataset_labels), n_features * 4):
                noise = rng.standard_normal((block.stop - block.start, n_features), np.float32)
                file[name][block] = centres[dataset_labels[block]] + 2 * noise

    manifest = pd.DataFrame({"file": files["train"] + files["test"]})
    manifest["split"] = ["train"] * n_rows + ["test"] * n_test
    manifest["id"] = files["train"] + [str(i) for i in range(n_test)]
    manifest["slot"] = ""
    found_rows = manifest[["id", "split"]].rename(columns={"id": "row"}).assign(pictures=1, group="")
    found_rows["target"] = [class_names[i] for i in label] + [""] * n_test
    sample = pd.DataFrame({"id": [str(i) for i in range(n_test)], "label": class_names[0]})
    before = Path.cwd()
    os.chdir(folder)  # The pipeline's paths are relative to the repository's root.
    try:
        task = TaskDescription("classes", class_names, "made", "accuracy")
        competition = Competition(task, Submission("class", ["id", "label"]))
        write_competition(Found(competition, manifest, found_rows, sample))
        write_table(MANIFEST, manifest.assign(md5="", problem=""))
        write_grey_scale(None)
    finally:
        os.chdir(before)


def make_pictures(folder: Path, n_pictures: int, duplicates: bool) -> None:
    """Write a competition of noise in a repository: two classes, one test picture for ten training pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder, changes({"MobileNet": {"weights": "random", "input_size": 32}}, duplicates))
    rng = np.random.default_rng(0)
    n_test = n_pictures // 11
    for split in ("train", "test"):
        (folder / "data/raw" / split).mkdir(parents=True, exist_ok=True)
    for i in range(n_pictures):
        name = f"test/{i}.jpg" if i < n_test else f"train/{('cat', 'dog')[i % 2]}.{i}.jpg"
        pixels = rng.integers(256, size=(64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "data/raw" / name)
    sample = pd.DataFrame({"id": range(n_test), "label": 0.5})
    sample.to_csv(folder / "data/raw/sample_submission.csv", index=False)


# Runs a stage in place of stages/python.sh, and writes down what it took.
MEASURED = """
import json, os, subprocess, sys, time

begin = time.perf_counter()
process = subprocess.Popen([sys.executable, *sys.argv[1:]])
_, status, usage = os.wait4(process.pid, 0)
with open({log!r}, "a") as file:
    stage = sys.argv[2].removeprefix("stages.")
    print(json.dumps([stage, time.perf_counter() - begin, usage.ru_maxrss]), file=file)
sys.exit(1 if status else 0)
"""


def measure_repro(folder: Path) -> list[tuple[str, float, str]]:
    """Run `dvc repro` twice, and return what took how many seconds, and GiB at its peak if it is a stage."""
    program, log = (folder / "measured.py").resolve(), (folder / "measured.jsonl").resolve()
    program.write_text(MEASURED.format(log=str(log)))
    (folder / "stages/python.sh").write_text(f"exec '{sys.executable}' '{program}' \"$@\"\n")
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        command = [str(Path(sys.executable).with_name("dvc")), "repro", "--quiet"]
        if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
            raise UserError(f"dvc repro: failed in {folder}; see above")
        seconds.append(time.perf_counter() - begin)
    stages = [json.loads(line) for line in log.read_text().splitlines()]
    rows = [(stage, took, f"{rss * rss_unit() / 2**30:.2f}") for stage, took, rss in stages]
    rows.append(("DVC itself, first run", seconds[0] - sum(took for _, took, _ in stages), ""))
    return [*rows, ("`dvc repro`, nothing to do", seconds[1], "")]


OUTPUTS = {
    "link": ("data/train", "data/test", "data/manifest.csv", "data/rows.csv"),
    "extract": ("features/gap", "features/store"),
    "ensemble": ("features/ensemble.h5", "features/groups.csv"),
    "train": ("models", "results/oof.h5", "results/training"),
    "predict": ("submissions", "results/test.h5"),
    "report": ("results/report.html",),
    "DVC itself, first run": (".dvc",),
}


def megabytes(folder: Path, what: str) -> str:
    """Return what the outputs of a stage take on the disk, hard links counted here and in DVC's cache."""
    if what not in OUTPUTS:
        return ""
    used = subprocess.run(
        ["du", "--summarize", "--total", "--block-size=1000", *OUTPUTS[what]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return f"{int(used.stdout.split()[-2]) / 1000:.1f}"


def measure(folder: Path, stage: str, *arguments: str) -> tuple[float, float]:
    """Run a stage and return its seconds and the peak memory of its process in GiB."""
    start = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{stage}", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(f"stages.{stage}: failed in {folder}; see above")
    return time.perf_counter() - start, usage.ru_maxrss * rss_unit() / 2**30


def rss_unit() -> int:
    """Return the bytes in one unit of ru_maxrss: Linux counts kilobytes, macOS bytes."""
    return 1 if sys.platform == "darwin" else 1024


if __name__ == "__main__":
    run(main)
