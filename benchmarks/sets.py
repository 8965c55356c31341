"""The competitions of the tables: a repository for each, its submissions and its scores out of fold.

    python -m benchmarks.sets COMPETITIONS --network Xception=FILE --network MobileNetV2=FILE
    python -m benchmarks.sets COMPETITIONS --network … --only leaf knee-oa --train default dense logistic

COMPETITIONS is a folder with the competitions' files, each in a folder of its own; those that are not there are left
out. Lays out a repository for each in `--work`, with the lines of params.yaml that it needs, runs `dvc repro predict`
once for every row of `benchmarks.heads` that `--train` names, and keeps the submissions below `submissions/` there, for
whoever knows the answers. The networks run once for all of them. `benchmarks.heads` and `benchmarks.views` read these
repositories.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.heads import OURS
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import Train
from gap_ensemble.paths import METRICS, SUBMISSION
from gap_ensemble.storage import store
from tools.workspace import change_params, dvc, lay_out

# The folder in COMPETITIONS, and what params.yaml says below `data`.
SETS: dict[str, tuple[str, dict[str, str]]] = {
    "dogs-vs-cats": ("dogs-vs-cats", {}),
    "corel-5": ("corel-5", {}),
    "leaf": ("leaf", {}),
    "leaf-columns": ("leaf", {"columns": "all"}),
    "aerial-cactus": ("aerial-cactus", {"metric": "roc_auc"}),
    "plant-pathology-2021": ("plant-pathology-2021", {}),
    "knee-oa": ("knee-oa", {"groups": "(.*)[LR]$"}),
    "knee-oa-no-groups": ("knee-oa", {}),
    "faces-whale": ("faces-whale", {}),
    "chest-xray": ("chest-xray", {"groups": r"(person\d+)_"}),
    "chest-xray-no-groups": ("chest-xray", {}),
}


def main() -> None:
    """Print a line for each submission."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sets")
    parser.add_argument("competitions", type=Path)
    parser.add_argument("--network", action="append", required=True, metavar="NAME=FILE", help="of backbones")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), help="default: all")
    parser.add_argument("--train", nargs="+", choices=OURS, default=["default"], help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="extract.precision; default: %(default)s")
    parser.add_argument("--seed", type=int, default=2017, help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=Path("demo/benchmark-sets"), help="default: %(default)s")
    arguments = parser.parse_args()
    backbones = {name: {"weights": str(Path(file).resolve())} for name, file in map(_pair, arguments.network)}
    os.environ.setdefault(store.VARIABLE, str((arguments.work / "store").resolve()))
    print("| competition | train | metric | ± | rows |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.only:
        folder, data = SETS[name]
        raw, repository = (arguments.competitions / folder).resolve(), arguments.work / name
        if not raw.exists():
            continue

        def change(params: Any, raw: Path = raw, data: dict[str, str] = data) -> None:
            params["seed"] = arguments.seed
            params["data"] |= {"raw": str(raw), **data}
            params["backbones"] = backbones
            params["extract"]["precision"] = arguments.precision

        lay_out(repository, change)
        for row in arguments.train:
            print(submit(repository, row, arguments.work / "submissions" / f"{name}.{row}.csv"), flush=True)


def submit(repository: Path, row: str, kept: Path) -> str:
    """Run the pipeline with the heads of a row, keep the submission, and return a line with its score."""
    options = {name: Train.model_fields[name].get_default() for of_row in OURS.values() for name in of_row} | OURS[row]
    change_params(repository / "params.yaml", lambda params: params["train"].update(options))
    dvc("repro", "--quiet", "predict", cwd=repository)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(repository / SUBMISSION, kept)
    metrics = json.loads((repository / METRICS).read_text(encoding="utf-8"))
    name = next(iter(metrics))
    spread = metrics.get(f"{name}_std", float("nan"))
    return (
        f"| {repository.name} | {row} | {name.removeprefix('submission_')} {metrics[name]:.4f} | {spread:.4f} | "
        f"{metrics['val_n_samples']:,} |"
    )


def _pair(network: str) -> tuple[str, str]:
    name, equals, file = network.partition("=")
    if not equals or not Path(file).exists():
        raise UserError(f"--network: found {network!r}; accepted: NAME=FILE, a weights file that is there")
    return name, file


if __name__ == "__main__":
    run(main)
