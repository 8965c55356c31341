"""Every id gets the prediction of its own picture, on the whole way from the raw folder to the submission.

The pictures are red cats and blue dogs, so that whoever looks can tell each one's class, and the classes of the test
pictures are drawn at random, so that only the right order of rows gives every id its own class.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from gap_ensemble.networks.keras_setup import keras
from gap_ensemble.params import PARAMS_FILE
from stages import ensemble, extract, link, predict, train

# NumPy 2 asks for `copy`; Keras's variables do not know it yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N_TRAIN, N_TEST = 40, 30
COLOUR = {"cat": (200, 40, 40), "dog": (40, 40, 200)}
BACKBONES = ("VGG16", "MobileNet")


def save_picture(path: Path, name: str, rng: np.random.Generator) -> None:
    """Paint in the colour of the class, with noise, at a size of its own."""
    height, width = rng.integers(32, 48, 2)
    pixels = COLOUR[name] + rng.normal(0, 30, (height, width, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)


@pytest.fixture
def answers(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Lay out the competition and its parameters, and return the class of every test id in the sample's order."""
    rng = np.random.default_rng(0)
    raw = project / "data/raw"
    for split in ("train", "test"):
        (raw / split).mkdir()
    for i in range(N_TRAIN):
        name = ("cat", "dog")[i % 2]
        save_picture(raw / f"train/{name}.{i}.jpg", name, rng)
    class_of = {}
    for number in rng.permutation(N_TEST) + 1:
        class_of[str(number)] = ("cat", "dog")[rng.integers(2)]
        save_picture(raw / f"test/{number}.jpg", class_of[str(number)], rng)
    pd.DataFrame({"id": list(class_of), "label": 0.5}).to_csv(raw / "sample_submission.csv", index=False)

    yaml = YAML()
    params = yaml.load((project / PARAMS_FILE).read_text(encoding="utf-8"))
    params["data"]["bad_images"] = "skip"
    params["backbones"] = {name: {"weights": "random", "input_size": 32} for name in BACKBONES}
    params["train"] |= {"folds": 2, "epochs": 30, "learning_rate": 0.01}
    with open(project / PARAMS_FILE, "w", encoding="utf-8") as file:
        yaml.dump(params, file)
    monkeypatch.setattr(sys, "argv", ["stage"])
    return class_of


def run_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the pipeline in this process, where Keras is imported once."""
    link.main()
    for name in BACKBONES:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["stages.extract", name])
            extract.main()
        keras.backend.clear_session()
    for stage in (ensemble, train, predict):
        stage.main()


# A bad picture is left out of the feature files: whoever counts rows is one off from there on.
@pytest.mark.parametrize("bad_ids", [[], ["10"]], ids=["whole", "bad pictures"])
def test_every_id_gets_its_own_class(
    bad_ids: list[str], answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for identifier in bad_ids:
        for file in (f"test/{identifier}.jpg", "train/dog.3.jpg"):
            Path("data/raw", file).write_bytes(b"")
    run_stages(monkeypatch)

    judged = pd.read_csv("results/judged.csv")
    assert judged["predicted"].tolist() == judged["class"].tolist()
    assert len(judged) == N_TRAIN - len(bad_ids)
    share_of_dogs = (judged["class"] == "dog").mean()
    submission = pd.read_csv("submissions/submission.csv", dtype={"id": str}).set_index("id")["label"]
    assert submission.index.tolist() == list(answers)
    assert submission[bad_ids].tolist() == pytest.approx([share_of_dogs] * len(bad_ids))
    predicted = {identifier: "dog" if proba > 0.5 else "cat" for identifier, proba in submission.items()}
    expected = answers | {identifier: predicted[identifier] for identifier in bad_ids}
    assert predicted == expected


def test_any_other_order_would_show(answers: dict[str, str]) -> None:
    """The control: rows matched by position in any plausible order would give many ids a wrong class."""
    orders = [list(answers), sorted(answers), sorted(answers, key=int)]
    orders += [order[1:] + order[:1] for order in orders]
    for i, order in enumerate(orders):
        for other in orders[:i]:
            n_wrong = sum(answers[a] != answers[b] for a, b in zip(order, other, strict=True))
            assert n_wrong > N_TEST / 5
