"""What `dvc plots` gets: every task and head has all files that dvc.yaml lists."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from dvclive import Live
from ruamel.yaml import YAML

from gap_ensemble.competition.found import Competition, Kind, TaskDescription
from gap_ensemble.heads.head import Curves
from gap_ensemble.paths import TRAINING
from gap_ensemble.reporting.live import log_training
from gap_ensemble.reporting.plots import Training
from gap_ensemble.storage.predictions import open_predictions, prediction_writer
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import task_of
from tools.workspace import ROOT

N = 40
CURVES: dict[str, list[Curves]] = {
    "epochs": [{"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.5]}],
    "one loss": [{"loss": [0.4]}],
    "none": [],
}


def listed_plots() -> list[str]:
    """Return the files in results/training that dvc.yaml lists as plots."""
    plots = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["plots"]
    files = []
    for plot in plots:
        names = [plot] if isinstance(plot, str) else list(plot)
        for name in names:
            y = plot[name].get("y") if isinstance(plot, dict) else None
            files += list(y) if isinstance(y, dict) else [name]
    return [name for name in files if name.startswith("results/training")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "curves"),
    [("classes", name) for name in CURVES] + [(kind, "epochs") for kind in ("labels", "grades", "numbers")],
)
def test_every_listed_plot_is_written(kind: Kind, curves: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    y: np.ndarray = np.arange(N) % 3
    values = np.full((N, 3), 1 / 3, np.float32)
    if kind in ("labels", "numbers"):
        y = np.eye(3)[y]
    with prediction_writer(Path("oof.h5"), [str(i) for i in range(N)], 1 + np.arange(N) % 2, 3) as writer:
        writer.add(values)
    task = task_of(Competition(TaskDescription(kind, ["0", "1", "2"], "", "accuracy"), None))
    live = Live(str(TRAINING), dvcyaml=None, save_dvc_exp=False, report=None)
    with open_predictions(Path("oof.h5")) as predictions:
        log_training(live, task, Training("classes", CURVES[curves]), Evaluation(task, predictions, y))
    assert [name for name in listed_plots() if not Path(name).is_file()] == []
    residuals = list(csv.reader((TRAINING / "plots/residuals.csv").open()))
    assert len(residuals) == 1 + (3 * N if kind == "numbers" else 0)
    confusion = json.loads((TRAINING / "plots/sklearn/confusion_matrix.json").read_text())
    assert len(confusion) == (N if kind in ("classes", "grades") else 0)
