"""A small network from scratch, frozen features, a fine-tuned network, and several together, on held-out pictures.

    python -m benchmarks.finetune --raw data/raw --weights xception.weights.h5

For every seed another part of the pictures is held out. The stages run through DVC up to `ensemble`, in a repository of
their own (`--work`); then the default head is trained on each choice of sources, and scored, in five folds, on the
pictures that no network was fine-tuned on.
"""

import argparse
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.heads import cases
from gap_ensemble.heads.combine import mean_row_loss
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.messages.errors import run
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.params import Train
from tools.workspace import dvc, lay_out

SOURCES = {
    "small network from scratch": ["Scratch"],
    "Xception, frozen": ["Frozen"],
    "Xception, last block fine-tuned": ["Tuned"],
    "frozen and fine-tuned": ["Frozen", "Tuned"],
    "all three": ["Frozen", "Tuned", "Scratch"],
}


def main() -> None:
    """Run the stages for every seed, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune")
    parser.add_argument("--raw", type=Path, required=True, help="a competition's folder")
    parser.add_argument("--weights", type=Path, required=True, help="Xception's weights file")
    parser.add_argument("--input-size", type=int, default=150, help="pixels; default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-finetune"), help="default: %(default)s")
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in SOURCES}
    n_scored = 0
    for seed in arguments.seeds:
        lay_out(arguments.work, changes(arguments, seed))
        dvc("repro", "--quiet", "ensemble", cwd=arguments.work)
        make_deterministic(seed)
        for name, sources in SOURCES.items():
            scores, n_scored = score(arguments.work, sources)
            results[name].append(scores)
    print(f"Scores of {n_scored} held-out pictures; mean and standard deviation over {len(arguments.seeds)} seeds\n")
    print("| source of features | log loss | accuracy |\n| --- | --- | --- |")
    for name, of_seeds in results.items():
        table = pd.DataFrame(of_seeds)
        shown = [f"{table[key].mean():.4f} ± {table[key].std(ddof=0):.4f}" for key in ("log_loss", "accuracy")]
        print(f"| {name} | {' | '.join(shown)} |")


def changes(arguments: argparse.Namespace, seed: int) -> Callable[[dict[str, Any]], None]:
    """Return what sets two finetune entries and three backbones in params.yaml."""
    xception = {"backbone": "Xception", "input_size": arguments.input_size}
    small = {"backbone": "SmallConvNet", "input_size": 64}
    weights = str(arguments.weights.resolve())
    scratch = {"weights": "random", "last_blocks": "all", "optimizer": "adam", "learning_rate": 0.001, "epochs": 40}

    def change(params: dict[str, Any]) -> None:
        params["seed"], params["data"]["raw"] = seed, str(arguments.raw.resolve())
        params["finetune"] = {
            "Tuned": {**xception, "weights": weights},
            "Scratch": {**small, **scratch, "patience": 10},
        }
        params["backbones"] = {
            "Frozen": {**xception, "weights": weights},
            "Tuned": {**xception, "weights": "tuned/Tuned.weights.h5"},
            "Scratch": {**small, "weights": "tuned/Scratch.weights.h5"},
        }

    return change


def score(folder: Path, sources: list[str]) -> tuple[dict[str, float], int]:
    """Train the default head on some of the features, and return its scores out of fold and of how many pictures."""
    with chdir(folder):
        (case,) = cases()
    whole = case.data
    features = np.concatenate([whole.features[:, case.columns[name]] for name in sources], axis=1)
    data = EnsembleData(features, whole.y, whole.outputs, whole.fold, whole.group, whole.seed)
    fitted = fit_ensemble(Train(folds=data.n_folds), {"all": slice(0, features.shape[1])}, data)
    of_folds = [rows for k in range(data.n_folds) for rows in fitted.out_of_fold(k)]
    y, proba = data.y[np.concatenate([numbers for numbers, _ in of_folds])], np.concatenate([p for _, p in of_folds])
    log_loss = mean_row_loss(data.outputs)(y, proba)
    return {"log_loss": log_loss, "accuracy": float(np.mean(proba.argmax(axis=1) == y))}, len(y)


if __name__ == "__main__":
    run(main)
