"""The heads, in memory and in blocks, and the proof that no score leaks."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stages.common import features as features_module
from stages.common.folds import assign_folds
from stages.common.heads import HEADS, Blend, DenseHead, Rows, parts_of
from stages.common.params import Train
from stages.common.scores import Scores
from stages.train import fit_folds, fit_weights

COLUMNS = {"A": [0, 12], "B": [12, 20]}


def made_features(n_rows: int = 400, n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features that tell the classes apart, on scales as different as those of untrained networks."""
    rng = np.random.default_rng(seed)
    label = rng.integers(n_classes, size=n_rows).astype(np.int32)
    centres = rng.normal(size=(n_classes, 20))
    features = centres[label] + rng.normal(size=(n_rows, 20)) * 0.7
    return (features * np.where(np.arange(20) < 12, 1e-5, 10.0) + 3e-5).astype(np.float32), label


def out_of_fold(
    options: Train, features: Any, label: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp: Path
) -> dict[str, float]:
    monkeypatch.chdir(tmp)
    n_classes = int(label.max()) + 1
    fold = assign_folds(label, options.folds, 0)
    blends, _ = fit_folds(options, parts_of(options, COLUMNS), features, label, fold, n_classes, 0)
    fit_weights(blends, features, label, fold)
    scores = Scores(n_classes)
    for k, blend in enumerate(blends):
        scores.add(label[fold == k], blend.predict_proba(features[fold == k]))
    return scores.result()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("ensemble", ["concatenate", "blend"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_head_learns(
    head: Any, ensemble: Any, n_classes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = Train(head=head, ensemble=ensemble, folds=3, epochs=20, learning_rate=0.01)
    scores = out_of_fold(options, *made_features(n_classes=n_classes), monkeypatch, tmp_path)
    assert scores["accuracy"] > 0.9
    assert scores["log_loss"] < 0.4


@pytest.mark.parametrize(
    "options",
    [
        Train(folds=5, epochs=30, learning_rate=0.01),
        Train(folds=5, epochs=30, learning_rate=0.01, patience=3, hidden=[16]),
        Train(folds=5, head="logistic"),
        Train(folds=5, head="logistic", ensemble="blend"),
    ],
    ids=["dense", "patience", "logistic", "blend"],
)
def test_with_shuffled_labels_every_score_is_at_chance(
    options: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features, label = made_features(600)
    label = np.random.default_rng(1).permutation(label)
    scores = out_of_fold(options, features, label, monkeypatch, tmp_path)
    # 600 coin flips: the standard deviation of accuracy is 0.02.
    assert 0.42 < scores["accuracy"] < 0.58
    assert 0.4 < scores["auc"] < 0.6
    assert scores["log_loss"] > 0.68


def test_training_from_the_file_in_blocks_is_as_good_as_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features, label = made_features(2000, n_classes=5)
    options = Train(folds=2, epochs=8, learning_rate=0.01, batch_size=32)
    in_memory = out_of_fold(options, features, label, monkeypatch, tmp_path)
    monkeypatch.setattr(features_module, "BLOCK_BYTES", 150 * 20 * 4)  # 14 blocks
    with h5py.File(tmp_path / "features.h5", "w") as file:
        in_blocks = out_of_fold(options, file.create_dataset("train", data=features), label, monkeypatch, tmp_path)
    assert in_blocks["accuracy"] == pytest.approx(in_memory["accuracy"], abs=0.01)
    assert in_blocks["log_loss"] == pytest.approx(in_memory["log_loss"], rel=0.1)


def test_batches_hold_every_chosen_row_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "BLOCK_BYTES", 64)
    features = np.arange(103, dtype=np.float32)[:, None]
    chosen = np.arange(103) % 3 > 0
    rows = Rows(features, np.zeros(103, np.int32), chosen, slice(0, 1))
    batches = rows.batches(10, np.random.default_rng(0), np.ones(1, np.float32))
    first, second = ([next(batches)[0][:, 0] for _ in range(7)] for _ in range(2))
    assert [len(batch) for batch in first] == [10] * 6 + [int(chosen.sum()) - 60]
    for epoch in (first, second):
        assert sorted(np.concatenate(epoch)) == np.flatnonzero(chosen).tolist()
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_model_predicts_the_same_and_is_saved_alike(head: Any, tmp_path: Path) -> None:
    features, label = made_features(100)
    options = Train(head=head, ensemble="blend", folds=1)
    parts, everything = parts_of(options, COLUMNS), np.ones(100, bool)
    bytes_of, proba = [], []
    for run in range(2):
        blend = Blend(options, parts, 2, seed=5)
        for name, part in blend.heads.items():
            part.fit(*(Rows(features, label, everything, parts[name]) for _ in range(2)))
        blend.weights = np.array([0.25, 0.75])
        blend.save(tmp_path / str(run))
        bytes_of.append({path.name: path.read_bytes() for path in (tmp_path / str(run)).iterdir()})
        proba.append(blend.predict_proba(features))
    assert bytes_of[0] == bytes_of[1]
    assert set(bytes_of[0]) == {"A.weights.h5", "B.weights.h5", "blend.json"}
    loaded = Blend(options, parts, 2, seed=6)
    loaded.load(tmp_path / "0")
    assert loaded.predict_proba(features) == pytest.approx(proba[0], abs=1e-6)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, label = made_features(200)
    features[:, 3] = 7.0
    head = DenseHead(Train(epochs=5), 20, 2, seed=0)
    rows = Rows(features, label, np.ones(200, bool), slice(0, 20))
    head.fit(rows, rows)
    moved = features.copy()
    moved[:, 3] += 0.01
    assert head.predict_proba(moved) == pytest.approx(head.predict_proba(features), abs=0.02)


def test_balanced_class_weights_raise_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(600) < 0.1).astype(np.int32)
    features = rng.normal(size=(600, 20)).astype(np.float32)
    features[:, 0] += label
    rows = Rows(features, label, np.ones(600, bool), slice(0, 20))
    mean_proba = []
    for class_weight in (None, "balanced"):
        head = DenseHead(Train(epochs=30, learning_rate=0.01, class_weight=class_weight), 20, 2, seed=0)
        head.fit(rows, rows)
        mean_proba.append(head.predict_proba(features)[:, 1].mean())
    assert mean_proba[0] < 0.25
    assert mean_proba[1] > mean_proba[0] + 0.1


def test_one_split_trains_one_head_and_patience_stops_early(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    features, label = made_features(300)
    label = np.random.default_rng(0).permutation(label)  # Nothing to learn: the loss of held-out rows only rises.
    options = Train(folds=1, epochs=60, patience=2, learning_rate=0.05)
    fold = assign_folds(label, 1, 0)
    blends, curves = fit_folds(options, parts_of(options, COLUMNS), features, label, fold, 2, 0)
    assert len(blends) == len(curves) == 1
    assert len(curves[0]["loss"]) < 60
