"""Fine-tuning: what is trained, what survives a kill, and that no score is judged on what a network has seen."""

import shutil
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
from gap_ensemble.competition.competition import read_manifest
from gap_ensemble.networks.backbones import Network, read_seen, save_tuned, tuned_weights
from gap_ensemble.scoring.scores import Scores
from test_shapes import dog_breed

from gap_ensemble.finetuning import tuning
from gap_ensemble.finetuning.tuning import block_starts, first_trained_layer, training_model
from gap_ensemble.heads.ensemble import HEADS, EnsembleData, fit_ensemble
from gap_ensemble.heads.head import Outputs
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import PARAMS_FILE, Augment, Backbone, Finetune, Train, load_params
from gap_ensemble.paths import CURVES, ENSEMBLE, FEATURES, WEIGHTS
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.validation.folds import assign_folds, hold_out
from stages import ensemble, extract, finetune, link
from stages.train import folds_of_unseen
from tools.sample import draw_competition
from tools.workspace import change_params, dvc, lay_out

NO_CHANGE: dict[str, Any] = {"flip": False, "shear": 0.0, "zoom": 0.0, "shift": 0.0}
SMALL: dict[str, Any] = {"backbone": "SmallConvNet", "input_size": 32}
FROM_SCRATCH: dict[str, Any] = {
    **SMALL,
    "weights": "random",
    "last_blocks": "all",
    "optimizer": "adam",
    "learning_rate": 0.001,
}


def set_params(backbones: dict[str, Any], entries: dict[str, Any], **sections: dict[str, Any]) -> None:
    """Change params.yaml of the project."""

    def change(params: Any) -> None:
        params.update(backbones=backbones, finetune=entries)
        for name, values in sections.items():
            params[name] |= values

    change_params(PARAMS_FILE, change)


@pytest.mark.parametrize(
    ("name", "n_blocks", "last"),
    [
        ("VGG16", 5, "block5_conv1"),
        ("ResNet50V2", 16, "conv5_block3_preact_bn"),
        ("Xception", 13, "block14_sepconv1"),
        ("MobileNetV2", 11, "block_16_expand"),
        ("EfficientNetB0", 10, "block7a_expand_conv"),
        ("SmallConvNet", 3, "block3_conv"),
    ],
)
def test_blocks_are_those_that_a_network_is_drawn_with(name: str, n_blocks: int, last: str) -> None:
    model = Network(name, Backbone(weights="random", input_size=96)).base
    starts = block_starts(model)
    assert (len(starts), model.operations[starts[-1]].name) == (n_blocks, last)


def xception(**values: Any) -> tuple[Network, Finetune]:
    entry = Finetune(weights="random", input_size=71, **values)
    return Network("Xception", entry), entry


def test_only_the_last_block_changes_and_no_statistics_of_batch_normalisation() -> None:
    network, entry = xception(optimizer="adam", learning_rate=0.01)
    first = first_trained_layer(network.base, "Tuned", entry)
    names = [step.name for step in network.base.operations[first:]]
    before = {layer.name: layer.get_weights() for layer in network.base.layers}
    model = training_model(network, entry, first, None, 3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        model.train_on_batch(rng.uniform(0, 255, (4, 71, 71, 3)).astype(np.float32), np.array([0, 1, 2, 0]))
    changed = set()
    for layer in network.base.layers:
        for variable, old in zip(layer.weights, before[layer.name], strict=True):
            if not np.array_equal(np.asarray(variable), old):
                changed.add(layer.name)
                assert "moving" not in variable.path
    assert changed
    assert changed <= set(names)
    assert {"block14_sepconv1", "block14_sepconv2"} <= changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"train_from": "block14_sepconv_1"},
            "train_from: xception has no layer 'block14_sepconv_1'; nearest: block14_",
        ),
        ({"train_from": "block14_sepconv2_bn"}, "from 'block14_sepconv2_bn' on, xception has no weights to train"),
        ({"last_blocks": 99}, "last_blocks: found 99; xception has 13 blocks: set 1 to 13, or all"),
    ],
)
def test_layers_that_are_not_there_are_named_with_the_nearest(values: dict[str, Any], message: str) -> None:
    network, entry = xception(**values)
    with pytest.raises(UserError, match=r"^params\.yaml: finetune\.Tuned\.") as error:
        first_trained_layer(network.base, "Tuned", entry)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0}, "finetune.A.learning_rate: found 0; input should be greater than 0"),
        ({"learning_rate": 100}, "finetune.A.learning_rate: found 100; input should be less than or equal to 10"),
        ({"momentum": 1}, "finetune.A.momentum: found 1; input should be less than 1"),
        ({"held_out": 1.5}, "finetune.A.held_out: found 1.5; input should be less than or equal to 0.9"),
        ({"input_size": 0}, "finetune.A.input_size: found 0; input should be greater than or equal to 1"),
        ({"augment": {"shere": 1}}, "finetune.A.augment.shere: unknown key; did you mean shear?"),
        ({"last_block": 2}, "finetune.A.last_block: unknown key; did you mean last_blocks?"),
        ({"optimizer": "adam", "momentum": 0.5}, "params.yaml: finetune.A: momentum is sgd's; leave it out with adam"),
        ({"train_from": "x", "last_blocks": 1}, "params.yaml: finetune.A: give train_from or last_blocks, not both"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, Any], message: str) -> None:
    set_params({"A": {"weights": "random"}}, {"A": {"weights": "random", **values}})
    with pytest.raises(UserError) as error:
        load_params()
    assert any(message in problem for problem in error.value.problems), error.value.problems


