"""Blends of experiments: which rows count, what the weights are fitted to, and what is said of a blend."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gap_ensemble.competition.found import Competition, Found, Submission, TaskDescription, write_competition
from gap_ensemble.experiments import common, comparison, revisions
from gap_ensemble.experiments.blending import Blend, fit_blend, write_blend
from gap_ensemble.experiments.common import Shared, out_of_fold
from gap_ensemble.experiments.comparison import blend_experiments, compare_experiments
from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import COMPETITION, OOF, ROWS, TEST
from gap_ensemble.storage.predictions import open_predictions, prediction_writer
from tools.workspace import ROOT

N = 60
CLASSES = Competition(
    TaskDescription("classes", ["cat", "dog"], "", "log_loss"), Submission("probability", ["id", "label"], "dog")
)
Y = np.arange(N) % 2


@pytest.fixture
def experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which each experiment is a folder, and the current one holds a competition."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows = pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(N)] + ["1", "2"],
            "split": ["train"] * N + ["test"] * 2,
            "pictures": 1,
            "group": "",
            "target": [CLASSES.task.names[label] for label in Y] + ["", ""],
        }
    )
    write_competition(Found(CLASSES, pd.DataFrame(), rows, pd.DataFrame({"id": ["2", "1"], "label": "0.5"})))
    for module in (common, comparison):
        monkeypatch.setattr(module, "fetch", lambda name, path, _folder: tmp_path / name / path)
    return tmp_path


def write_experiment(
    folder: Path, values: np.ndarray, chosen: np.ndarray | None = None, competition: Path | None = None
) -> None:
    """Write an experiment with predictions (N, n_outputs) for the chosen rows, in that order."""
    chosen = np.arange(N) if chosen is None else chosen
    fold = (1 + chosen % 3).astype(np.int32)
    for path, row, of_row in ((OOF, [f"r{i}" for i in chosen], fold), (TEST, ["1", "2"], np.zeros(2, np.int32))):
        with prediction_writer(folder / path, row, of_row, values.shape[1]) as writer:
            writer.add(values[chosen] if path == OOF else values[:2])
    (folder / COMPETITION).parent.mkdir(parents=True)
    (folder / COMPETITION).write_text((competition or COMPETITION).read_text())
    (folder / ROWS).write_text(ROWS.read_text())


def probabilities(of_truth: np.ndarray | float) -> np.ndarray:
    """Return probabilities (N, 2) that give the true class so much."""
    true = np.broadcast_to(of_truth, N)
    return np.stack([np.where(Y == 0, true, 1 - true), np.where(Y == 1, true, 1 - true)], axis=1).astype(np.float32)


def test_rows_that_all_have_count_in_any_order_of_arguments(
    experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(experiments / "a", probabilities(0.7), np.arange(N - 1, -1, -1))
    write_experiment(experiments / "b", probabilities(np.linspace(0.5, 0.9, N)), np.arange(0, N, 2))
    seen = {}
    for names in (["a", "b"], ["b", "a"]):
        with out_of_fold(names, pd.Index([f"r{i}" for i in range(N)]), experiments) as shared:
            seen[names[0]] = (shared.row, shared.fold.tolist(), shared.parts["b"].values(slice(0, 3)).tolist())
    assert seen["a"] == seen["b"]
    assert seen["a"][0] == [f"r{i}" for i in range(0, N, 2)]
    assert seen["a"][2] == probabilities(np.linspace(0.5, 0.9, N))[[0, 2, 4]].tolist()
    compare_experiments(["b", "a"])
    assert "30 rows are in all experiments and count, of 30 (b), 60 (a)" in capsys.readouterr().out


def test_differences_are_taken_fold_by_fold(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = np.arange(N) % 3  # What is hard in one experiment is hard in the other.
    write_experiment(experiments / "a", probabilities(np.array([0.9, 0.85, 0.8])[fold]))
    write_experiment(experiments / "b", probabilities(np.array([0.7, 0.66, 0.62])[fold]))
    write_experiment(experiments / "c", probabilities(np.array([0.7, 0.8, 0.88])[fold]))
    compare_experiments(["b", "a", "c"])
    out = capsys.readouterr().out
    (of_b,) = (line for line in out.splitlines() if line.startswith("b against a: +0."))
    (of_c,) = (line for line in out.splitlines() if line.startswith("c against a: "))
    assert of_b.endswith("in 3 folds: worse by more than noise")
    assert of_c.endswith("in 3 folds: within noise (4.3 standard errors)")
    assert "WARNING" not in out


def test_other_folds_and_other_targets_are_said(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        write_experiment(experiments / name, probabilities(0.7))
    corrected = ROWS.read_text().replace("r0,train,1,,cat", "r0,train,1,,dog")
    (experiments / "b" / ROWS).write_text(corrected)
    fold = (1 + (np.arange(N) + 1) % 3).astype(np.int32)
    with prediction_writer(experiments / "b" / OOF, [f"r{i}" for i in range(N)], fold, 2) as writer:
        writer.add(probabilities(0.7))
    compare_experiments(["a", "b"])
    out = capsys.readouterr().out
    assert "WARNING: b: 60 of 60 rows validate in other folds than those of a" in out
    assert "no verdict, since the folds are not the same" in out
    assert "WARNING: b: was trained on other targets in 1 of 60 rows" in out
    blend_experiments(["a", "b"], "mean", Path("blend.csv"))
    assert "WARNING: b: was trained on other targets in 1 of 60 rows" in capsys.readouterr().out


def test_numbers_are_compared_with_what_few_folds_allow(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = TaskDescription("numbers", ["weight"], "", "rmse")
    y = np.linspace(-1, 11, N).clip(0, 10)  # Both ends occur in every fold: numbers stay within the range of the rest.
    rows = pd.DataFrame(
        {"row": [f"r{i}" for i in range(N)], "split": "train", "pictures": 1, "group": "", "target_0": y}
    )
    write_competition(Found(Competition(description, None), pd.DataFrame(), rows, pd.DataFrame()))
    inwards = np.where(y < 5, 1, -1)
    for name, rmse_of_fold in (("a", [0.1, 0.1, 0.1]), ("b", [0.2, 0.3, 0.4])):
        write_experiment(experiments / name, (y + inwards * np.array(rmse_of_fold)[np.arange(N) % 3])[:, None])
    (experiments / "b" / ROWS).write_text(ROWS.read_text().replace("r1,train,1,,0.0", "r1,train,1,,0.5"))
    compare_experiments(["a", "b"])
    out = capsys.readouterr().out
    # 3.5 standard errors, which are not much in three folds.
    assert "b against a: +0.2000 ± 0.0577, mean and standard error of the differences in 3 folds: within noise" in out
    assert "WARNING: b: was trained on other targets in 1 of 60 rows" in out


def test_the_weights_of_a_fold_do_not_know_its_truth(experiments: Path) -> None:
    fold = 1 + np.arange(N) % 3
    write_experiment(experiments / "a", probabilities(np.where(fold == 1, 0.99, 0.05)))
    write_experiment(experiments / "b", probabilities(np.where(fold == 1, 0.05, 0.99)))
    with out_of_fold(["a", "b"], pd.Index([f"r{i}" for i in range(N)]), experiments) as shared:
        blend = fit_blend(shared, Y, "classes", "fitted")
        write_blend(experiments / "blend.h5", shared, blend)
    # Without fold 1, b is best, and so fold 1 is predicted as b predicts it.
    with open_predictions(experiments / "blend.h5") as predictions:
        of_fold_1 = predictions.values(np.flatnonzero(predictions.fold == 1))
    np.testing.assert_allclose(of_fold_1, probabilities(0.05)[fold == 1], atol=0.01)


def test_a_single_split_still_has_rows_to_fit_weights_on(experiments: Path) -> None:
    write_experiment(experiments / "a", probabilities(0.7), np.arange(0, N, 3))  # All of fold 1.
    with out_of_fold(["a"], pd.Index([f"r{i}" for i in range(N)]), experiments) as shared:
        assert len(np.unique(shared.fold)) == 5


def test_a_better_blend_is_written_with_its_scores(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate("ab"):
        noisy = np.clip(np.random.default_rng(seed).normal(0.7, 0.2, N), 0.05, 0.95)
        write_experiment(experiments / name, probabilities(noisy))
    blend_experiments(["a", "b"], "fitted", Path("submissions/blend.csv"))
    out = capsys.readouterr().out
    assert "WARNING" not in out
    written = pd.read_csv("submissions/blend.csv", dtype={"id": str})
    assert written["id"].tolist() == ["2", "1"]  # As in the sample.
    scores = json.loads(Path("submissions/blend.json").read_text())
    assert f"{scores['submission_log_loss']:.4f}" in out
    assert scores["val_n_samples"] == N
    assert scores["experiment"] == "blend of a b"


def test_a_blend_that_does_not_pay_says_so(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(experiments / "good", probabilities(0.95))
    write_experiment(experiments / "bad", probabilities(0.4))
    for how, doubt in (
        ("fitted", "the blend is a copy of good, whose weight is 1.000"),
        ("mean", "the blend is no better than its best part out of fold: "),
    ):
        blend_experiments(["good", "bad"], how, Path("submissions/blend.csv"))
        (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("WARNING"))
        assert warning.startswith(f"WARNING: {doubt}")


def test_other_classes_are_refused(experiments: Path) -> None:
    other = experiments / "other.json"
    other.write_text(COMPETITION.read_text().replace("dog", "horse"))
    write_experiment(experiments / "a", probabilities(0.9))
    write_experiment(experiments / "b", probabilities(0.9), competition=other)
    with pytest.raises(UserError, match=r"^b: predicts 2 classes \(cat, horse\), and data/competition.json here has"):
        blend_experiments(["a", "b"], "fitted", Path("submissions/blend.csv"))


@pytest.mark.parametrize(
    ("kind", "how", "expected"),
    [
        ("classes", "mean", [0.5, 0.5]),
        ("classes", "geometric", [0.5, 0.5]),
        ("labels", "geometric", [0.5, 0.5]),
        ("numbers", "mean", [0.5, 0.5]),
    ],
)
def test_equal_weights(kind: str, how: str, expected: list[float]) -> None:
    values = [np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])]
    blended = Blend(kind, how, np.array([0.5, 0.5])).combine(values, np.array([0.5, 0.5]))  # type: ignore[arg-type]
    np.testing.assert_allclose(blended, [expected])


def test_numbers_get_the_weights_of_least_squares(tmp_path: Path) -> None:
    y = np.linspace(0, 10, N)[:, None]
    parts = {}
    for name, error in (("low", -1.0), ("high", 3.0)):
        with prediction_writer(tmp_path / name, [str(i) for i in range(N)], np.ones(N, int), 1) as writer:
            writer.add(y + error)
    with open_predictions(tmp_path / "low") as low, open_predictions(tmp_path / "high") as high:
        parts = {"low": common.Part(low, np.arange(N)), "high": common.Part(high, np.arange(N))}
        blend = fit_blend(Shared(low.row, 1 + np.arange(N) % 3, parts, 1), y, "numbers", "fitted")
    np.testing.assert_allclose(blend.weights, [0.75, 0.25], atol=0.01)


def test_an_unknown_experiment_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no git repository here") as error:
        revisions.fetch("frosty-gnat", OOF, tmp_path)
    assert len(error.value.problems) == 1


def test_labels_get_the_weights_of_the_likelihood(tmp_path: Path) -> None:
    y = np.stack([Y, 1 - Y], axis=1)
    for name, of_truth in (("good", 0.9), ("bad", 0.4)):
        with prediction_writer(tmp_path / name, [str(i) for i in range(N)], np.ones(N, int), 2) as writer:
            writer.add(np.where(y == 1, of_truth, 1 - of_truth))
    with open_predictions(tmp_path / "good") as good, open_predictions(tmp_path / "bad") as bad:
        parts = {"good": common.Part(good, np.arange(N)), "bad": common.Part(bad, np.arange(N))}
        blend = fit_blend(Shared(good.row, 1 + np.arange(N) % 3, parts, 2), y, "labels", "fitted")
    np.testing.assert_allclose(blend.weights, [1, 0], atol=0.01)
