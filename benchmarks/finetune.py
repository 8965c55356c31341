"""A small network from scratch, frozen features, a fine-tuned network, and several together, on pictures none has seen.

    python -m benchmarks.finetune --raw data/raw --weights xception.weights.h5

For every seed another part of the pictures is held out. The stages run through DVC up to `ensemble`, in a repository of
their own (`--work`); then the default head is trained on each choice of sources, and judged, in five folds, on the
pictures that no network has seen.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gap_ensemble.scoring.scores import Scores

from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.messages.errors import run
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.params import Train
from gap_ensemble.paths import ENSEMBLE, GROUPS
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from stages.train import folds_of_unseen, group_numbers
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
    n_judged = 0
    for seed in arguments.seeds:
        lay_out(arguments.work, changes(arguments, seed))
        dvc("repro", "--quiet", "ensemble", cwd=arguments.work)
        make_deterministic(seed)
        for name, sources in SOURCES.items():
            scores, n_judged = judge(arguments.work, sources, seed)
            results[name].append(scores)
    print(f"{n_judged} pictures judge; mean and standard deviation over {len(arguments.seeds)} seeds\n")
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


def judge(folder: Path, sources: list[str], seed: int) -> tuple[dict[str, float], int]:
    """Train the default head on some of the features, and return its scores and how many pictures judged."""
    with open_features(folder / ENSEMBLE) as file:
        label, files, seen = file["label"][:], texts(file["train_file"]), file["seen"][:]
        columns = json.loads(file.attrs["columns"])
        features = np.concatenate([file["train"][:, slice(*columns[name])] for name in sources], axis=1)
        n_classes = len(file["class_names"])
    group = group_numbers(files, pd.read_csv(folder / GROUPS))
    options = Train()
    fold = folds_of_unseen(label, group, seen, options.folds, seed)
    data = EnsembleData(features, label, Outputs("classes", n_classes), fold, group, seed)
    fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
    scores = Scores(n_classes)
    for k in range(data.n_folds):
        for rows, proba in fitted.out_of_fold(k):
            scores.add(label[rows], proba)
    return scores.result(), int((fold >= 0).sum())


if __name__ == "__main__":
    run(main)
