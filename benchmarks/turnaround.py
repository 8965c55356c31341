"""How long a new idea for the head takes to become a submission, beside a plain script.

    python -m benchmarks.turnaround

Makes features of two classes, runs the pipeline on them once, and then, in every round: `dvc repro` after a change of
`train.dropout`, and a script that loads the same arrays and does with Keras what the pipeline does (standardise, train
a head a fold, validate it, predict the test rows, write a CSV). Prints the seconds of each round and their ratio.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from benchmarks.growth import MADE, changes, make, measure
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.paths import ENSEMBLE, ROWS
from gap_ensemble.storage.hdf5 import texts
from tools.workspace import ROOT, change_params, dvc, git


def main() -> None:
    """Measure one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turnaround")
    parser.add_argument("--rows", type=int, default=25_000, help="default: %(default)s")
    parser.add_argument("--features", type=int, default=6_144, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-turnaround"), help="default: %(default)s")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain_script(arguments.plain)
        return
    repository = arguments.work
    lay_out_features(repository, arguments.rows, arguments.features)
    print("| round | `dvc repro`, seconds | plain script, seconds | ratio |\n| --- | --- | --- | --- |", flush=True)
    for number in range(1, arguments.rounds + 1):
        set_dropout(repository, 0.5 + number / 1000)
        start = time.perf_counter()
        dvc("repro", "--quiet", "predict", cwd=repository)
        middle = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.turnaround", "--plain", str(repository)]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise UserError("the plain script failed; see above")
        ours, plain = middle - start, time.perf_counter() - middle
        print(f"| {number} | {ours:.1f} | {plain:.1f} | {ours / plain:.2f} |", flush=True)
    shutil.rmtree(repository)


def lay_out_features(repository: Path, n_rows: int, n_features: int) -> None:
    """Make a repository in which all stages up to the first submission have run."""
    make(repository, n_rows, 2, n_features, changes(MADE, duplicates=False))
    (repository / "data/raw").mkdir(parents=True)
    for stage in ("check", "networks"):
        measure(repository, stage)
    # What stands for the outputs of link and extract is taken as it is.
    dvc("commit", "--quiet", "--force", "check", "link", "networks", "extract@Made", cwd=repository)
    dvc("repro", "--quiet", "predict", cwd=repository)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message", "The first submission", cwd=repository)


def set_dropout(repository: Path, dropout: float) -> None:
    """Change one parameter of the head."""
    change_params(repository / "params.yaml", lambda params: params["train"].update(dropout=dropout))


def plain_script(repository: Path) -> None:
    """Do what the pipeline does from the features on, the way a notebook would."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from sklearn.model_selection import StratifiedKFold

    options = YAML().load((repository / "params.yaml").read_text(encoding="utf-8"))["train"]
    with h5py.File(repository / ENSEMBLE) as file:
        x_train, x_test, names = file["train"][:], file["test"][:], texts(file["train_row"])
    target = pd.read_csv(repository / ROWS, dtype=str).query("split == 'train'").set_index("row")["target"]
    y_train = pd.factorize(target.loc[names], sort=True)[0]
    test_proba = 0
    for train, val in StratifiedKFold(options["folds"], shuffle=True, random_state=0).split(x_train, y_train):
        mean, std = x_train[train].mean(axis=0), x_train[train].std(axis=0)
        model = keras.Sequential(
            [
                keras.Input(x_train.shape[1:]),
                keras.layers.Dropout(options["dropout"]),
                keras.layers.Dense(1, "sigmoid", kernel_regularizer=keras.regularizers.L2(options["l2"] or 0.0)),
            ]
        )
        model.compile(options["optimizer"] or "adam", "binary_crossentropy", metrics=["accuracy"])
        model.fit(
            (x_train[train] - mean) / std,
            y_train[train],
            batch_size=options["batch_size"] or 128,
            epochs=options["epochs"] or 5,
            validation_data=((x_train[val] - mean) / std, y_train[val]),
            verbose=0,
        )
        test_proba = test_proba + model.predict((x_test - mean) / std, batch_size=1024, verbose=0)
    proba = np.clip(test_proba / options["folds"], 0.005, 0.995).ravel()
    pd.DataFrame({"id": range(len(proba)), "label": proba}).to_csv(repository / "plain.csv", index=False)


if __name__ == "__main__":
    run(main)
