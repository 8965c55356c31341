"""A small network from scratch, frozen features, a fine-tuned network, and several together, on held-out pictures.

    python -m benchmarks.finetune --raw data/raw --weights xception.weights.h5

For every seed another part of the pictures is held out. The stages run through DVC up to `ensemble`, in a repository of
their own (`--work`). Then the dense head is trained on each choice of sources, and scored, in five folds, on the
pictures that no network was fine-tuned on.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.heads.ensemble import EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.messages.errors import run
from gap_ensemble.networks.keras_setup import make_deterministic
from gap_ensemble.params import Train
from gap_ensemble.paths import COMPETITION, ENSEMBLE, GROUPS, ROWS
from gap_ensemble.scoring.metrics import find_metric
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.tasks.task import task_of
from gap_ensemble.validation.folds import validation_folds
from gap_ensemble.validation.groups import connected_groups
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
            scores, n_scored = score(arguments.work, sources, seed)
            results[name].append(scores)
    print(f"scores of {n_scored} pictures; mean and standard deviation over {len(arguments.seeds)} seeds\n")
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


def score(folder: Path, sources: list[str], seed: int) -> tuple[dict[str, float], int]:
    """Train the dense head on some of the features, and return its scores and the number of pictures scored."""
    with open_features(folder / ENSEMBLE, named="row") as file:
        names, fine_tuned_on = texts(file["train_row"]), file["fine_tuned_on"][:]
        columns = json.loads(file.attrs["columns"])
        features = np.concatenate([file["train"][:, slice(*columns[name])] for name in sources], axis=1)
    task = task_of(read_competition(folder / COMPETITION))
    rows = read_rows(folder / ROWS)
    y = task.encode(rows[rows["split"] == "train"].set_index("row", drop=False).loc[names])
    duplicates = pd.read_csv(folder / GROUPS, dtype=str).query("split == 'train'").set_index("row")["group"]
    group = connected_groups([[duplicates.get(name, "") for name in names]])
    options = Train(head="dense")
    fold = validation_folds(task.strata(y), group, fine_tuned_on, options.folds, seed)
    data = EnsembleData(features, y, Outputs("classes", len(task.names)), fold, group, seed)
    fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
    proba = np.zeros((len(y), len(task.names)))
    for k in range(data.n_folds):
        for numbers, predictions in fitted.out_of_fold(k):
            proba[numbers] = predictions
    scored = fold >= 0
    losses = find_metric("log_loss").score(y[scored], proba[scored])
    accuracy = float(np.mean(proba[scored].argmax(axis=1) == y[scored]))
    return {"log_loss": losses, "accuracy": accuracy}, int(scored.sum())


if __name__ == "__main__":
    run(main)
