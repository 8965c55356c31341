"""What the way of resizing pictures costs in log loss.

    python -m benchmarks.resize --raw data/raw --weights xception.weights.h5

Extracts the features of a competition's training pictures once for each way, and trains both heads on the same folds.
The pipeline's own way is the first; Keras's old default was nearest-neighbour, and `tf.image.resize` does not
antialias.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from gap_ensemble.competition.find import find_competition
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.engines import Engine, open_engine
from gap_ensemble.extraction.workers import chunks_of, map_ahead
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.messages.errors import run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone, Data, Train
from gap_ensemble.scoring.metrics import find_metric
from gap_ensemble.validation.folds import assign_folds

SEED = 2017


def main() -> None:
    """Extract and score in every way, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resize")
    parser.add_argument("--raw", type=Path, required=True, help="a competition's folder, one class a picture")
    parser.add_argument("--weights", type=Path, required=True, help="a weights file of --backbone")
    parser.add_argument("--backbone", default="Xception", help="default: %(default)s")
    parser.add_argument("--pictures", type=int, help="so many training pictures; default: all")
    arguments = parser.parse_args()
    network = open_network(arguments.backbone, Backbone(weights=str(arguments.weights.resolve())))
    engine = open_engine(network, find_device("float32"))
    found = find_competition(arguments.raw, Data(raw=str(arguments.raw)))
    pictures = found.pictures[found.pictures["split"] == "train"].sample(frac=1, random_state=SEED)
    pictures = pictures.head(arguments.pictures or len(pictures))
    train = found.rows[found.rows["split"] == "train"].set_index("row").loc[pictures["id"]]
    y = pd.factorize(train["target"], sort=True)[0]
    ways: dict[str, Callable[[Path], np.ndarray]] = {
        "bilinear, antialiased (the pipeline's)": lambda path: read_linked_picture(path, engine.input_size),
        "bicubic, antialiased": lambda path: resized(path, engine.input_size, Image.Resampling.BICUBIC),
        "bilinear, not antialiased": lambda path: not_antialiased(path, engine.input_size),
        "nearest-neighbour": lambda path: resized(path, engine.input_size, Image.Resampling.NEAREST),
    }
    print("| resizing | dense head, log loss | logistic head, log loss |\n| --- | --- | --- |")
    for way, read in ways.items():
        features = extract(engine, [arguments.raw / file for file in pictures["file"]], read)
        losses = [
            log_loss_out_of_fold(options, features, y) for options in (Train(head="dense"), Train(head="logistic"))
        ]
        print(f"| {way} | {losses[0]:.4f} | {losses[1]:.4f} |", flush=True)


def extract(engine: Engine, paths: Sequence[Path], read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Return the features of all pictures, shape (n_pictures, n_features)."""

    def features(chunk: Sequence[Path]) -> np.ndarray:
        return engine(np.stack([read(path) for path in chunk]))

    rows = []
    with Progress(len(paths), "Extracting") as progress:
        for some in map_ahead(features, chunks_of(paths, engine.batch_size), n_threads=engine.n_threads):
            rows.append(some)
            progress.add(len(some))
    return np.concatenate(rows)


def log_loss_out_of_fold(options: Train, features: np.ndarray, y: np.ndarray) -> float:
    """Train a head a fold, and return the log loss of all out-of-fold predictions."""
    outputs = Outputs("classes", int(y.max()) + 1)
    data = EnsembleData(features, y, outputs, assign_folds(y, options.folds, SEED), np.arange(len(y)), SEED)
    fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
    proba = np.empty((len(y), outputs.n))
    for k in range(data.n_folds):
        for rows, predictions in fitted.out_of_fold(k):
            proba[rows] = predictions
    return find_metric("log_loss").score(y, proba)


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
