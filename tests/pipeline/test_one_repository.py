"""The real `dvc` on a drawn competition: what `dvc repro` makes, and which change makes which stage run.

One repository serves every test, because its first `dvc repro` takes half a minute. Each test may count on that first
run; a fixture puts the inputs back after each, so that none builds on another and any of them can be run alone. (What
a test left behind in the outputs, DVC brings back from its cache: such stages do not run.)
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.paths import ENSEMBLE, FEATURES, METRICS, MODELS, OOF, REPORT, SAMPLE, SUBMISSION, TRAINING
from gap_ensemble.storage.predictions import open_predictions
from tools.sample import draw_animal, draw_competition
from tools.workspace import COPIED, ROOT, change_params

# NumPy 2 asks for `copy`; Keras's variables do not know it yet.
pytestmark = [pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

SPLITS = ("train", "test")
N_TRAIN, N_TEST, N_FOLDS = 24, 12, 2
CLIP = (0.4, 0.6)
# Two quick networks and the number of their features: one of Keras, and one from a file, which needs no TensorFlow.
N_FEATURES = {"SmallConvNet": 128, "FromFile": 16}
FROM_FILE = {"mean": 127.5, "std": 127.5, "input_size": 32}
AFTER_ENSEMBLE = ["train", "predict", "report"]
STAGES = ["link", "networks", *(f"extract@{name}" for name in N_FEATURES), "ensemble", *AFTER_ENSEMBLE]
PLOTS = [
    *(f"metrics/{split}/{name}.tsv" for split in ("train", "val") for name in ("loss", "accuracy")),
    *(f"sklearn/{name}.json" for name in ("roc", "calibration", "confusion_matrix")),
    "images/overview.png",
]


@dataclass
class Repository:
    """A repository as `git clone` leaves it, with a read-only competition and the file of a network elsewhere."""

    folder: Path
    raw: Path
    network: Path
    # Metrics and submission of the first run.
    results: list[bytes] = field(default_factory=list)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program with this environment's `bin` first in the PATH."""
        programs = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
            "COLUMNS": "120",
        }
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def git(self, *arguments: str) -> None:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def dvc(self, *arguments: str) -> str:
        """Run `dvc`, which must succeed, and return what it printed."""
        done = self.run("dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def read(self, *names: Path) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in names]

    def change(self, change: Callable[[Any], object]) -> None:
        """Change the values of params.yaml."""
        change_params(self.folder / PARAMS_FILE, change)


def set_writable(folder: Path, writable: bool) -> None:
    """Write-protect a folder and all in it, or undo that. (Root may still write.)"""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writable else mode & ~0o222)


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, save_onnx: Callable[[Path, int], int]) -> Iterator[Repository]:
    """Return a repository after its first `dvc repro` and a commit of it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    repository = Repository(
        tmp_path_factory.mktemp("repository"), elsewhere / "competition", elsewhere / "network.onnx"
    )
    repository.git("init", "--quiet", ".")
    repository.git("config", "user.name", "test")
    repository.git("config", "user.email", "test@localhost")
    repository.dvc("init", "--quiet")
    for name in (*COPIED, PARAMS_FILE):
        source, target = ROOT / name, repository.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
        else:
            shutil.copy(source, target)

    draw_competition(repository.raw, N_TRAIN, N_TEST)
    sample_path = repository.raw / "sample_submission.csv"
    pd.read_csv(sample_path).sample(frac=1, random_state=0).to_csv(sample_path, index=False)
    set_writable(repository.raw, False)
    assert save_onnx(repository.network, 1) == N_FEATURES["FromFile"]

    def change(params: Any) -> None:
        params["data"]["raw"] = str(repository.raw)
        params["backbones"] = {
            "SmallConvNet": {"weights": "random", "input_size": 32},
            "FromFile": {"onnx": str(repository.network), **FROM_FILE},
        }
        params["train"] |= {"folds": N_FOLDS, "head": "logistic"}
        params["predict"]["clip"] = list(CLIP)

    repository.change(change)
    repository.commit("Start")
    raw_before = state(repository.raw)
    assert ran(repository.dvc("repro")) == STAGES
    assert state(repository.raw) == raw_before
    repository.commit("First run")
    repository.results = repository.read(METRICS, SUBMISSION)
    yield repository
    set_writable(repository.raw, True)


@pytest.fixture
def repository(first: Repository) -> Iterator[Repository]:
    """Return the repository, and put what a test changed of its inputs back."""
    inputs = [first.folder / PARAMS_FILE, first.network, *first.raw.glob("train/*")]
    contents = {path: path.read_bytes() for path in inputs}
    yield first
    for path, content in contents.items():
        if path.read_bytes() != content:
            rewrite(path, content)


def rewrite(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def ran(output: str) -> list[str]:
    """Return the stages that ran, but for `check`, which runs whenever params.yaml changes."""
    return re.findall(r"^Running stage '(?!check')(.+)':$", output, re.MULTILINE)


def from_cache(output: str) -> list[str]:
    return re.findall(r"^Stage '(?!check')(.+)' is cached - skipping run", output, re.MULTILINE)


def links_are_whole(repository: Repository) -> bool:
    """Tell whether every picture has a relative symbolic link to it, and nothing else lies in the link folders."""
    data = repository.folder / "data"
    links = [path for split in ("train", "test") for path in (data / split).rglob("*") if not path.is_dir()]
    expected = {data / f"train/{path.name.split('.')[0]}/{path.name}": path for path in repository.raw.glob("train/*")}
    expected |= {data / "test" / path.name: path for path in repository.raw.glob("test/*")}
    assert len(expected) == N_TRAIN + N_TEST
    return {path: path.resolve() for path in links if path.is_symlink()} == expected and not any(
        os.path.isabs(os.readlink(path)) for path in links
    )


def features_of(repository: Repository) -> np.ndarray:
    """Return the training pictures' features of all networks, side by side."""
    rows = []
    for name in N_FEATURES:
        with h5py.File(repository.folder / FEATURES / f"{name}.h5") as file:
            rows.append(file["train"][:])
    return np.concatenate(rows, axis=1)


