"""Competitions in the shapes of State Farm, Dog Breed and Landmark, from raw files to the submission, through `dvc`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tools.workspace import dvc, lay_out

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 40), "blue": (40, 40, 200)}
N_TRAIN, N_TEST = 12, 5  # of each colour

Answers = dict[str, str]
Make = Callable[[Path, np.random.Generator], Answers]


def paint(path: Path, colour: str, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(COLOURS[colour]) + rng.normal(0, 25, (40, 40, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def names(rng: np.random.Generator, n: int) -> list[str]:
    """Return opaque names, as competitions give them."""
    return [f"{number:012x}" for number in rng.choice(2**40, n, replace=False)]


def pictures(rng: np.random.Generator) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return name and colour of the training and of the test pictures."""
    all_names = names(rng, len(COLOURS) * (N_TRAIN + N_TEST))
    colours = list(COLOURS) * (N_TRAIN + N_TEST)
    pairs = list(zip(all_names, colours, strict=True))
    return pairs[: len(COLOURS) * N_TRAIN], pairs[len(COLOURS) * N_TRAIN :]


def state_farm(raw: Path, rng: np.random.Generator) -> Answers:
    """A folder a class below imgs/train, a table of drivers that is no table of labels, ids with suffix."""
    class_of = {"red": "c0", "green": "c1", "blue": "c2"}
    train, test = pictures(rng)
    for name, colour in train:
        paint(raw / f"imgs/train/{class_of[colour]}/img_{name}.jpg", colour, rng)
    for name, colour in test:
        paint(raw / f"imgs/test/img_{name}.jpg", colour, rng)
    drivers = [(f"p{i % 4:03d}", class_of[colour], f"img_{name}.jpg") for i, (name, colour) in enumerate(train)]
    pd.DataFrame(drivers, columns=["subject", "classname", "img"]).to_csv(raw / "driver_imgs_list.csv", index=False)
    sample = pd.DataFrame({"img": [f"img_{name}.jpg" for name, _ in test]})
    sample.assign(c0=0.3, c1=0.3, c2=0.3).to_csv(raw / "sample_submission.csv", index=False)
    return {f"img_{name}.jpg": class_of[colour] for name, colour in test}


def dog_breed(raw: Path, rng: np.random.Generator) -> Answers:
    """Labels in a table, one column a class, not in the order of their names."""
    train, test = pictures(rng)
    for split, pairs in (("train", train), ("test", test)):
        for name, colour in pairs:
            paint(raw / f"{split}/{name}.jpg", colour, rng)
    pd.DataFrame(train, columns=["id", "breed"]).to_csv(raw / "labels.csv", index=False)
    sample = pd.DataFrame({"id": [name for name, _ in test]})
    sample.assign(red=0.3, green=0.3, blue=0.3).to_csv(raw / "sample_submission.csv", index=False)
    return dict(test)


def landmark(raw: Path, rng: np.random.Generator) -> Answers:
    """Labels in a table, folders that only spread the files, class and confidence in one field."""
    class_of = {"red": "8815", "green": "17", "blue": "203092"}
    train, test = pictures(rng)
    for split, pairs in (("train", train), ("test", test)):
        for name, colour in pairs:
            paint(raw / f"{split}/{name[0]}/{name[1]}/{name[2]}/{name}.jpg", colour, rng)
    table = [(name, f"http://localhost/{name}", class_of[colour]) for name, colour in train]
    pd.DataFrame(table, columns=["id", "url", "landmark_id"]).to_csv(raw / "train.csv", index=False)
    sample = pd.DataFrame({"id": [name for name, _ in test], "landmarks": "8815 0.93"})
    sample.to_csv(raw / "sample_submission.csv", index=False)
    return {name: class_of[colour] for name, colour in test}


def best_class(submission: pd.DataFrame) -> list[str]:
    """Return what each row says, in any form."""
    if len(submission.columns) > 2:
        probabilities = submission.set_index(submission.columns[0]).astype(float)
        assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1)
        return probabilities.idxmax(axis=1).tolist()
    said = submission.iloc[:, 1].str.split(" ")
    assert said.str[1].astype(float).between(1 / len(COLOURS), 1).all()
    return said.str[0].tolist()


@pytest.mark.parametrize(
    ("make", "network", "labels_from"),
    [
        # The older bottleneck recipe flattens: after five poolings by two, 64 pixels are 2 x 2 of 512 features.
        (state_farm, {"VGG16": {"input_size": 64, "pooling": "flatten"}}, "driver_imgs_list.csv:classname"),
        (dog_breed, {"ConvNeXtTiny": {"input_size": 32}}, "labels.csv:breed"),
        (landmark, {"EfficientNetV2B0": {"input_size": 32, "pooling": "max"}}, "train.csv:landmark_id"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_from_raw_files_to_the_submission(
    make: Make, network: dict[str, Any], labels_from: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = make(tmp_path / "raw", np.random.default_rng(0))

    def change(params: dict[str, Any]) -> None:
        params["data"]["raw"] = str(tmp_path / "raw")
        params["backbones"] = {name: {"weights": "random", **values} for name, values in network.items()}
        params["ensemble"]["duplicates"] = None
        params["train"] |= {"head": "logistic", "folds": 3}

    repository = tmp_path / "repository"
    lay_out(repository, change)
    dvc("repro", cwd=repository)
    assert f"labels from {labels_from}" in capfd.readouterr().out

    sample = pd.read_csv(tmp_path / "raw/sample_submission.csv", dtype=str)
    submission = pd.read_csv(repository / "submissions/submission.csv", dtype=str)
    assert list(submission.columns) == list(sample.columns)
    assert submission.iloc[:, 0].tolist() == sample.iloc[:, 0].tolist()
    assert best_class(submission) == [answers[identifier] for identifier in sample.iloc[:, 0]]
    if "VGG16" in network:
        with h5py.File(repository / "features/gap/VGG16.h5") as file:
            assert file["train"].shape == (len(COLOURS) * N_TRAIN, 2 * 2 * 512)
    assert "<h2>Classes</h2>" in (repository / "results/report.html").read_text()
