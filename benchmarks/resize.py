"""What the way of resizing pictures costs in log loss.

    python -m benchmarks.resize --raw data/raw --weights xception.weights.h5

Extracts the features of a competition's training pictures once for each way, and trains both heads on the same folds.
The pipeline's own way is the first; Keras's old default was nearest-neighbour, and `tf.image.resize` does not
antialias.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from gap_ensemble.scoring.scores import Scores
from PIL import Image

from gap_ensemble.competition.find import find_competition
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.engines import Engine, open_engine
from gap_ensemble.extraction.workers import map_ahead
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.messages.errors import run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone, Data, Train
from gap_ensemble.validation.folds import assign_folds

SEED = 2017


def main() -> None:
    """Extract and judge in every way, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resize")
    parser.add_argument("--raw", type=Path, required=True, help="a competition's folder")
    parser.add_argument("--weights", type=Path, required=True, help="a weights file of --backbone")
    parser.add_argument("--backbone", default="Xception", help="default: %(default)s")
    arguments = parser.parse_args()
    make_deterministic(SEED)
    network = open_network(arguments.backbone, Backbone(weights=str(arguments.weights.resolve())))
    engine = open_engine(network, find_device("float32"))
    found = find_competition(arguments.raw, Data(raw=str(arguments.raw)))
    pictures = found.pictures[found.pictures["split"] == "train"]
    class_names = found.task.names
    class_of = found.rows.set_index(["split", "row"])["target"]["train"]
    label = pictures["id"].map(class_of).map({name: i for i, name in enumerate(class_names)}).to_numpy(np.int64)
    fold = assign_folds(label, 5, SEED)
    ways: dict[str, Callable[[Path], np.ndarray]] = {
        "bilinear, antialiased (the pipeline's)": lambda path: read_linked_picture(path, network.input_size),
        "bicubic, antialiased": lambda path: resized(path, network.input_size, Image.Resampling.BICUBIC),
        "bilinear, not antialiased": lambda path: not_antialiased(path, network.input_size),
        "nearest-neighbour": lambda path: resized(path, network.input_size, Image.Resampling.NEAREST),
    }
    print("| resizing | dense head, log loss | logistic head, log loss |\n| --- | --- | --- |")
    for way, read in ways.items():
        features = extract(engine, [arguments.raw / file for file in pictures["file"]], read)
        losses = []
        for options in (Train(), Train(head="logistic")):
            outputs = Outputs("classes", len(class_names))
            data = EnsembleData(features, label, outputs, fold, np.arange(len(label)), SEED)
            fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
            scores = Scores(len(class_names))
            for k in range(data.n_folds):
                for rows, proba in fitted.out_of_fold(k):
                    scores.add(label[rows], proba)
            losses.append(scores.result()["log_loss"])
        print(f"| {way} | {losses[0]:.4f} | {losses[1]:.4f} |", flush=True)


def extract(engine: Engine, paths: list[Path], read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Return the features of all pictures, shape (n_pictures, n_features)."""

    def features(path: Path) -> np.ndarray:
        return engine(read(path)[None])

    rows = []
    with Progress(len(paths), "Extracting") as progress:
        for row in map_ahead(features, paths, engine.n_threads):
            rows.append(row)
            progress.add(1)
    return np.concatenate(rows)


def resized(path: Path, size: int, filter_: Image.Resampling) -> np.ndarray:
    """Return a picture resized by one of Pillow's filters, without decoding at a smaller scale first."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), filter_))


def not_antialiased(path: Path, size: int) -> np.ndarray:
    """Return a picture resized as `tf.image.resize` and `image_dataset_from_directory` do it."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)
    return np.asarray(tf.image.resize(pixels, (size, size))).round().astype(np.uint8)


if __name__ == "__main__":
    run(main)