def width_of_ensemble(repository: Repository) -> int:
    with h5py.File(repository.folder / ENSEMBLE) as file:
        assert file["train"].shape[1] == file["test"].shape[1]
        return int(file["train"].shape[1])


def test_nothing_changed_nothing_runs(repository: Repository) -> None:
    """First in this file: it wants the repository as the first run left it."""
    output = repository.dvc("repro")
    assert ran(output) == from_cache(output) == []
    assert "Data and pipelines are up to date." in output
    assert links_are_whole(repository)


def test_submission_follows_the_sample(repository: Repository) -> None:
    sample = pd.read_csv(repository.raw / SAMPLE.name)
    submission = pd.read_csv(repository.folder / SUBMISSION)
    assert list(submission.columns) == list(sample.columns)
    assert submission["id"].tolist() == sample["id"].tolist() != sorted(sample["id"])
    assert submission["label"].between(*CLIP).all()
    # The clip is narrow enough to cut something off, or the line above would say nothing.
    assert submission["label"].isin(CLIP).any()


def test_metrics_and_plots(repository: Repository) -> None:
    metrics = json.loads((repository.folder / METRICS).read_text())
    # What experiments are compared by comes first, also in DVC's tables, which are sorted by name.
    assert next(iter(metrics)) == min(metrics) == "submission_log_loss"
    assert metrics.keys() >= {"val_log_loss", "val_accuracy", "val_roc_auc", "train_n_samples", "val_n_samples"}
    assert metrics["val_n_samples"] == N_TRAIN
    assert metrics["train_n_samples"] == N_TRAIN - N_TRAIN // N_FOLDS
    rows = pd.read_csv(repository.folder / "data/rows.csv", dtype=str).set_index("row")["target"]
    with open_predictions(repository.folder / OOF) as found:
        is_dog = (rows.loc[found.row] == "dog").to_numpy()
        proba = found.values(np.arange(N_TRAIN))
    true_proba = np.where(is_dog, proba[:, 1], proba[:, 0])
    assert metrics["val_log_loss"] == pytest.approx(-np.log(true_proba).mean(), rel=1e-4)
    clipped = np.clip(proba[:, 1], *CLIP)
    loss = -np.log(np.where(is_dog, clipped, 1 - clipped)).mean()
    assert metrics["submission_log_loss"] == pytest.approx(loss, rel=1e-4)
    assert "data:image/jpeg" in (repository.folder / REPORT).read_text()

    assert all((repository.folder / TRAINING / "plots" / name).stat().st_size for name in PLOTS)
    shown = json.loads(repository.dvc("plots", "show", "--json"))
    assert not shown.get("errors")
    # Residuals are of numbers, curves of accuracy are a dense head's, and nothing has been submitted.
    empty = {"results/training/plots/residuals.csv", "accuracy", "submissions/leaderboard.csv"}
    assert {name for name, plots in shown["data"].items() if not plots} == empty


