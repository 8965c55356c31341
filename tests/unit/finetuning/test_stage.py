"""Stage finetune: which pictures it holds out, and what it refuses before it trains."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gap_ensemble.finetuning.entries import tuned_weights
from gap_ensemble.finetuning.held_out import split_pictures
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_network import KerasNetwork, read_fine_tuned_on
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import PARAMS_FILE, Backbone
from gap_ensemble.paths import WEIGHTS
from gap_ensemble.storage.manifest import whole_pictures
from tools.sample import draw_competition
from tools.workspace import change_params

# NumPy 2 asks for `copy`; Keras's variables do not know it yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL: dict[str, Any] = {"backbone": "SmallConvNet", "input_size": 32}
FROM_SCRATCH: dict[str, Any] = {**SMALL, "weights": "random", "last_blocks": "all", "optimizer": "adam"}


def set_entry(entry: dict[str, Any], **data: str) -> None:
    """Make it the only entry of finetune, A."""

    def change(params: Any) -> None:
        params.update(backbones={"VGG16": {"weights": "random"}}, finetune={"A": entry})
        params["data"] |= data

    change_params(PARAMS_FILE, change)


@pytest.fixture
def drawn(project: Path, run_stage: Callable[..., str]) -> Path:
    """Return a project with 60 training pictures, six of each of ten patients, whose pets are cats and dogs."""
    draw_competition(project / "data/raw", 60, 2)
    names = sorted(path.stem for path in (project / "data/raw/train").iterdir())
    labels = {"id": names, "label": [name.split(".")[0] for name in names]}
    patients = {"patient": [f"p{i % 10}" for i in range(60)]}
    pd.DataFrame(labels | patients).to_csv(project / "data/raw/train.csv", index=False)
    set_entry({**FROM_SCRATCH, "epochs": 1}, labels="train.csv:label", groups="patient")
    run_stage("link")
    return project


@pytest.mark.slow
def test_a_patient_is_held_out_as_a_whole(drawn: Path, run_stage: Callable[..., str]) -> None:
    change_params(PARAMS_FILE, lambda params: params["train"].update(folds=2))
    run_stage("finetune", "A")
    tuned_on = read_fine_tuned_on(tuned_weights("A"))
    pictures = whole_pictures("train")
    patients = pd.read_csv(drawn / "data/raw/train.csv").set_index("id")["patient"]
    is_used = pictures["md5"].isin(tuned_on).groupby(pictures["file"].map(lambda name: patients[Path(name).stem]))
    assert sorted(is_used.mean()) == [0] * 2 + [1] * 8


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 1e-12, "optimizer": "sgd"}, "WARNING: A: no epoch had less val_loss than the start"),
        ({"learning_rate": 0.003}, "A: epoch 1 is kept, which has the least val_loss"),
    ],
)
def test_what_the_epochs_were_good_for_is_said(
    change: dict[str, Any], said: str, run_stage: Callable[..., str]
) -> None:
    set_entry({**FROM_SCRATCH, "epochs": 1, **change})
    change_params(PARAMS_FILE, lambda params: params["train"].update(folds=2))
    out = run_stage("finetune", "A")
    assert "A: epoch 0, before any training: val_loss" in out
    assert said in out


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**FROM_SCRATCH, "optimizer": "sgd", "learning_rate": 10, "epochs": 9}, "A.learning_rate: with 10 the loss"),
        ({"weights": "small.weights.h5", "backbone": "VGG16"}, "small.weights.h5: does not fit VGG16"),
        ({**SMALL, "weights": "imagenet"}, "A.weights: found imagenet, of which SmallConvNet has none"),
        ({"weights": "random"}, "A: unknown network 'A'"),
        (FROM_SCRATCH, "A.held_out: it holds out 12 pictures in 2 groups (data.groups, equal pictures), too few for"),
    ],
    ids=["learning rate", "other weights", "no ImageNet weights", "unknown network", "few groups"],
)
def test_what_can_not_be_trained_is_refused_in_one_line(
    entry: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = open_network("Small", Backbone(weights="random", **SMALL))
    assert isinstance(small, KerasNetwork)
    small.save_weights(WEIGHTS / "small.weights.h5", set())
    set_entry(entry)
    if entry is not FROM_SCRATCH:
        change_params(PARAMS_FILE, lambda params: params["train"].update(folds=2))
    monkeypatch.setattr(sys, "argv", ["stages.finetune", "A"])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("stages.finetune", run_name="__main__")
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not tuned_weights("A").exists()


def test_classes_of_one_picture_leave_nothing_to_validate() -> None:
    with pytest.raises(UserError, match=r"A\.held_out: found 0\.2, which holds out 0 of 30 training pictures"):
        split_pictures("A", 0.2, np.arange(30), np.arange(30), 0)
