"""The heads, in memory and in blocks, and the proof that no score leaks."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from gap_ensemble.heads import linear, side_by_side
from gap_ensemble.heads import rows as rows_module
from gap_ensemble.heads.combine import fit_mean_weights, fit_stack_weights, mean_row_loss, stack_of
from gap_ensemble.heads.ensemble import (
    HEADS,
    MAX_STACKED_WEIGHTS,
    Ensemble,
    EnsembleData,
    FittedEnsemble,
    ensemble_of,
    fit_ensemble,
)
from gap_ensemble.heads.head import Outputs, TrainingData, trials
from gap_ensemble.heads.linear import TurnedRows, turned_rows
from gap_ensemble.heads.logistic import fit_path
from gap_ensemble.heads.rows import Rows
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Train
from gap_ensemble.storage import hdf5
from gap_ensemble.validation.folds import assign_folds

COLUMNS = {"A": slice(0, 12), "B": slice(12, 20)}
TWO = Outputs("classes", 2)


def made_features(n_rows: int = 400, n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features that tell the classes apart, on scales as different as those of untrained networks."""
    rng = np.random.default_rng(seed)
    label = rng.integers(n_classes, size=n_rows).astype(np.int32)
    centres = rng.normal(size=(n_classes, 20))
    features = centres[label] + rng.normal(size=(n_rows, 20)) * 0.7
    return (features * np.where(np.arange(20) < 12, 1e-5, 10.0) + 3e-5).astype(np.float32), label


def fit(options: Train, features: Any, label: np.ndarray) -> FittedEnsemble:
    """Train heads on all columns side by side, if the options do not say otherwise."""
    options = options.model_copy(update={"ensemble": options.ensemble or "concatenate"})
    fold = assign_folds(label, options.folds, 0)
    outputs = Outputs("classes", int(label.max()) + 1)
    return fit_ensemble(options, COLUMNS, EnsembleData(features, label, outputs, fold, np.arange(len(label)), 0))


def out_of_fold(options: Train, features: Any, label: np.ndarray) -> dict[str, float]:
    fitted = fit(options, features, label)
    proba = np.empty((len(label), fitted.data.outputs.n))
    for k in range(options.folds):
        for rows, predictions in fitted.out_of_fold(k):
            proba[rows] = predictions
    return scores_of(label, proba)


def scores_of(label: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    scores = {"log_loss": log_loss(label, proba), "accuracy": accuracy_score(label, proba.argmax(axis=1))}
    return scores | ({"auc": roc_auc_score(label, proba[:, 1])} if proba.shape[1] == 2 else {})


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_head_learns(head: Any, n_classes: int) -> None:
    # So that the strength of the dense head's penalty is chosen, but fast.
    scores = out_of_fold(
        Train(head=head, folds=3, epochs=20, batch_size=32, normalize=True), *made_features(n_classes=n_classes)
    )
    assert scores["accuracy"] > 0.9
    assert scores["log_loss"] < 0.3


FAST: dict[str, Any] = {"epochs": 15, "l2": 0.01}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        Train(epochs=10, batch_size=32, folds=3),
        Train(hidden=[16], patience=3, **FAST),
        Train(seeds=2, **FAST),
        Train(head="logistic", ensemble="blend"),
        Train(head="ridge"),
        Train(head="auto", **FAST),
        Train(head="auto", ensemble="stack", **FAST),
    ],
    ids=["dense", "hidden", "seeds", "blend", "ridge", "auto", "stack"],
)
def test_with_shuffled_labels_every_score_is_at_chance(options: Train) -> None:
    features, label = made_features(600)
    label = np.random.default_rng(1).permutation(label)
    scores = out_of_fold(options, features, label)
    # 600 coin flips: the standard deviation of accuracy is 0.02.
    assert 0.42 < scores["accuracy"] < 0.58
    assert 0.4 < scores["auc"] < 0.6
    assert scores["log_loss"] > 0.685