def test_what_does_not_fit_is_one_line(project: Path, run_module: Callable[..., Any]) -> None:
    draw_competition(project / "data/raw", 40, 4)
    link.main()
    small = Network("Small", Backbone(weights="random", **SMALL))
    small.base.save_weights(WEIGHTS / "small.weights.h5")
    cases = {
        "rate": (
            {**FROM_SCRATCH, "learning_rate": 10, "optimizer": "sgd", "epochs": 9},
            "finetune.A.learning_rate: with 10",
        ),
        "weights": ({"weights": "small.weights.h5", "backbone": "VGG16"}, "does not fit VGG16 (finetune.A.weights)"),
        "imagenet": (
            {"weights": "imagenet", **SMALL},
            "finetune.A.weights: found imagenet, of which SmallConvNet has none",
        ),
        "network": ({"weights": "random"}, "finetune.A: unknown network 'A'"),
    }
    for entry, message in cases.values():
        set_params({"VGG16": {"weights": "random"}}, {"A": entry})
        done = run_module("stages.finetune", "A")
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not tuned_weights("A").exists()


def test_classes_of_one_picture_leave_nothing_to_judge_by(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:032x}" for number in range(30)]
    manifest = pd.DataFrame({"file": names, "md5": names, "class": names, "split": "train", "problem": ""})
    monkeypatch.setattr(finetune, "whole_pictures", lambda _: manifest)
    with pytest.raises(
        UserError, match=r"finetune\.A\.held_out: found 0\.2, which holds out 0 of 30 training pictures"
    ):
        finetune.split("A", 0.2, 0)


