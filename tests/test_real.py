"""Real competitions, where a machine has them: COMPETITIONS names a folder with `dogs-vs-cats/` and `corel-5/`."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gap_ensemble.competition.find import find_competition
from gap_ensemble.params import PARAMS_FILE, Data
from tools.workspace import change_params

COMPETITIONS = Path(os.environ.get("COMPETITIONS", "absent"))
pytestmark = pytest.mark.skipif(not COMPETITIONS.is_dir(), reason="COMPETITIONS is not set to a folder of competitions")

RunModule = Callable[..., subprocess.CompletedProcess[str]]


def use(raw: Path) -> None:
    """Point params.yaml at a competition, with one small untrained network."""

    def change(params: Any) -> None:
        params["data"]["raw"] = str(raw)
        params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 64}}
        params["train"] |= {"folds": 1, "epochs": 3}

    change_params(PARAMS_FILE, change)


def test_dogs_vs_cats_as_kaggle_ships_it() -> None:
    found = find_competition(COMPETITIONS / "dogs-vs-cats", Data(raw="unused"))
    assert found.task.names == ["cat", "dog"]
    assert found.task.labels_from == "prefix"
    assert found.submission is not None
    assert (found.submission.form, found.submission.positive_class) == ("probability", "dog")
    assert (found.pictures["split"] == "train").sum() == 1602


def arrange(corel: Path, raw: Path, shape: str) -> dict[str, str]:
    """Copy corel-5 in another shape, and return the original name of each picture's new one."""
    labels = pd.read_csv(corel / "labels.csv")
    (raw / "train").mkdir(parents=True)
    shutil.copytree(corel / "test", raw / "test")
    shutil.copy(corel / "sample_submission.csv", raw)
    original = {}
    for number, row in enumerate(labels.itertuples()):
        name = f"{row.id}.jpg"
        new = f"train/{row.category}/{name}" if shape == "folders" else f"train/{row.category}.{number}.jpg"
        (raw / new).parent.mkdir(exist_ok=True)
        shutil.copy(corel / "train" / name, raw / new)
        original[new] = f"train/{name}"
    return original


def test_the_same_pictures_in_every_shape_give_the_same_predictions(
    project: Path, run_module: RunModule, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corel = COMPETITIONS / "corel-5"
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    predictions = {}
    for shape in ("table", "folders", "prefix"):
        raw, original = corel, {}
        if shape != "table":
            raw = tmp_path_factory.mktemp(shape)
            original = arrange(corel, raw, shape)
        use(raw)
        for arguments in (["link"], ["extract", "MobileNet"], ["ensemble"], ["train"], ["predict"]):
            done = run_module(f"stages.{arguments[0]}", *arguments[1:])
            assert done.returncode == 0, done.stderr
            if arguments == ["link"]:
                assert {"table": "labels.csv:category"}.get(shape, shape) in done.stdout
        oof = pd.read_csv(project / "results/oof.csv").set_index("id")
        oof.index = oof.index.map(lambda name, new=original: new.get(name, name))
        predictions[shape] = oof, (project / "submissions/submission.csv").read_bytes()
        submission = pd.read_csv(project / "submissions/submission.csv")
        sample = pd.read_csv(corel / "sample_submission.csv")
        assert list(submission.columns) == list(sample.columns)
        assert submission["id"].tolist() == sample["id"].tolist()
        assert submission.drop(columns="id").sum(axis=1).to_numpy() == pytest.approx(1)
    for shape in ("folders", "prefix"):
        pd.testing.assert_frame_equal(predictions[shape][0], predictions["table"][0])
        assert predictions[shape][1] == predictions["table"][1]