@pytest.mark.slow
def test_training_from_the_file_in_blocks_is_as_good_as_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features, label = made_features(2000, n_classes=5)
    options = Train(folds=2, epochs=8, l2=0.01, batch_size=32)
    in_memory = out_of_fold(options, features, label)
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 150 * 20 * 4)  # 14 blocks
    monkeypatch.setattr(rows_module, "MEMORY_BYTES", 2000 * 20 * 4)  # The rows alone would fit.
    with h5py.File(tmp_path / "features.h5", "w") as file:
        in_blocks = out_of_fold(options, file.create_dataset("train", data=features), label)
    assert in_blocks["accuracy"] == pytest.approx(in_memory["accuracy"], abs=0.01)
    assert in_blocks["log_loss"] == pytest.approx(in_memory["log_loss"], rel=0.1)


def test_batches_hold_every_chosen_row_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 64)
    features = np.arange(103, dtype=np.float32)[:, None]
    chosen = np.arange(103) % 3 > 0
    rows, rng = Rows(features, chosen, slice(0, 1)), np.random.default_rng(0)
    passes = [list(rows.batches(10, rng)) for _ in range(2)]
    for batches in passes:
        assert [len(numbers) for _, numbers in batches] == [10] * 6 + [int(chosen.sum()) - 60]
        assert all((batch[:, 0] == numbers).all() for batch, numbers in batches)
    first, second = ([number for _, numbers in batches for number in numbers] for batches in passes)
    assert sorted(first) == sorted(second) == np.flatnonzero(chosen).tolist()
    assert first != second


def data_of(options: Train, features: np.ndarray, y: np.ndarray, n_folds: int, **changes: Any) -> TrainingData:
    rows = Rows(features, np.ones(len(y), bool), slice(0, features.shape[1]))
    values = {"outputs": TWO, "fold": np.full(len(y), -1), "group": np.arange(len(y)), "n_folds": n_folds, "seed": 0}
    return TrainingData(options, rows, y, **{**values, **changes})


def fit_one(head: str, options: Train, features: np.ndarray, y: np.ndarray, **changes: Any) -> Any:
    """Return a head that was trained on all rows."""
    (fitted,), _ = HEADS[head].fit_folds(data_of(options, features, y, 1, **changes), lambda _: None)
    return fitted


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_model_predicts_the_same_and_is_saved_alike(head: Any, tmp_path: Path) -> None:
    features, label = made_features(100)
    options = Train(head=head, ensemble="blend", folds=2, epochs=3, l2=0.01, seeds=2)
    bytes_of, proba = [], []
    for run in range(2):
        model = fit(options, features, label).models[0]
        model.save(tmp_path / str(run))
        bytes_of.append({path.name: path.read_bytes() for path in (tmp_path / str(run)).iterdir()})
        proba.append(model.predict(features))
    assert bytes_of[0] == bytes_of[1]
    assert Ensemble.load(tmp_path / "0").predict(features) == pytest.approx(proba[0], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("n_classes", "hidden"), [(2, []), (4, [16, 8])])
