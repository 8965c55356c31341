"""What a user can get wrong, stage by stage: refused in lines that say what to mend; nothing is lost or half-written.

The stages run as programs, in a folder that already holds the outputs of an earlier run.
"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from gap_ensemble.competition.competition import read_competition, read_manifest
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Backbone
from gap_ensemble.storage.features import DATASETS, create_features
from gap_ensemble.storage.hdf5 import text_array
from tools.sample import draw_competition

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's, on every weight

RAW = Path("data/raw")
SAMPLE = RAW / "sample_submission.csv"

Expected = Sequence[Sequence[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., list[str]]


def write(path: Path, content: bytes | str = b"") -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def set_params(**values: str) -> None:
    """Change keys of params.yaml."""
    text = Path("params.yaml").read_text(encoding="utf-8")
    for key, value in values.items():
        text, n_changed = re.subn(f"(?m)^(  {key}:) [^#\n]*", rf"\1 {value} ", text)
        assert n_changed == 1
    write(Path("params.yaml"), text)


def set_backbones(entries: dict[str, str]) -> None:
    """Replace the backbones of params.yaml."""
    section = "".join(f"  {name}: {{{values}}}\n" for name, values in entries.items())
    text = Path("params.yaml").read_text(encoding="utf-8")
    write(Path("params.yaml"), re.sub(r"(?ms)^backbones:\n.*?\n\n", f"backbones:\n{section}\n", text))


def snapshot() -> dict[str, bytes | str]:
    """Return the content of every file and the target of every link that a run could lose."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in Path().rglob("*")
        if path.parts[0] not in ("gap_ensemble", "stages", "tools", "home") and (path.is_symlink() or path.is_file())
    }


def assert_refused(result: subprocess.CompletedProcess[str], before: dict[str, bytes | str]) -> list[str]:
    """Assert that a program stopped with error lines alone and left everything as it was; return those lines."""
    assert "Traceback" not in result.stdout + result.stderr
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith("ERROR: ") for line in lines)
    assert snapshot() == before
    return [line.removeprefix("ERROR: ") for line in lines]


def assert_lines(lines: list[str], expected: Expected) -> None:
    """Assert that there is a line for each expected problem, with all of its parts, and no other."""
    for parts in expected:
        assert any(all(part in line for part in parts) for line in lines), (parts, lines)
    assert len(lines) == len(expected), lines


@pytest.fixture(autouse=True)
def earlier_run(project: Path) -> None:
    """Draw a small competition, and leave what an earlier run of link wrote."""
    draw_competition(RAW, n_train=4, n_test=2)
    for name in ("manifest.csv", "competition.json", "sample_submission.csv"):
        write(project / "data" / name, f"the {name} of an earlier run\n")
    for link in ("train/cat/cat.9.jpg", "test/9.jpg"):
        (project / "data" / link).parent.mkdir(parents=True)
        (project / "data" / link).symlink_to("../../raw/gone.jpg")


