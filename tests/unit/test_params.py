"""params.yaml: what a user mistypes is refused in one line that names it; nothing mistyped is ever a default."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Params, load_params
from tools.workspace import ROOT

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
OPTIMIZERS = "adadelta, adafactor, adagrad, adam, adamax, adamw, lion, nadam, rmsprop, sgd"

TEXT = """\
seed: 2017

data:
  raw: data/raw  # a comment
  labels: auto
  positive_class: null
  bad_images: error

finetune: {}
cluster: {address: null}
extract:
  batch_size: 16

ensemble:
  duplicates: 0.95

backbones:
  ResNet50: {weights: imagenet}
  Xception: {weights: imagenet}

train:
  folds: 5
  normalize: true
  dropout: 0.5
  optimizer: adam
  learning_rate: 0.001
  batch_size: 128
  epochs: 8

predict:
  clip: [0.005, 0.995]
"""

Load = Callable[[str], Params]
Report = Callable[[str], list[str]]


def changed(*replacements: tuple[str, str]) -> str:
    """Return TEXT with pieces of it replaced."""
    text = TEXT
    for old, new in replacements:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that reads a text as params.yaml."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> Params:
        Path("params.yaml").write_text(text, encoding="utf-8")
        return load_params()

    return load_text


@pytest.fixture
def report(load: Load) -> Report:
    """Return a function that gives the lines in which a text is refused."""

    def refused(text: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            load(text)
        for line in caught.value.problems:
            assert line.startswith("params.yaml: ")
            assert "\n" not in line
        return caught.value.problems

    return refused


def test_the_shipped_file(load: Load) -> None:
    params = load(SHIPPED)
    assert set(params.backbones) >= {"ResNet50", "Xception", "InceptionV3"}
    assert {entry.weights for entry in params.backbones.values()} == {"imagenet"}


def test_the_shipped_file_shows_the_defaults(load: Load) -> None:
    """Every key of these sections stands in the file, with the value that it has without it."""
    params = load(SHIPPED)
    short = re.sub(r"(?ms)^(extract|train):.*?(?=^\S|\Z)", r"\1: {}\n", SHIPPED)
    assert load(short) == params
    for section in (params.data, params.extract, params.ensemble, params.train, params.predict):
        for key in type(section).model_fields:
            assert f"\n  {key}: " in SHIPPED


@pytest.mark.parametrize("key", Params.model_fields)
def test_misspelt_section(report: Report, key: str) -> None:
    wrong = f"{key[:2]}_{key[2:]}"
    assert report(re.sub(f"(?m)^{key}:", f"{wrong}:", TEXT)) == [
        f"params.yaml: {wrong}: unknown key; did you mean {key}?"
    ]


def test_missing_section(report: Report) -> None:
    line = "params.yaml: seed: missing; add it (the file in the repository shows a value)"
    assert report(TEXT.replace("seed: 2017\n", "")) == [line]


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("raw: data/raw", "raw: data/raw\n  train: 3", "data.train: found 3; accepted: a text, [a text, …]"),
        ("folds: 5", "folds: 5\n  hidden: [64, 0]", "train.hidden: found [64, 0]; accepted: [a whole number ≥ 1, …]"),
        (
            "raw: data/raw",
            "raw: data/raw\n  grey_scale: [1]",
            "data.grey_scale: found [1]; accepted: auto, [a number, a number]",
        ),
        (
            "folds: 5",
            "folds: 5\n  class_weight: balancd",
            "train.class_weight: found 'balancd'; accepted: balanced, null (did you mean balanced?)",
        ),
    ],
)
def test_a_value_of_several_types_is_one_problem(report: Report, right: str, wrong: str, line: str) -> None:
    assert report(changed((right, wrong))) == [f"params.yaml: {line}"]


@pytest.mark.parametrize(
    ("section", "right", "wrong"),
    [
        ("data", "raw", "rwa"),
        ("data", "labels", "label"),
        ("data", "positive_class", "positiveclass"),
        ("data", "bad_images", "bad_pictures"),
        ("extract", "batch_size", "batchsize"),
        ("train", "folds", "fold"),
        ("train", "normalize", "normalise"),
        ("train", "dropout", "drop_out"),
        ("train", "optimizer", "optimiser"),
        ("train", "learning_rate", "learningrate"),
        ("train", "batch_size", "batch-size"),
        ("train", "epochs", "epoch"),
        ("predict", "clip", "clips"),
    ],
)
def test_misspelt_key(report: Report, section: str, right: str, wrong: str) -> None:
    text = re.sub(rf"(?ms)(^{section}:.*?^  ){right}:", rf"\1{wrong}:", TEXT, count=1)
    assert report(text) == [f"params.yaml: {section}.{wrong}: unknown key; did you mean {right}?"]


@pytest.mark.parametrize(
    ("right", "wrong"), [("weights", "weight"), ("input_size", "inputsize"), ("backbone", "back_bone")]
)
def test_misspelt_key_of_a_backbone(report: Report, right: str, wrong: str) -> None:
    values = "{weights: random, input_size: 128, backbone: Xception}".replace(right, wrong)
    lines = report(changed(("Xception: {weights: imagenet}", f"Small: {values}")))
    assert f"params.yaml: backbones.Small.{wrong}: unknown key; did you mean {right}?" in lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            TEXT + "cache: 1\n",
            "cache: unknown key; known here: seed, data, backbones, finetune, extract, cluster, ensemble, train, "
            "predict",
        ),
        (
            changed(("  epochs: 8", "  epochs: 8\n  warmup: 3")),
            "train.warmup: unknown key; known here: head, ensemble, seeds, folds, class_weight, normalize, hidden, "
            "dropout, l2, label_smoothing, optimizer, learning_rate, batch_size, epochs, patience",
        ),
        (changed(("address: null", "adress: null")), "cluster.adress: unknown key; did you mean address?"),
        (TEXT + "  colour: red\n", "predict.colour: unknown key; known here: clip"),
        (
            changed(("Xception: {", "Xception: {crop: 5, ")),
            "backbones.Xception.crop: unknown key; known here: weights, preset, onnx, backbone, input_size, pooling, arguments, mean, std, output",  # noqa: E501
        ),
    ],
)
def test_unknown_key_without_a_near_one(report: Report, text: str, line: str) -> None:
    assert report(text) == [f"params.yaml: {line}"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ("learning_rate: 0", "finetune.A.learning_rate: found 0; accepted: a number > 0 and ≤ 10"),
        ("learning_rate: 100", "finetune.A.learning_rate: found 100; accepted: a number > 0 and ≤ 10"),
        ("momentum: 1", "finetune.A.momentum: found 1; accepted: a number ≥ 0 and < 1"),
        ("held_out: 1.5", "finetune.A.held_out: found 1.5; accepted: a number ≥ 0.05 and ≤ 0.9"),
        ("input_size: 0", "finetune.A.input_size: found 0; accepted: a whole number ≥ 1 and ≤ 4096, null"),
        ("augment: {shere: 1}", "finetune.A.augment.shere: unknown key; did you mean shear?"),
        ("last_block: 2", "finetune.A.last_block: unknown key; did you mean last_blocks?"),
        ("optimizer: adam, momentum: 0.5", "finetune.A: momentum is sgd's; leave it out with adam"),
        ("train_from: x, last_blocks: 1", "finetune.A: give train_from or last_blocks, not both"),
    ],
)
def test_values_of_finetune(report: Report, values: str, line: str) -> None:
    lines = report(changed(("finetune: {}", f"finetune: {{A: {{weights: random, {values}}}}}")))
    assert any(found.startswith(f"params.yaml: {line}") for found in lines), lines


@pytest.mark.parametrize(
    ("found", "near"), [("adm", "adam"), ("Adam", "adam"), ("SGD", "sgd"), ("rms_prop", "rmsprop"), ("adamW", "adamw")]
)
def test_misspelt_optimizer(report: Report, found: str, near: str) -> None:
    line = f"params.yaml: train.optimizer: found '{found}'; accepted: {OPTIMIZERS}, null (did you mean {near}?)"
    assert report(changed(("adam", found))) == [line]


def test_unknown_optimizer(report: Report) -> None:
    line = f"params.yaml: train.optimizer: found 'quickest'; accepted: {OPTIMIZERS}, null"
    assert report(changed(("adam", "quickest"))) == [line]


@pytest.mark.parametrize("name", OPTIMIZERS.split(", "))
def test_every_optimizer(load: Load, name: str) -> None:
    assert load(changed(("adam", name))).train.optimizer == name


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("[0.9, 0.1]", "[0.9, 0.1]"),
        ("[0, 0]", "[0, 0]"),
        ("[-0.1, 1]", "[-0.1, 1]"),
        ("[0, 1.1]", "[0, 1.1]"),
        ("[-1, 2]", "[-1, 2]"),
        ("0.005", "0.005"),
        ("[0.5]", "[0.5]"),
        ("[]", "[]"),
        ("[0, 0.5, 1]", "[0, 0.5, 1]"),
        ("none", "'none'"),
        ("[low, high]", "['low', 'high']"),
        ("{low: 0, high: 1}", "{'low': 0, 'high': 1}"),
        ("[.nan, 1]", "[nan, 1]"),
    ],
)
def test_bad_clip(report: Report, written: str, found: str) -> None:
    line = f"params.yaml: predict.clip: found {found}; accepted: auto, null, or [low, high] with 0 ≤ low < high ≤ 1"
    assert report(changed(("[0.005, 0.995]", written))) == [line]


@pytest.mark.parametrize("written", ["[0, 1]", "[0.0, 1.0]", "[0, 0.5]", "[1e-15, 1]", "\n    - 0.1\n    - 0.9"])
def test_good_clip(load: Load, written: str) -> None:
    clip = load(changed(("[0.005, 0.995]", written))).predict.clip
    assert isinstance(clip, tuple)
    low, high = clip
    assert 0 <= low < high <= 1


@pytest.mark.parametrize(
    ("right", "wrong", "key", "message"),
    [
        ("seed: 2017", "seed: -1", "seed", "found -1; accepted: a whole number ≥ 0 and < 4294967296"),
        ("seed: 2017", "seed: 4294967296", "seed", "found 4294967296; accepted: a whole number ≥ 0 and < 4294967296"),
        ("seed: 2017", "seed: now", "seed", "found 'now'; accepted: a whole number ≥ 0"),
        ("raw: data/raw", "raw: ''", "data.raw", "found ''; accepted: a text that is not empty"),
        ("bad_images: error", "bad_images: drop", "data.bad_images", "found 'drop'; accepted: error, skip"),
        ("batch_size: 16", "batch_size: 0", "extract.batch_size", "found 0; accepted: a whole number ≥ 1, null"),
        ("folds: 5", "folds: 2.5", "train.folds", "found 2.5; accepted: a whole number ≥ 1 and ≤ 100"),
        ("normalize: true", "normalize: maybe", "train.normalize", "found 'maybe'; accepted: true, false, null"),
        ("dropout: 0.5", "dropout: 1", "train.dropout", "found 1; accepted: a number ≥ 0 and < 1, null"),
        ("learning_rate: 0.001", "learning_rate: 0", "train.learning_rate", "found 0; accepted: a number > 0, null"),
        (
            "learning_rate: 0.001",
            "learning_rate: .inf",
            "train.learning_rate",
            "found inf; accepted: a number > 0, null",
        ),
        (
            "learning_rate: 0.001",
            "learning_rate: 1,5",
            "train.learning_rate",
            "found '1,5'; accepted: a number > 0, null",
        ),
        (
            "ResNet50: {weights: imagenet}",
            "ResNet50: {weights: random, input_size: 9000}",
            "backbones.ResNet50.input_size",
            "found 9000; accepted: a whole number ≥ 1 and ≤ 4096, null",
        ),
        (
            "ResNet50: {weights: imagenet}",
            "ResNet50: {}",
            "backbones.ResNet50",
            "found none of weights, preset, onnx; give one, such as weights: imagenet",
        ),
        (
            "ResNet50: {weights: imagenet}",
            "ResNet50: imagenet",
            "backbones.ResNet50",
            "found 'imagenet'; expected below it: weights, preset, onnx, backbone",
        ),
        (
            "finetune: {}",
            "finetune:",
            "finetune",
            "found null; expected below it: NAME: {weights: imagenet}, or {} for none",
        ),
        ("predict:\n  clip: [0.005, 0.995]", "predict:", "predict", "found null; expected below it: clip"),
    ],
)
def test_bad_value(report: Report, right: str, wrong: str, key: str, message: str) -> None:
    (line,) = report(changed((right, wrong)))
    assert line.startswith(f"params.yaml: {key}: {message}")


@pytest.mark.parametrize("value", ["[ResNet50]", "ResNet50", "{}"])
def test_backbones_that_are_no_entries(report: Report, value: str) -> None:
    text = re.sub(r"(?ms)^backbones:.*(?=^train:)", f"backbones: {value}\n\n", TEXT)
    (line,) = report(text)
    assert line.startswith("params.yaml: backbones: found ")


@pytest.mark.parametrize("name", ["a/b", "../x", "'..'", "a b", "''", ".hidden", "-x", "a.h5", "Ünet", '"a\\n"', "50"])
def test_entry_name_that_is_no_file_name(report: Report, name: str) -> None:
    (line,) = report(changed(("ResNet50", name)))
    assert line.startswith("params.yaml: backbones: found the name ")
    assert "; accepted: a text of letters, digits, - and _, a letter or digit first" in line


def test_entry_name_too_long_for_a_file(report: Report) -> None:
    (line,) = report(changed(("ResNet50", "x" * 300)))
    assert line.startswith("params.yaml: backbones: found the name 'xxx")


@pytest.mark.parametrize("name", ["Xception-299", "my_ResNet50", "2nd"])
def test_good_entry_name(load: Load, name: str) -> None:
    assert list(load(changed(("ResNet50", name))).backbones) == [name, "Xception"]


def test_problems_come_together(report: Report) -> None:
    text = changed(
        ("adam", "adma"), ("folds", "fold"), ("[0.005, 0.995]", "[1, 0]"), ("seed: 2017", "seed: x"), ("raw:", "rwa:")
    )
    keys = [line.split(": ")[1] for line in report(text)]
    assert sorted(keys) == ["data.rwa", "predict.clip", "seed", "train.fold", "train.optimizer"]


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001", ".001", "1.0e-3"])
def test_every_way_to_write_a_number(load: Load, written: str) -> None:
    """YAML 1.1 reads `1e-3` as text; DVC and this pipeline read it as a number."""
    assert load(changed(("0.001", written))).train.learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "fault", "line_number"),
    [
        (changed(("seed: 2017", "seed: [2017")), "expected ',' or ']'", 1),
        (changed(("  folds: 5", "\tfolds: 5")), "cannot start any token", 22),
        (changed(("  folds: 5", "   folds: 5")), "expected <block end>", 23),
        (changed(("  epochs: 8", "  epochs: 8\n  folds: 3")), 'duplicate key "folds"', 29),
        (changed(("Xception:", "ResNet50:")), 'duplicate key "ResNet50"', 19),
        (TEXT + "---\nseed: 1\n", "another document", 32),
    ],
)
def test_no_yaml(report: Report, text: str, fault: str, line_number: int) -> None:
    (line,) = report(text)
    assert line.startswith("params.yaml: not readable as YAML: ")
    assert fault in line
    assert f"line {line_number}," in line


def test_not_utf_8(load: Load, tmp_path: Path) -> None:
    load(TEXT)
    (tmp_path / "params.yaml").write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(UserError, match=r"^params\.yaml: not readable as YAML: 'utf-8' codec can't decode"):
        load_params()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_files_from_windows(load: Load, tmp_path: Path, encoding: str) -> None:
    expected = load(TEXT)
    (tmp_path / "params.yaml").write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    assert load_params() == expected


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("# all gone\n", "nothing"), ("- 1\n", "a list"), ("hello\n", "a str")]
)
def test_no_sections(report: Report, text: str, found: str) -> None:
    sections = "seed, data, backbones, finetune, extract, cluster, ensemble, train, predict"
    line = f"params.yaml: found {found}; expected the sections {sections}"
    assert report(text) == [line]


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_params()
    assert caught.value.problems == ["params.yaml: not found; run this from the repository's root, beside dvc.yaml"]
