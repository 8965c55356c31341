"""Fine-tuning from stage to stage: a stopped run goes on to the same bytes, half precision, a chain in DVC's order."""

import re
import runpy
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

from gap_ensemble.finetuning.checkpoints import Checkpoints
from gap_ensemble.finetuning.entries import tuned_weights
from gap_ensemble.finetuning.training import FineTuning
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.keras_network import read_fine_tuned_on
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import PARAMS_FILE, Backbone
from gap_ensemble.paths import CURVES, FEATURES, WEIGHTS
from tools.sample import draw_competition
from tools.workspace import change_params

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


RESULTS = [tuned_weights("Tuned"), CURVES / "Tuned.csv", CURVES / "Tuned.png"]
PICTURE_OF_BEFORE = "f" * 32  # that the network was fine-tuned with before

KILL_AFTER_TWO = """
import os, signal, sys
from stages import finetune
from gap_ensemble.finetuning.checkpoints import Checkpoints

add = Checkpoints.add
def add_and_die(self, *arguments):
    add(self, *arguments)
    if self.n_epochs == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoints.add = add_and_die
sys.argv = ["stages.finetune", "Tuned"]
finetune.main()
"""


def killed() -> None:
    """Run the stage in a process of its own, which `kill -9` ends after its second epoch."""
    done = subprocess.run([sys.executable, "-c", KILL_AFTER_TWO], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Go on in this process; Ctrl-C comes after its third epoch."""
    add = Checkpoints.add

    def add_and_stop(self: Checkpoints, *arguments: Any) -> None:
        add(self, *arguments)
        if self.n_epochs == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "add", add_and_stop)
        patched.setattr(FineTuning, "_trained_head", lambda *_: pytest.fail("the first head was trained again"))
        patched.setattr(sys, "argv", ["stages.finetune", "Tuned"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_module("stages.finetune", run_name="__main__", alter_sys=True)
    assert stopped.value.code == 130
    said = capsys.readouterr()
    assert "going on after epoch 2 of an interrupted run" in said.out
    assert "Tuned keeps 3 whole epochs; `dvc repro` goes on from there" in said.err


def test_a_stopped_run_goes_on_to_the_same_bytes(
    project: Path,
    run_stage: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_competition(project / "data/raw", 40, 4)
    small(weights="random").save_weights(WEIGHTS / "small.weights.h5", {PICTURE_OF_BEFORE})
    entry = {**SMALL, "weights": "small.weights.h5", "epochs": 4, "learning_rate": 0.01}
    set_params({"Small": {**SMALL, "weights": "random"}}, {"Tuned": entry})
    run_stage("link")
    assert "going on" not in run_stage("finetune", "Tuned")
    assert PICTURE_OF_BEFORE in read_fine_tuned_on(tuned_weights("Tuned"))
    expected = [path.read_bytes() for path in RESULTS]

    for path in RESULTS:
        path.unlink()
    killed()
    interrupted(monkeypatch, capsys)
    assert not any(path.exists() for path in RESULTS)
    assert "going on after epoch 3 of an interrupted run" in run_stage("finetune", "Tuned")
    assert [path.read_bytes() for path in RESULTS] == expected


def test_half_precision_trains_and_writes_whole_weights(project: Path, run_stage: Callable[..., str]) -> None:
    draw_competition(project / "data/raw", 40, 4)
    set_params(
        {"Small": {**SMALL, "weights": "random"}}, {"Half": {**FROM_SCRATCH, "epochs": 2, "mixed_precision": True}}
    )
    run_stage("link")
    assert "float16" in run_stage("finetune", "Half")
    network = small(weights="tuned/Half.weights.h5")
    assert {weights.dtype for weights in network.base.get_weights()} == {np.dtype(np.float32)}
    assert np.isfinite(pd.read_csv(CURVES / "Half.csv")["val_loss"]).all()


def test_a_chain_of_fine_tunings_runs_in_order_and_remembers(
    project: Path, run_stage: Callable[..., str], run_module: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    draw_competition(project / "data/raw", 60, 6)
    first = {"backbone": "SmallConvNet", "weights": "tuned/Scratch.weights.h5"}
    set_params(
        {"Scratch": first, "Again": {**first, "weights": "tuned/Again.weights.h5"}},
        {"Scratch": {**FROM_SCRATCH, "epochs": 2}, "Again": {**first, "epochs": 1}},
    )
    run_module("dvc", "init", "--no-scm", "--quiet")
    after = set(re.findall(r'"(\S+)" -> "(\S+)"', run_module("dvc", "dag", "--dot").stdout))
    names = ("Scratch", "Again")
    assert ("finetune@Scratch", "finetune@Again") in after
    assert {(f"finetune@{name}", "networks") for name in names} <= after
    assert {("networks", f"extract@{name}") for name in names} <= after

    for stage in ("link", "finetune Scratch", "finetune Again", "networks", "extract Scratch", "extract Again"):
        run_stage(*stage.split())
    tuned_on = []
    for name in names:
        # The input size comes with the weights file.
        entry = Backbone(backbone="SmallConvNet", weights=str(tuned_weights(name).absolute()))
        assert open_network(name, entry).input_size == 32
        with h5py.File(FEATURES / f"{name}.h5") as file:
            tuned_on.append(file["fine_tuned_on"][:])
    assert tuned_on[0].sum() == 48
    assert not (tuned_on[0] & ~tuned_on[1]).any()