@pytest.fixture
def refused(run_module: Run) -> Refused:
    """Return a function that runs a program, asserts that it refuses, and returns its error lines."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> list[str]:
        before = snapshot()
        return assert_refused(run_module(*arguments, env=env), before)

    return run


# --- link ------------------------------------------------------------------------------------------------------------


def by_folder() -> None:
    """Turn `train/cat.0.jpg` into `train/cat/0.jpg`."""
    for path in list((RAW / "train").iterdir()):
        name, number, suffix = path.name.split(".")
        (RAW / "train" / name).mkdir(exist_ok=True)
        path.rename(RAW / "train" / name / f"{number}.{suffix}")


def remove_raw() -> None:
    shutil.rmtree(RAW)


def empty_raw() -> None:
    shutil.rmtree(RAW)
    RAW.mkdir()


def only_zips() -> None:
    empty_raw()
    write(RAW / "train.zip", b"PK")
    shutil.copy(RAW / "train.zip", RAW / "test.zip")


def empty_class_folder() -> None:
    by_folder()
    (RAW / "train/bird").mkdir()


def empty_class_folder_of_two() -> None:
    by_folder()
    shutil.rmtree(RAW / "train/dog")
    (RAW / "train/dog").mkdir()


def one_class_folder() -> None:
    by_folder()
    shutil.rmtree(RAW / "train/dog")


def one_class_by_name() -> None:
    for path in (RAW / "train").glob("dog.*"):
        path.unlink()


def nameless_training_picture() -> None:
    (RAW / "train/cat.0.jpg").rename(RAW / "train/lion.jpg")


def bad_pictures() -> None:
    write(RAW / "train/cat.0.jpg")
    write(RAW / "train/dog.0.jpg", "<html>404</html>")
    content = (RAW / "test/1.jpg").read_bytes()
    write(RAW / "test/1.jpg", content[: len(content) // 2])


def many_bad_pictures() -> None:
    for i in range(30):
        write(RAW / f"train/cat.{i:02}.jpg")


def ids_and_pictures_that_differ() -> None:
    shutil.copy(RAW / "test/1.jpg", RAW / "test/1.png")
    shutil.copy(RAW / "test/1.jpg", RAW / "test/88.jpg")
    write(SAMPLE, SAMPLE.read_text() + "77,0.5\n2,0.5\n")


def two_samples() -> None:
    shutil.copy(SAMPLE, RAW / "sampleSubmission.csv")


def no_sample() -> None:
    SAMPLE.unlink()


def sample_without_rows() -> None:
    write(SAMPLE, "id,label\n")


def sample_in_utf_16() -> None:
    write(SAMPLE, "id,label\n1,0.5\n2,0.5\n".encode("utf-16"))


def sample_of_other_classes() -> None:
    write(SAMPLE, "id,cat,bird\n1,0,0\n2,0,0\n")


def misspelt_params() -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    write(Path("params.yaml"), text.replace("optimizer:", "optimiser:").replace("positive_class:", "positiv_class:"))


def other_positive_class() -> None:
    set_params(positive_class="dgo")


def other_labels() -> None:
    set_params(labels="lables.csv")


def plain_file_among_the_training_links() -> None:
    write(Path("data/train/mine.jpg"), "the only copy")


def plain_file_among_the_test_links() -> None:
    write(Path("data/test/mine.jpg"), "the only copy")


def plain_file_instead_of_a_folder() -> None:
    shutil.rmtree("data/train")
    write(Path("data/train"), "the only copy")


def link_instead_of_a_folder() -> None:
    shutil.rmtree("data/train")
    Path("elsewhere").mkdir()
    Path("data/train").symlink_to("../elsewhere")


def name_that_is_not_utf_8() -> None:
    os.rename(os.fsencode(RAW / "train/cat.0.jpg"), os.fsencode(RAW / "train") + b"/caf\xe9.0.jpg")


NO_PICTURES: Expected = (
    ("data/raw: no train", "expected in data/raw/train/", "put the competition's files there"),
    ("data/raw: no test", "expected in data/raw/test/", "put the competition's files there"),
    ("data/raw: no sample_submission.csv", "put the competition's own there"),
)
SKIP_HINT = "mend it, or set data.bad_images: skip"
LINK_REFUSES: dict[Callable[[], object], Expected] = {
    remove_raw: [("data/raw: no such folder", "data.raw", "put the competition's files there", "params.yaml")],
    empty_raw: NO_PICTURES,
    only_zips: [
        ("data/raw: no train", "test.zip, train.zip", "python -m tools.raw unpack --to data/raw"),
        ("data/raw: no test", "test.zip, train.zip", "python -m tools.raw unpack --to data/raw"),
        ("data/raw: no sample_submission.csv",),
    ],
    empty_class_folder: [("data/raw/train/bird: a class without pictures", "fill the folder or remove it")],
    one_class_folder: [("'cat'", "two classes")],
    one_class_by_name: [("'cat'", "two classes")],
    empty_class_folder_of_two: [
        ("data/raw/train/dog: a class without pictures", "fill the folder or remove it"),
        ("data/raw", "only class 'cat'", "two classes"),
    ],
    nameless_training_picture: [("data/raw/train/lion.jpg: has no class in its name", "cat.0.jpg", "move it away")],
    bad_pictures: [
        ("data/raw/train/cat.0.jpg: is empty (0 bytes)", SKIP_HINT),
        ("data/raw/train/dog.0.jpg: is no picture", SKIP_HINT),
        ("data/raw/test/1.jpg: is truncated", SKIP_HINT),
    ],
    many_bad_pictures: [
        *[(f"data/raw/train/cat.{i:02}.jpg: is empty",) for i in range(20)],
        ("and 10 more problems like these",),
    ],
    ids_and_pictures_that_differ: [
        (f"{SAMPLE}: id '2' stands 2 times", "keep one row"),
        (f"{SAMPLE}: id '1' is claimed by test/1.jpg, test/1.png", "keep one picture"),
        ("test/88.jpg: ", "sample_submission.csv", "add a row or move it away"),
        (f"{SAMPLE}: id '77' has no picture among the test files", "add it"),
    ],
    no_sample: [("data/raw: no sample_submission.csv", "put the competition's own there")],
    two_samples: [("data/raw: found data/raw/sampleSubmission.csv, data/raw/sample_submission.csv", "move")],
    sample_without_rows: [(f"{SAMPLE}: found 0 rows and 2 columns", "expected an id column")],
    sample_in_utf_16: [(f"{SAMPLE}: not readable as a table", "expected CSV in UTF-8")],
    sample_of_other_classes: [
        (f"{SAMPLE}: a class without pictures: column bird", "add pictures or drop the column"),
        (f"{SAMPLE}: no column for class dog",),
    ],
    plain_file_among_the_training_links: [
        ("data/train: found files that are no links: data/train/mine.jpg", "move them away")
    ],
    plain_file_among_the_test_links: [
        ("data/test: found files that are no links: data/test/mine.jpg", "move them away")
    ],
    plain_file_instead_of_a_folder: [("data/train", "move")],
    link_instead_of_a_folder: [("data/train", "move")],
    name_that_is_not_utf_8: [("data/raw", "not UTF-8", "rename")],
    misspelt_params: [
        ("params.yaml: train.optimiser: unknown key; did you mean optimizer?",),
        ("params.yaml: data.positiv_class: unknown key; did you mean positive_class?",),
    ],
    other_positive_class: [("params.yaml: data.positive_class: found 'dgo'", "one of cat, dog")],
    other_labels: [("params.yaml: data.labels: found 'lables.csv'", "no file data/raw/lables.csv")],
}


# Faults of the stages that these tests found. A mend turns the test red: then take its mark away.
@pytest.mark.parametrize("spoil", LINK_REFUSES, ids=lambda spoil: spoil.__name__)
def test_link_refuses(refused: Refused, spoil: Callable[[], object]) -> None:
    spoil()
    assert_lines(refused("stages.link"), LINK_REFUSES[spoil])


def test_link_with_bad_images_skip(run_module: Run) -> None:
    bad_pictures()
    set_params(bad_images="skip")
    result = run_module("stages.link")
    assert result.returncode == 0
    for name in ("train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"):
        assert f"WARNING: data/raw/{name}: is " in result.stdout
    assert result.stdout.count("WARNING") == 3
    problem = pd.read_csv("data/manifest.csv", keep_default_na=False).set_index("file")["problem"]
    assert {file: text.split(" (")[0] for file, text in problem.items()} == {
        "train/cat.0.jpg": "is empty",
        "train/cat.1.jpg": "",
        "train/dog.0.jpg": "is no picture",
        "train/dog.1.jpg": "",
        "test/1.jpg": "is truncated",
        "test/2.jpg": "",
    }
    links = {path.relative_to("data").as_posix() for path in Path("data").rglob("*.jpg") if path.is_symlink()}
    assert links == {"train/cat/cat.1.jpg", "train/dog/dog.1.jpg", "test/2.jpg"}


def test_link_with_every_picture_of_a_class_bad(refused: Refused) -> None:
    for path in (RAW / "train").glob("cat.*"):
        write(path)
    set_params(bad_images="skip")
    assert_lines(refused("stages.link"), [("a class without pictures: cat", "every one is bad", "mend or replace")])


def test_link_with_every_test_picture_bad(run_module: Run) -> None:
    for path in (RAW / "test").iterdir():
        write(path)
    set_params(bad_images="skip")
    result = run_module("stages.link")
    assert result.returncode == 0, result.stderr
    assert "0 test pictures" in result.stdout


# --- extract ---------------------------------------------------------------------------------------------------------


def test_extract_reports_every_bad_entry_at_once(refused: Refused) -> None:
    set_backbones(
        {
            "Xcepton": "weights: random",
            "Mine": "weights: random, backbone: resnet50v3",
            "ResNet50": "weights: random, input_size: 16",
            "MobileNet": "weights: mine.weights.h5",
            "VGG16": "weights: random",
        }
    )
    lines = refused("stages.extract", "VGG16")
    assert_lines(
        lines,
        [
            ("backbones.Xcepton: unknown network 'Xcepton'", "keras.applications", "nearest: Xception, "),
            ("backbones.Mine: unknown network 'resnet50v3'", "nearest: ", "ResNet50V2"),
            ("backbones.ResNet50.input_size: found 16; ResNet50 takes 32 or more", "leave input_size out"),
            ("backbones.MobileNet.weights: weights/mine.weights.h5: no such file", "imagenet, random, or a file"),
        ],
    )
    assert all(line.startswith("params.yaml: ") for line in lines)


def test_extract_without_network(refused: Refused, project: Path) -> None:
    """The message holds all that is needed to fetch the file elsewhere: address, hash, and where it belongs."""
    set_backbones({"ResNet50": "weights: imagenet"})
    nowhere = "http://127.0.0.1:9"
    env = {"KERAS_HOME": str(project / "home"), "https_proxy": nowhere, "HTTPS_PROXY": nowhere, "no_proxy": ""}
    (line,) = refused("stages.extract", "ResNet50", env=env)
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    for part in (
        "backbones.ResNet50: the ImageNet weights can't be loaded: [Errno 111] Connection refused; ",
        f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{name}",
        "4d473c1dd8becc155b73f8504c6f6626",
        f"put it at {project}/home/models/{name}",
        "backbones.ResNet50.weights: FILE",
    ):
        assert part in line


@pytest.fixture(scope="session")
def weights_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of weights files for MobileNet, most of which are none."""
    from gap_ensemble.networks.backbones import Network

    folder = tmp_path_factory.mktemp("weights")
    network = Network("MobileNet", Backbone(weights="random", input_size=32))
    network.model.set_weights([array + 0.25 for array in network.model.get_weights()])
    network.model.save_weights(folder / "good.weights.h5")
    other = Network("MobileNetV2", Backbone(weights="random", input_size=32))
    other.model.save_weights(folder / "other.weights.h5")
    content = (folder / "good.weights.h5").read_bytes()
    write(folder / "truncated.weights.h5", content[: len(content) // 2])
    write(folder / "incomplete.weights.h5", content)
    with h5py.File(folder / "incomplete.weights.h5", "a") as file:
        del file["layers/conv2d/vars/0"]
    write(folder / "empty.h5")
    write(folder / "text.h5", "<html>404</html>")
    write(folder / "good.pt", content)
    with h5py.File(folder / "features.weights.h5", "w") as file:
        file["train"] = np.zeros((2, 3))
    return folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other.weights.h5", "could not be loaded"),
        ("truncated.weights.h5", "truncated file"),
        ("incomplete.weights.h5", "could not be loaded"),
        ("features.weights.h5", "could not be loaded"),
        ("empty.h5", "file signature not found"),
        ("text.h5", "file signature not found"),
        ("good.pt", "its suffix is '.pt' instead of .weights.h5 or .h5"),
    ],
)
def test_weights_file_that_does_not_fit(weights_files: Path, name: str, reason: str) -> None:
    from gap_ensemble.networks.backbones import Network

    entry = Backbone(weights=str(weights_files / name), backbone="MobileNet", input_size=32)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(UserError) as caught:
        Network("Mine", entry)
    # Keras warns of every layer by itself; no more than the one line must reach the user.
    assert not [warning for warning in warned if issubclass(warning.category, UserWarning)]
    (line,) = caught.value.problems
    assert line.startswith(f"{weights_files / name}: does not fit MobileNet (backbones.Mine.weights): ")
    assert reason in line
    assert "accepted: a whole file of this network's weights without its top" in line
    assert "\n" not in line