def test_heads_trained_side_by_side_are_as_if_trained_alone(
    n_classes: int, hidden: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without dropout, whose noise they share, a head must not feel that others are trained beside it.
    features, label = made_features(300, n_classes)
    options = Train(epochs=5, l2=0.01, dropout=0, hidden=hidden, class_weight="balanced", patience=3)
    data = data_of(options, features, label, 3, fold=assign_folds(label, 3, 0), outputs=Outputs("classes", n_classes))
    together, curves_together = HEADS["dense"].fit_folds(data, lambda _: None)
    monkeypatch.setattr(side_by_side, "SIDE_BY_SIDE_BYTES", 1)
    alone, curves_alone = HEADS["dense"].fit_folds(data, lambda _: None)
    for one, other, curve, other_curve in zip(together, alone, curves_together, curves_alone, strict=True):
        assert one.predict(features) == pytest.approx(other.predict(features), abs=1e-4)
        assert curve["val_loss"] == pytest.approx(other_curve["val_loss"][: len(curve["val_loss"])], abs=1e-4)
    assert np.abs(together[0].predict(features) - together[1].predict(features)).max() > 1e-3


def test_the_curves_are_log_loss_and_accuracy_of_the_validation_rows() -> None:
    features, label = made_features(300, 4)
    fold = assign_folds(label, 3, 0)
    data = data_of(Train(epochs=3, l2=0.01), features, label, 3, fold=fold, outputs=Outputs("classes", 4))
    heads, curves = HEADS["dense"].fit_folds(data, lambda _: None)
    for k, (head, curve) in enumerate(zip(heads, curves, strict=True)):
        scores = scores_of(label[data.fold == k], head.predict(features[data.fold == k]))
        assert curve["val_loss"][-1] == pytest.approx(scores["log_loss"], rel=1e-4)
        assert curve["val_accuracy"][-1] == pytest.approx(scores["accuracy"])


@pytest.mark.parametrize("head", HEADS)
def test_labels_that_exclude_nothing_are_learnt_each_for_itself(head: str) -> None:
    features, label = made_features(400, 4)
    y = np.stack([label >= 2, label % 2], axis=1).astype(np.int32)
    predictions = fit_one(head, Train(l2=0.01, epochs=40), features, y, outputs=Outputs("labels", 2)).predict(features)
    assert predictions.shape == (400, 2)
    assert ((predictions > 0.5) == y).mean() > 0.9


@pytest.mark.parametrize("head", ["dense", "ridge"])
def test_numbers_are_predicted_on_their_own_scale(head: str) -> None:
    features, label = made_features(400, 4)
    y = np.stack([1e4 + 100.0 * label, -0.01 * label], axis=1)
    error = fit_one(head, Train(l2=0.01, epochs=40), features, y, outputs=Outputs("numbers", 2)).predict(features) - y
    assert (error.std(axis=0) < 0.5 * y.std(axis=0)).all()
    assert (np.abs(error.mean(axis=0)) < 0.1 * y.std(axis=0)).all()


def test_a_fold_that_trains_on_two_of_three_classes_is_right_about_them() -> None:
    rng = np.random.default_rng(0)
    label = np.array([0] * 50 + [1] * 50 + [2], np.int32)
    features = rng.normal(size=(101, 20)).astype(np.float32)
    features[:, 0] += 6 * (label == 1)
    fold = np.where(label == 2, 0, np.arange(101) % 2)
    data = data_of(Train(head="logistic"), features, label, 2, fold=fold, outputs=Outputs("classes", 3))
    heads, _ = HEADS["logistic"].fit_folds(data, lambda _: None)
    known = (fold == 0) & (label < 2)
    assert (heads[0].predict(features[known]).argmax(axis=1) == label[known]).mean() > 0.9


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, label = made_features(200)
    features[:, 3] = 7.0
    head = fit_one("dense", Train(epochs=5, l2=0.01), features, label)
    moved = features.copy()
    moved[:, 3] += 0.01
    assert head.predict(moved) == pytest.approx(head.predict(features), abs=0.02)


@pytest.mark.parametrize("head", HEADS)
def test_balanced_class_weights_raise_the_rare_class(head: str) -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(600) < 0.1).astype(np.int32)
    features = rng.normal(size=(600, 20)).astype(np.float32)
    features[:, 0] += label
    mean_proba = []
    for class_weight in (None, "balanced"):
        options = Train(class_weight=class_weight, l2=0.01, epochs=40)
        mean_proba.append(fit_one(head, options, features, label).predict(features)[:, 1].mean())
    assert mean_proba[0] < 0.25
    assert mean_proba[1] > mean_proba[0] + 0.1


def test_one_split_trains_one_head_and_patience_stops_early() -> None:
    features, label = made_features(300)
    label = np.random.default_rng(0).permutation(label)  # Nothing to learn: the loss of held-out rows only rises.
    fitted = fit(Train(folds=1, epochs=60, patience=2, learning_rate=0.05, l2=0), features, label)
    assert len(fitted.models) == 1
    assert all(len(curve["loss"]) < 60 for curve in fitted.curves)