@pytest.mark.parametrize("name", N_FEATURES)
def test_feature_file(name: str, repository: Repository) -> None:
    files = {split: sorted(f"{split}/{path.name}" for path in repository.raw.glob(f"{split}/*")) for split in SPLITS}
    with h5py.File(repository.folder / FEATURES / f"{name}.h5") as file:
        assert {key: dataset.shape for key, dataset in file.items()} == {
            "train": (N_TRAIN, N_FEATURES[name]),
            "train_file": (N_TRAIN,),
            "test": (N_TEST, N_FEATURES[name]),
            "test_file": (N_TEST,),
        }
        assert file["train"].dtype == file["test"].dtype == np.float32
        for split in SPLITS:
            assert len(np.unique(file[split][:], axis=0)) == len(files[split])
            assert sorted(file[f"{split}_file"].asstr()[:]) == files[split]


def test_unknown_key_is_named_and_the_submission_comes_back(repository: Repository) -> None:
    """A key that no stage depends on but the first, which looks at all of params.yaml."""
    repository.change(lambda params: params["extract"].update(bach_size=3))
    done = repository.run("dvc", "repro")
    assert done.returncode != 0
    assert ran(done.stdout) == []  # check has found it.
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: params.yaml")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: params.yaml: extract.bach_size: unknown key")
    repository.change(lambda params: params["extract"].pop("bach_size"))
    assert ran(repository.dvc("repro")) == []
    assert repository.read(METRICS, SUBMISSION) == repository.results


def test_new_seed_shuffles_again_and_extracts_nothing(repository: Repository) -> None:
    repository.change(lambda params: params.update(seed=params["seed"] + 1))
    with h5py.File(repository.folder / ENSEMBLE) as file:
        files = file["train_row"][:].tolist()
    assert ran(repository.dvc("repro", "ensemble")) == ["ensemble"]
    with h5py.File(repository.folder / ENSEMBLE) as file:
        assert file["train_row"][:].tolist() != files
        assert sorted(file["train_row"][:]) == sorted(files)


def test_backbone_removed(repository: Repository) -> None:
    repository.change(lambda params: params["backbones"].pop("SmallConvNet"))
    assert ran(repository.dvc("repro", "ensemble")) == ["networks", "ensemble"]
    assert width_of_ensemble(repository) == N_FEATURES["FromFile"]