def test_extract_leaves_nothing_behind(weights_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program itself, in this process: it would only spend seconds on importing TensorFlow again."""
    from stages import extract

    shutil.copy(weights_files / "truncated.weights.h5", "weights/mine.weights.h5")
    set_backbones({"MobileNet": "weights: mine.weights.h5, input_size: 32"})
    before = snapshot()
    monkeypatch.setattr(sys, "argv", ["stages.extract", "MobileNet"])
    with pytest.raises(UserError, match=r"^weights/mine\.weights\.h5: does not fit MobileNet"):
        extract.main()
    assert snapshot() == before


def test_weights_file_that_fits(weights_files: Path) -> None:
    from gap_ensemble.networks.backbones import Network

    loaded = Network("MobileNet", Backbone(weights=str(weights_files / "good.weights.h5"), input_size=32))
    untrained = Network("MobileNet", Backbone(weights="random", input_size=32))
    for one, other in zip(loaded.model.get_weights(), untrained.model.get_weights(), strict=True):
        assert np.allclose(one, other + 0.25)


@pytest.mark.parametrize("read", [read_manifest, read_competition])
def test_stages_that_run_before_link(read: Callable[[], object]) -> None:
    shutil.rmtree("data")
    with pytest.raises(UserError, match=r"^data/.*: no such file; run `dvc repro"):
        read()


# --- ensemble --------------------------------------------------------------------------------------------------------


def write_feature_file(
    name: str,
    train_files: Sequence[str] = ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"),
    label: Sequence[int] = (0, 0, 1, 1),
    test_files: Sequence[str] = ("1.jpg", "2.jpg"),
    class_names: Sequence[str] = ("cat", "dog"),
    n_features: int = 3,
) -> None:
    """Write `features/gap/NAME.h5`."""
    path = Path(f"features/gap/{name}.h5")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "label": np.array(label, np.int32),
        "train_file": text_array(train_files),
        "test_file": text_array(test_files),
        "class_names": text_array(class_names),
    }
    with h5py.File(path, "w") as file:
        create_features(file, n_features, rows, {"backbone": name})
        file["train"][:], file["test"][:] = 1, 2
        assert set(file) == set(DATASETS)


@pytest.fixture
def feature_files() -> list[str]:
    """Write feature files that fit together, and an ensemble of an earlier run."""
    names = ["First", "Order", "Count", "Classes", "Test"]
    set_backbones(dict.fromkeys(names, "weights: random"))
    for name in names:
        write_feature_file(name)
    write(Path("features/ensemble.h5"), "the ensemble of an earlier run")
    return names


def test_ensemble_names_every_file_with_other_rows(refused: Refused, feature_files: list[str]) -> None:
    write_feature_file("Order", train_files=("cat.1.jpg", "cat.0.jpg", "dog.0.jpg", "dog.1.jpg"))
    write_feature_file("Count", train_files=("cat.0.jpg", "cat.1.jpg", "dog.0.jpg"), label=(0, 0, 1))
    write_feature_file("Classes", class_names=("cat", "dot"))
    write_feature_file("Test", test_files=("2.jpg", "1.jpg"))
    found = [
        "train_file row 0 is cat.1.jpg instead of cat.0.jpg",
        "3 rows of label instead of 4",
        "class_names row 1 is dot instead of dog",
        "test_file row 0 is 2.jpg instead of 1.jpg",
    ]
    assert_lines(
        refused("stages.ensemble"),
        [
            (f"features/gap/{name}.h5: ", "same order as First.h5", text, "dvc repro --force", f"extract@{name}")
            for name, text in zip(feature_files[1:], found, strict=True)
        ],
    )


def cut(path: Path) -> None:
    write(path, path.read_bytes()[:-100])


def make_foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = [1]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (Path.unlink, "no such file"),
        (cut, "not a whole HDF5 file"),
        (lambda path: write(path, "text"), "not a whole HDF5 file"),
        (write, "not a whole HDF5 file"),
        (make_foreign, "not a feature file: it has no dataset 'train'"),
    ],
)
@pytest.mark.usefixtures("feature_files")
def test_ensemble_refuses_a_file(refused: Refused, spoil: Callable[[Path], object], found: str) -> None:
    spoil(Path("features/gap/Count.h5"))
    assert_lines(refused("stages.ensemble"), [(f"features/gap/Count.h5: {found}", "run `dvc repro`")])


# --- disks -----------------------------------------------------------------------------------------------------------


def on_a_disk_of_its_own(folder: str, options: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module while `folder` is a disk of its own with these options; what it leaves there is copied back."""
    script = (
        'cp -a "$1" before && mount -t tmpfs none "$1" && cp -a before/. "$1" && rm -r before && '
        'mount -o "remount,$2" "$1" && folder=$1 && shift 2 && "$@"; status=$?; '
        'mkdir after && cp -a "$folder"/. after; exit $status'
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", folder, options]
    if subprocess.run([*command[:3], "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("needs to mount a small disk, which this system forbids")
    result = subprocess.run([*command, sys.executable, "-m", *arguments], capture_output=True, text=True)
    shutil.rmtree(folder)
    Path("after").rename(folder)
    return result


def test_link_on_a_full_disk() -> None:
    """The last thing that link writes is the manifest; here it goes to a device that is always full."""
    Path("data/.manifest.csv.partial").symlink_to("/dev/full")
    manifest = Path("data/manifest.csv").read_bytes()
    result = subprocess.run([sys.executable, "-m", "stages.link"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "No space left on device; make room" in result.stderr
    assert Path("data/manifest.csv").read_bytes() == manifest
    assert not list(Path("data").glob(".*"))


def test_link_on_a_read_only_disk() -> None:
    Path("data/raw").rename("pictures")
    set_params(raw="pictures")
    before = snapshot()
    lines = assert_refused(on_a_disk_of_its_own("data", "ro", "stages.link"), before)
    assert_lines(lines, [("data/", "Read-only file system", "make it writable")])


@pytest.mark.usefixtures("feature_files")
def test_ensemble_on_a_full_disk() -> None:
    for name in ("First", "Order", "Count", "Classes", "Test"):
        write_feature_file(name, n_features=2_000)
    before = snapshot()
    lines = assert_refused(on_a_disk_of_its_own("features", "size=450k", "stages.ensemble"), before)
    assert_lines(lines, [("features", "make room")])