def test_the_logistic_head_finds_what_scikit_learn_finds() -> None:
    features, label = made_features(300, 4)
    scaled = StandardScaler().fit_transform(features).astype(np.float32)
    data = data_of(Train(), scaled, label, 1, outputs=Outputs("classes", 4))
    rows = TurnedRows(scaled, None, np.zeros(20), np.ones(20))
    (solution,) = fit_path(rows, np.arange(300) < 200, data, [0.3], 1e-10)
    theirs = LogisticRegression(C=0.3, tol=1e-8).fit(scaled[:200], label[:200])
    assert pytest.approx(theirs.coef_, abs=2e-3) == solution[:-1].T


@pytest.mark.parametrize(("n_rows", "n_features"), [(50, 200), (200, 50)])
def test_turned_rows_lose_nothing(n_rows: int, n_features: int) -> None:
    features = np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(np.float32)
    rows = turned_rows(data_of(Train(), features, np.zeros(n_rows), 1), np.zeros(n_features), np.ones(n_features))
    assert rows.features.shape == (n_rows, min(n_rows, n_features))
    assert rows.features @ rows.features.T == pytest.approx(features @ features.T, abs=1e-2)
    assert features @ rows.coef(np.eye(rows.features.shape[1])) == pytest.approx(rows.features, abs=1e-3)


@pytest.mark.parametrize("pairs", ["every", "next", "fewest"])
@pytest.mark.parametrize("n_folds", [1, 2, 3, 4, 5])
def test_no_row_of_a_fold_or_its_group_decides_for_the_fold(n_folds: int, pairs: Any) -> None:
    group = np.arange(200) // 4
    label = np.arange(200) % 2
    fold = assign_folds(label, n_folds, 0, group)
    data = data_of(Train(), np.zeros((200, 1), np.float32), label, n_folds, fold=fold, group=group)
    tried = trials(data, pairs)
    assert {k for trial in tried for k in trial.decides} == set(range(n_folds))
    for trial in tried:
        for k, decides in trial.decides.items():
            assert decides.any()
            assert not (trial.trains | decides)[fold == k].any()
            assert not set(group[trial.trains]) & set(group[decides])


@pytest.mark.parametrize(
    ("columns", "n_classes", "options", "expected"),
    [
        (["A", "B"], 4, {}, "stack"),
        (["A", "columns"], 4, {}, "stack"),
        (["A", "B"], 4, {"ensemble": "blend"}, "blend"),
        (["A", "B"], 4, {"folds": 1}, "concatenate"),
        (["A"], 4, {}, "concatenate"),
        (["A", "B"], MAX_STACKED_WEIGHTS, {}, "concatenate"),
    ],
)
def test_several_backbones_are_stacked_if_they_can_be(
    columns: list[str], n_classes: int, options: dict[str, Any], expected: str
) -> None:
    features, label = made_features(20)
    parameters = Train(**options)
    fold = assign_folds(label, parameters.folds, 0)
    data = EnsembleData(features, label, Outputs("classes", n_classes), fold, np.arange(20), 0)
    assert ensemble_of(parameters, {name: slice(i, i + 1) for i, name in enumerate(columns)}, data) == expected


def test_without_a_word_networks_are_stacked() -> None:
    features, label = made_features(90)
    data = EnsembleData(features, label, Outputs("classes", 4), assign_folds(label, 3, 0), np.arange(90), 0)
    fitted = fit_ensemble(Train(head="ridge", folds=3), {"A": slice(0, 6), "B": slice(6, features.shape[1])}, data)
    assert {member.part for member in fitted.models[0].members} == {"A", "B", "all"}
    assert fitted.models[0].rule == "stack"