def test_another_network_in_a_file_of_the_same_name(
    repository: Repository, save_onnx: Callable[[Path, int], int]
) -> None:
    repository.dvc("repro")
    untouched, changed = (repository.folder / FEATURES / f"{name}.h5" for name in N_FEATURES)
    before, features = untouched.stat(), changed.read_bytes()
    save_onnx(repository.network, 2)
    assert ran(repository.dvc("repro", "ensemble")) == ["networks", "extract@FromFile", "ensemble"]
    assert changed.read_bytes() != features
    assert (untouched.stat().st_ino, untouched.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_number_of_folds_runs_no_network_and_can_be_compared(repository: Repository) -> None:
    """By an experiment, then by hand back to where it was, which costs nothing."""
    output = repository.dvc("exp", "run", "--set-param", "train.folds=3", "--name", "three")
    # The links to the networks' files are made again where another test has changed one.
    assert [name for name in ran(output) if name != "networks"] == AFTER_ENSEMBLE
    old, new = (json.loads(metrics) for metrics in (repository.results[0], *repository.read(METRICS)))
    assert old["val_log_loss"] != new["val_log_loss"]

    table = pd.read_csv(io.StringIO(repository.dvc("exp", "show", "--csv")))
    assert table["train.folds"].tolist() == [3, N_FOLDS, 3]
    assert table["val_log_loss"].tolist() == [new["val_log_loss"], old["val_log_loss"], new["val_log_loss"]]
    diff = json.loads(repository.dvc("metrics", "diff", "--json"))[str(METRICS)]["val_log_loss"]
    assert (diff["old"], diff["new"]) == (old["val_log_loss"], new["val_log_loss"])

    repository.change(lambda params: params["train"].update(folds=N_FOLDS))
    output = repository.dvc("repro")
    assert ran(output) == []
    assert from_cache(output) == AFTER_ENSEMBLE
    assert repository.read(METRICS, SUBMISSION) == repository.results


@pytest.mark.long
def test_queued_sweep_of_two_parameters_runs_no_network_and_can_be_blended(repository: Repository) -> None:
    """In copies that see nothing but what git and DVC track: the pictures are named by an absolute path."""
    shutil.copy(repository.network, repository.folder / "weights/mine.onnx")
    repository.change(lambda params: params["backbones"]["FromFile"].update(onnx="mine.onnx"))
    repository.dvc("repro")
    sweep = ("train.head=ridge", "train.ensemble=concatenate,blend", "train.class_weight=balanced,null")
    repository.dvc("exp", "run", "--queue", *(word for change in sweep for word in ("--set-param", change)))
    output = repository.dvc("exp", "run", "--run-all")
    # In a copy, links to the networks' files are made again.
    assert set(ran(output)) == {"networks", *AFTER_ENSEMBLE}
    table = pd.read_csv(io.StringIO(repository.dvc("exp", "show", "--csv", "--hide-workspace")))
    swept = table[table["train.head"] == "ridge"]
    assert len(swept) == 4
    assert swept["val_log_loss"].notna().all()
    assert swept["val_log_loss"].nunique() > 1

    names = swept["Experiment"].tolist()[:2]
    programs = [sys.executable, "-m", "tools.blend"]
    done = repository.run(*programs, *names, "workspace", "--to", "blend.csv")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^the blend +0\.\d+", done.stdout, re.MULTILINE), done.stdout
    blended = pd.read_csv(repository.folder / "blend.csv")
    assert blended["id"].tolist() == pd.read_csv(repository.raw / SAMPLE.name)["id"].tolist()
    assert blended["label"].between(*CLIP).all()
    unknown = repository.run(*programs, "workspace", "no-such-experiment")
    assert unknown.returncode == 1
    assert re.match(r"ERROR: no-such-experiment: \S+ can't be read .*accepted: an experiment's name", unknown.stderr)
    assert unknown.stderr.count("\n") == 1


def test_a_corrected_label_and_a_changed_picture_compute_one_picture(repository: Repository) -> None:
    """The label stands in the name, as in `cat.0.jpg`: the same content under another name is not computed again."""
    repository.dvc("repro")
    before = features_of(repository)
    picture = io.BytesIO()
    draw_animal("cat", np.random.default_rng(1)).save(picture, "jpeg")
    rewrite(repository.raw / "train/cat.0.jpg", picture.getvalue())
    source, target = repository.raw / "train/cat.1.jpg", repository.raw / "train/dog.100.jpg"
    set_writable(repository.raw, True)
    source.rename(target)
    try:
        output = repository.dvc("repro", "ensemble")
        assert ran(output) == ["link", *(f"extract@{name}" for name in N_FEATURES), "ensemble"]
        known = f"{N_TRAIN + N_TEST - 1} pictures are in the store; 1 are to be computed"
        assert re.findall(r"\d+ pictures are in the store.*", output) == [known] * len(N_FEATURES)
        assert links_are_whole(repository)
        # The rows lie in the order of the contents.
        assert len({row.tobytes() for row in features_of(repository)} - {row.tobytes() for row in before}) == 1
        assert json.loads(repository.dvc("status", "--json")).keys() == set(AFTER_ENSEMBLE)
    finally:
        target.rename(source)
        set_writable(repository.raw, False)


def test_forced_run_gives_the_same_bytes(repository: Repository) -> None:
    """dvc.lock holds the hash of every output; other tests have made other outputs in between."""
    assert ran(repository.dvc("repro", "--force")) == STAGES
    committed = repository.run("git", "show", "HEAD:dvc.lock").stdout
    assert (repository.folder / "dvc.lock").read_text() == committed
    assert len(list((repository.folder / MODELS).glob("fold_*"))) == N_FOLDS


def test_backbone_added(repository: Repository) -> None:
    """Last but one in this file: the new feature file stays on the disk, and DVC sees it."""
    repository.dvc("repro")
    entry = f"{{onnx: {repository.network}, mean: 127.5, std: 127.5, input_size: 48}}"
    output = repository.dvc("exp", "run", "ensemble", "--set-param", f"+backbones.Larger={entry}")
    assert ran(output) == ["networks", "extract@Larger", "ensemble"]
    assert width_of_ensemble(repository) == sum(N_FEATURES.values()) + N_FEATURES["FromFile"]


def test_only_networks_and_the_training_of_a_dense_head_import_tensorflow(repository: Repository) -> None:
    repository.dvc("repro")  # Another test may have left outputs of other inputs.
    code = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"stages.{name}").main()
    assert not {"tensorflow", "keras"} & {*sys.modules}, name
"""
    stages = ("link", "networks", "ensemble", "train", "predict", "report")
    done = repository.run("python", "-c", code, *stages)
    assert done.returncode == 0, done.stderr
