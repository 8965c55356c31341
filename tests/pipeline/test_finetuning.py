"""Fine-tuning as programs: a killed run goes on to the same bytes, half precision, and a chain through DVC."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from gap_ensemble.finetuning.entries import tuned_weights
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.keras_network import read_fine_tuned_on
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import PARAMS_FILE, Backbone
from gap_ensemble.paths import CURVES, FEATURES, WEIGHTS
from tools.sample import draw_competition
from tools.workspace import change_params, dvc, lay_out

SMALL: dict[str, Any] = {"backbone": "SmallConvNet", "input_size": 32}
FROM_SCRATCH: dict[str, Any] = {
    **SMALL,
    "weights": "random",
    "last_blocks": "all",
    "optimizer": "adam",
    "learning_rate": 0.001,
}


def set_params(backbones: dict[str, Any], entries: dict[str, Any]) -> None:
    """Change params.yaml of the project."""
    change_params(PARAMS_FILE, lambda params: params.update(backbones=backbones, finetune=entries))


def small(**values: Any) -> Application:
    opened = open_network("Small", Backbone(**{**SMALL, **values}))
    assert isinstance(opened, Application)
    return opened


KILL_AFTER = """
import os, signal, sys
from stages import finetune
from gap_ensemble.messages.errors import run
from gap_ensemble.finetuning.checkpoints import Checkpoints

signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell in the background ignores it.
add = Checkpoints.add
def add_and_die(self, *arguments):
    add(self, *arguments)
    if self.n_epochs == {epoch}:
        os.kill(os.getpid(), signal.{how})
Checkpoints.add = add_and_die
sys.argv = ["stages.finetune", "Tuned"]
run(finetune.main)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    how: str, project: Path, run_module: Callable[..., Any], run_stage: Callable[..., str]
) -> None:
    draw_competition(project / "data/raw", 60, 4)
    before = "f" * 32  # The picture that it was fine-tuned with before.
    small(weights="random").save_weights(WEIGHTS / "small.weights.h5", {before})
    entry = {**SMALL, "weights": "small.weights.h5", "epochs": 4, "learning_rate": 0.01}
    set_params({"Small": {**SMALL, "weights": "random"}}, {"Tuned": entry})
    run_stage("link")
    code = KILL_AFTER.format(epoch=2, how=how)
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == (130 if how == "SIGINT" else -signal.SIGKILL), killed.stderr
    assert "Traceback" not in killed.stderr
    if how == "SIGINT":
        assert "Tuned keeps 2 whole epochs; `dvc repro` goes on from there" in killed.stderr
    assert not tuned_weights("Tuned").exists()

    results = [tuned_weights("Tuned"), CURVES / "Tuned.csv", CURVES / "Tuned.png"]
    resumed = run_module("stages.finetune", "Tuned")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch 2 of an interrupted run" in resumed.stdout
    assert before in read_fine_tuned_on(tuned_weights("Tuned"))
    bytes_of_both = [path.read_bytes() for path in results]
    for path in results:
        path.unlink()
    through = run_module("stages.finetune", "Tuned")
    assert through.returncode == 0, through.stderr
    assert "going on" not in through.stdout
    assert [path.read_bytes() for path in results] == bytes_of_both


def test_half_precision_trains_and_writes_whole_weights(
    project: Path, run_module: Callable[..., Any], run_stage: Callable[..., str]
) -> None:
    draw_competition(project / "data/raw", 40, 4)
    set_params(
        {"Small": {**SMALL, "weights": "random"}}, {"Half": {**FROM_SCRATCH, "epochs": 2, "mixed_precision": True}}
    )
    run_stage("link")
    done = run_module("stages.finetune", "Half")
    assert done.returncode == 0, done.stderr
    assert "float16" in done.stdout
    network = small(weights="tuned/Half.weights.h5")
    assert {weights.dtype for weights in network.base.get_weights()} == {np.dtype(np.float32)}
    assert np.isfinite(pd.read_csv(CURVES / "Half.csv")["val_loss"]).all()


def test_a_chain_of_fine_tunings_runs_in_order_and_remembers(tmp_path: Path) -> None:
    draw_competition(tmp_path / "raw", 60, 6)

    def change(params: dict[str, Any]) -> None:
        params["data"]["raw"] = str(tmp_path / "raw")
        first = {"backbone": "SmallConvNet", "weights": "tuned/Scratch.weights.h5"}
        params["finetune"] = {"Scratch": {**FROM_SCRATCH, "epochs": 2}, "Again": {**first, "epochs": 1}}
        params["backbones"] = {"Scratch": first, "Again": {**first, "weights": "tuned/Again.weights.h5"}}
        params["ensemble"]["duplicates"] = None
        params["train"]["epochs"] = 5

    lay_out(tmp_path / "project", change)
    dvc("repro", "extract", cwd=tmp_path / "project")
    tuned_on = []
    for name in ("Scratch", "Again"):
        # The input size comes with the weights file.
        assert (
            open_network(
                name, Backbone(backbone="SmallConvNet", weights=str(tmp_path / f"project/{tuned_weights(name)}"))
            ).input_size
            == 32
        )
        with h5py.File(tmp_path / "project" / FEATURES / f"{name}.h5") as file:
            tuned_on.append(file["fine_tuned_on"][:])
    assert tuned_on[0].sum() == 48
    assert not (tuned_on[0] & ~tuned_on[1]).any()