@pytest.mark.slow
@pytest.mark.parametrize("l2", [None, 100.0])
def test_a_penalty_that_is_steep_for_few_rows_does_not_make_the_head_diverge(l2: float | None) -> None:
    """Many features that have little in common, of few rows: the loss is flat and the penalty is not."""
    rng = np.random.default_rng(0)
    label = np.arange(24) % 2
    features = rng.standard_normal((24, 1536)).astype(np.float32) + 0.3 * label[:, None]
    data = EnsembleData(features, label, TWO, assign_folds(label, 2, 0), np.arange(24), 0)
    fitted = fit_ensemble(Train(folds=2, l2=l2, epochs=150), {"all": slice(0, 1536)}, data)
    for k in range(2):
        for numbers, proba in fitted.out_of_fold(k):
            assert log_loss(label[numbers], proba[:, 1]) < np.log(2)


def test_a_head_that_diverges_ends_in_one_line_that_names_the_parameter() -> None:
    features, label = made_features(100)
    with pytest.raises(UserError, match=r"train\.learning_rate: with 1e\+20 .* try a tenth"):
        fit(Train(learning_rate=1e20, epochs=5, l2=1), features, label)


def test_a_parameter_that_no_head_uses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    features, label = made_features(60)
    fit(Train(head="ridge", dropout=0.3, folds=2), features, label)
    assert "train.dropout: found 0.3, which changes nothing: only the dense head uses it" in capsys.readouterr().out
    fit(Train(head="ridge", folds=2), features, label)
    assert "WARNING" not in capsys.readouterr().out


def test_a_head_that_does_not_predict_numbers_says_which_do() -> None:
    y, fold = np.zeros((9, 1)), np.arange(9) % 3
    data = EnsembleData(np.zeros((9, 20), np.float32), y, Outputs("numbers", 1), fold, np.arange(9), 0)
    with pytest.raises(UserError, match="logistic does not predict numbers; take auto or one of dense, ridge"):
        fit_ensemble(Train(head="logistic"), COLUMNS, data)


def test_too_many_rows_for_memory_are_taken_over_by_the_dense_head(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    features, label = made_features(60)
    monkeypatch.setattr(linear, "MAX_NUMBERS", 60 * 20 - 1)
    fitted = fit(Train(head="logistic", folds=2, epochs=1, l2=0.01), features, label)
    assert [member.kind for member in fitted.models[0].members] == ["dense"]
    assert "too many for logistic; the dense head takes over" in capsys.readouterr().out


def test_auto_keeps_the_better_head_and_needs_folds() -> None:
    features, label = made_features(200)
    bad: dict[str, Any] = {"learning_rate": 1e-9, "l2": 0, "epochs": 1}  # Of the dense head.
    model = fit(Train(head="auto", folds=3, **bad), features, label).models[0]
    (kept,) = [member for member, weight in zip(model.members, model.weights, strict=True) if weight]
    assert kept.kind in ("logistic", "ridge")
    with pytest.raises(UserError, match="auto is fitted on some folds"):
        fit(Train(head="auto", folds=1), features, label)


def test_stacking_weighs_what_helps() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=500)
    good = softmax(2.0 * (label[:, None] == np.arange(3)) + rng.normal(size=(500, 3)), axis=1)
    noise = softmax(rng.normal(size=(500, 3)), axis=1)
    weights = fit_stack_weights(np.stack([good, noise]), label, Outputs("classes", 3))
    assert weights[0] > 0.7
    assert weights[1] < 0.2
    stacked = stack_of([good, noise], weights.tolist(), Outputs("classes", 3))
    loss = mean_row_loss(Outputs("classes", 3))
    assert loss(label, stacked) <= loss(label, good)


def test_weights_of_a_mean_of_numbers_are_those_that_made_it() -> None:
    predictions = np.random.default_rng(0).normal(size=(2, 100, 2)) * [1.0, 1e3]
    weights = fit_mean_weights(predictions, 0.3 * predictions[0] + 0.7 * predictions[1], Outputs("numbers", 2))
    assert weights == pytest.approx([0.3, 0.7], abs=1e-3)