def test_hold_out_takes_its_share_of_every_class_and_keeps_equal_pictures_together() -> None:
    rng = np.random.default_rng(0)
    content = np.array([f"{number:032x}" for number in rng.integers(800, size=1000)])
    label = np.array([int(text, 16) % 4 for text in content])
    few, many = (hold_out(label, content, share, 7) for share in (0.2, 0.5))
    for held_out, share in ((few, 0.2), (many, 0.5)):
        for k in range(4):
            assert np.mean(held_out[label == k]) == pytest.approx(share, abs=0.05)
        assert not set(content[held_out]) & set(content[~held_out])
    assert (many | ~few).all()
    # Also over many small classes, none of which has a fifth of a picture to spare; the only one of a class stays.
    pairs = hold_out(np.arange(2000) // 2, np.arange(2000).astype(str), 0.2, 7)
    assert np.mean(pairs) == pytest.approx(0.2, abs=0.03)
    assert not hold_out(np.arange(50), np.arange(50).astype(str), 0.5, 7).any()
    assert (hold_out(label, content, 0.2, 8) != few).any()


def test_a_near_duplicate_of_a_seen_picture_does_not_judge() -> None:
    label, group, seen = np.zeros(100, int), np.arange(100), np.arange(100) < 60
    group[70:75] = group[3]
    fold = folds_of_unseen(label, group, seen, 5, 0)
    assert set(np.flatnonzero(fold >= 0)) == {*range(60, 70), *range(75, 100)}
    assert (folds_of_unseen(label, group, np.zeros(100, bool), 5, 0) == assign_folds(label, 5, 0, group)).all()
    with pytest.raises(UserError, match="have not seen 3 of 100 training pictures, too few to judge 5 folds"):
        folds_of_unseen(label, np.arange(100), np.arange(100) < 97, 5, 0)


def stage(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()


def accuracy_out_of_fold(fold: np.ndarray, options: Train) -> tuple[float, float]:
    """Return accuracy and log loss of the rows that judge."""
    with open_features(ENSEMBLE) as file:
        features, label = file["train"][:], file["label"][:]
    data = EnsembleData(features, label, Outputs("classes", 2), fold, np.arange(len(label)), 0)
    fitted = fit_ensemble(options, {"all": slice(0, features.shape[1])}, data)
    scores = Scores(2)
    for k in range(data.n_folds):
        for rows, proba in fitted.out_of_fold(k):
            scores.add(label[rows], proba)
    return scores.result()["accuracy"], scores.result()["log_loss"]


def test_with_shuffled_labels_a_network_that_memorised_them_scores_at_chance(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_competition(project / "drawn", 320, 4)
    names = sorted(path.name for path in (project / "drawn/train").iterdir())
    (project / "data/raw/train").mkdir()
    for old, new in zip(names, np.random.default_rng(0).permutation(names), strict=True):
        shutil.copy(project / "drawn/train" / old, project / "data/raw/train" / new)
    shutil.copytree(project / "drawn/test", project / "data/raw/test")
    shutil.copy(project / "drawn/sample_submission.csv", project / "data/raw")
    memorise = {"augment": NO_CHANGE, "dropout": 0.0, "epochs": 60, "patience": 60, "held_out": 0.5}
    # Flattened, it has features enough to memorise.
    entry = {**FROM_SCRATCH, **memorise, "pooling": "flatten"}
    tuned = {**SMALL, "weights": "tuned/Memo.weights.h5", "pooling": "flatten"}
    set_params({"Memo": tuned}, {"Memo": entry}, ensemble={"duplicates": None})
    # The last epoch, not the one that suits the pictures that choose: it knows the labels by heart.
    monkeypatch.setattr(tuning, "best_epoch", lambda curves: len(curves["loss"]) - 1)
    link.main()
    stage(monkeypatch, finetune, "Memo")
    assert pd.read_csv(CURVES / "Memo.csv")["accuracy"].iloc[-1] > 0.98
    stage(monkeypatch, extract, "Memo")
    ensemble.main()

    with open_features(ENSEMBLE) as file:
        label, seen, files = file["label"][:], file["seen"][:], texts(file["train_file"])
    assert seen.sum() == 160
    manifest = read_manifest().set_index("file")
    assert set(manifest.loc[[name for name, s in zip(files, seen, strict=True) if s], "md5"]) == read_seen(
        tuned_weights("Memo")
    )
    for head in HEADS:
        options = Train(head=head, folds=4)  # type: ignore[arg-type]
        honest = folds_of_unseen(label, np.arange(320), seen, 4, 0)
        accuracy, log_loss = accuracy_out_of_fold(honest, options)
        # 160 coin flips: the standard deviation of accuracy is 0.04.
        assert 0.35 < accuracy < 0.65
        assert log_loss > 0.65
        # Were the seen pictures to judge, labels that mean nothing would be recognised.
        flattered = np.where(seen, assign_folds(label, 4, 0), -1)
        accuracy, _ = accuracy_out_of_fold(flattered, options)
        assert accuracy > 0.7


def test_from_raw_files_to_the_submission_with_tuned_networks(tmp_path: Path) -> None:
    answers = dog_breed(tmp_path / "raw", np.random.default_rng(0))
    base = Network("MobileNetV2", Backbone(weights="random", input_size=32)).base
    base.save_weights(tmp_path / "mobile.weights.h5")

    def change(params: dict[str, Any]) -> None:
        params["data"]["raw"] = str(tmp_path / "raw")
        mobile = {"backbone": "MobileNetV2", "input_size": 32}
        entry = {"epochs": 2, "held_out": 0.5}
        params["finetune"] = {
            "Tuned": {**mobile, **entry, "weights": str(tmp_path / "mobile.weights.h5")},
            "Scratch": {**FROM_SCRATCH, **entry, "epochs": 20},
        }
        params["backbones"] = {
            "Frozen": {**mobile, "weights": str(tmp_path / "mobile.weights.h5")},
            "Tuned": {**mobile, "weights": "tuned/Tuned.weights.h5"},
            "Scratch": {**SMALL, "weights": "tuned/Scratch.weights.h5"},
        }
        params["ensemble"]["duplicates"] = None
        params["train"] |= {"folds": 2, "head": "logistic"}

    repository = tmp_path / "repository"
    lay_out(repository, change)
    dvc("repro", cwd=repository)
    submission = pd.read_csv(repository / "submissions/submission.csv", index_col="id")
    assert submission.idxmax(axis=1).to_dict() == answers
    curves = pd.read_csv(repository / CURVES / "Scratch.csv")
    assert curves["epoch"].tolist() == list(range(len(curves)))
    assert curves["val_loss"].min() < curves["val_loss"][0]
    assert (repository / CURVES / "Tuned.png").read_bytes().startswith(b"\x89PNG")
    judged = pd.read_csv(repository / "results/judged.csv")
    with (
        h5py.File(repository / FEATURES / "Tuned.h5") as file,
        h5py.File(repository / FEATURES / "Frozen.h5") as frozen,
    ):
        seen = {name for name, known in zip(texts(file["train_file"]), file["seen"][:], strict=True) if known}
        assert "seen" not in frozen
        assert not np.array_equal(file["train"][:], frozen["train"][:])
    assert len(seen) == 18
    assert len(judged) == 18
    assert not seen & set(judged["file"])


KILL_AFTER = """
import os, signal, sys
from stages import finetune
from gap_ensemble.messages.errors import run
from gap_ensemble.finetuning.tuning import Checkpoints

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
def test_a_killed_run_goes_on_to_the_same_bytes(how: str, project: Path, run_module: Callable[..., Any]) -> None:
    draw_competition(project / "data/raw", 60, 4)
    before = "f" * 32  # The picture that it was fine-tuned with before.
    save_tuned(Network("Small", Backbone(weights="random", **SMALL)), WEIGHTS / "small.weights.h5", {before})
    entry = {**SMALL, "weights": "small.weights.h5", "epochs": 4, "learning_rate": 0.01}
    set_params({"Small": {**SMALL, "weights": "random"}}, {"Tuned": entry})
    link.main()
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
    assert not list(Path("features/partial").iterdir())
    assert before in read_seen(tuned_weights("Tuned"))
    bytes_of_both = [path.read_bytes() for path in results]
    for path in results:
        path.unlink()
    through = run_module("stages.finetune", "Tuned")
    assert through.returncode == 0, through.stderr
    assert "going on" not in through.stdout
    assert [path.read_bytes() for path in results] == bytes_of_both


def test_half_precision_trains_and_writes_whole_weights(project: Path, run_module: Callable[..., Any]) -> None:
    draw_competition(project / "data/raw", 40, 4)
    set_params(
        {"Small": {**SMALL, "weights": "random"}}, {"Half": {**FROM_SCRATCH, "epochs": 2, "mixed_precision": True}}
    )
    link.main()
    done = run_module("stages.finetune", "Half")
    assert done.returncode == 0, done.stderr
    assert ", float16, TensorFlow" in done.stdout
    network = Network("Half", Backbone(weights="tuned/Half.weights.h5", **SMALL))
    assert {weights.dtype for weights in network.base.get_weights()} == {np.dtype(np.float32)}
    assert np.isfinite(pd.read_csv(CURVES / "Half.csv")["val_loss"]).all()


def test_a_tuned_network_of_another_kind_is_refused_before_it_is_trained(
    project: Path, run_module: Callable[..., Any]
) -> None:
    draw_competition(project / "data/raw", 40, 4)
    link.main()
    set_params({"VGG16": {"weights": "tuned/A.weights.h5"}}, {"A": FROM_SCRATCH})
    done = run_module("stages.finetune", "A")
    assert done.returncode == 1
    assert "backbones.VGG16: VGG16 can't take weights/tuned/A.weights.h5, which will be SmallConvNet's" in done.stderr


def test_the_list_of_seen_pictures_survives_a_rename(project: Path) -> None:
    network = Network("Small", Backbone(weights="random", **SMALL))
    save_tuned(network, project / "weights/mine.weights.h5", {"b" * 32, "a" * 32})
    again = Network("Other", Backbone(weights="mine.weights.h5", **SMALL))
    assert again.seen == {"a" * 32, "b" * 32}
    for weights, others in zip(network.base.get_weights(), again.base.get_weights(), strict=True):
        assert np.array_equal(weights, others)


def test_augmentation_changes_training_pictures_alone() -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    layers = tuning.augmentation(Augment())
    assert np.array_equal(np.asarray(layers(pictures, training=False)), pictures)
    changed = np.asarray(layers(pictures, training=True))
    assert not np.array_equal(changed, pictures)
    assert 0 <= changed.min() <= changed.max() <= 255.01
    none = tuning.augmentation(Augment(**NO_CHANGE))
    assert np.array_equal(np.asarray(none(pictures, training=True)), pictures)
