"""What params.yaml names and the disk lacks: said before DVC says less."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gap_ensemble.inputs import missing_inputs, new_entries
from gap_ensemble.networks.links import link_files
from gap_ensemble.params import Params, load_params
from tools.workspace import ROOT


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of weights of an otherwise empty project, and make the project the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for name in ("imagenet", "random", "xception.weights.h5"):
        (tmp_path / "weights" / name).touch()
    return tmp_path / "weights"


def params_with(raw: str = "data/raw", finetune: str = "", **weights: str) -> Params:
    """Return this checkout's parameters with these values; `weights` has a backbone's name and its weights."""
    values: Any = load_params(ROOT / "params.yaml").model_dump()
    values["data"]["raw"] = raw
    values["backbones"] = {name: {"weights": file} for name, file in weights.items()} or {"A": {"weights": "imagenet"}}
    values["finetune"] = {finetune: {"weights": "imagenet"}} if finetune else {}
    return Params.model_validate(values)


def write_lock(params: Params) -> None:
    """Write the dvc.lock of a run with these parameters."""
    stages: dict[str, Any] = {"link": {"params": {"params.yaml": {"data": params.data.model_dump()}}}}
    for name, entry in params.backbones.items():
        stages[f"extract@{name}"] = {
            "params": {"../params.yaml": {f"backbones.{name}": entry.model_dump(exclude_unset=True)}}
        }
    with open("dvc.lock", "w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": stages}, file)


def test_nothing_is_missing() -> None:
    Path("data/raw").mkdir(parents=True)
    assert not missing_inputs(params_with(A="imagenet", B="random", C="xception.weights.h5"))


@pytest.mark.parametrize("raw", ["data/raw", "/no/such/folder", "weights/random"])
def test_a_folder_of_pictures_that_is_not_there(raw: str) -> None:
    (line,) = missing_inputs(params_with(raw))
    assert line.startswith(
        f"params.yaml: data.raw: found {raw!r}, which is no folder; put the competition's files there"
    )


def test_the_folder_that_is_most_like_it_is_named(tmp_path: Path) -> None:
    Path("data/raw").mkdir(parents=True)
    assert "which is no folder (did you mean data/raw?); put" in missing_inputs(params_with("data/rwa"))[0]
    (tmp_path / "dogs-vs-cats").mkdir()
    (line,) = missing_inputs(params_with(f"{tmp_path}/dogs-vs-cat"))
    assert f"(did you mean {tmp_path}/dogs-vs-cats?)" in line
    (line,) = missing_inputs(params_with(f"{tmp_path}/dat/raw"))
    assert f"(did you mean {tmp_path}/data/raw?)" in line


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("tuned/Tuend.weights.h5", "tuned/Tuned.weights.h5"),  # Stage finetune writes it.
        ("deep/larg.weights.h5", "deep/large.weights.h5"),
        ("weights/xception.weights.h5", "xception.weights.h5"),
        ("imagnet", "imagenet"),
    ],
)
def test_a_weights_file_is_named_as_it_is_to_be_written(weights: Path, found: str, meant: str) -> None:
    Path("data/raw").mkdir(parents=True)
    (weights / "deep").mkdir()
    (weights / "deep/large.weights.h5").touch()
    (line,) = missing_inputs(params_with(finetune="Tuned", A=found))
    assert f"(did you mean {meant}?)" in line


def test_a_weights_file_that_is_not_there(weights: Path) -> None:
    Path("data/raw").mkdir(parents=True)
    absolute = str(weights / "xception.weight.h5")
    first, second = missing_inputs(params_with(A="xcepton.weights.h5", B=absolute, C="xception.weights.h5"))
    assert first == (
        "params.yaml: backbones.A.weights: found 'xcepton.weights.h5', but there is no weights/xcepton.weights.h5; "
        "accepted: imagenet, random, or a path relative to weights/ or absolute (did you mean xception.weights.h5?); "
        "there: xception.weights.h5"
    )
    assert f"backbones.B.weights: found '{absolute}', but there is no {absolute}; " in second
    assert f"(did you mean {weights}/xception.weights.h5?)" in second


def test_an_onnx_file_that_is_not_there(weights: Path) -> None:
    Path("data/raw").mkdir(parents=True)
    (weights / "dino.onnx").touch()
    values = params_with().model_dump()
    values["backbones"] = {"A": {"onnx": "dinov2.onnx"}, "B": {"onnx": "dino.onnx"}, "C": {"preset": "dinov2_small"}}
    assert missing_inputs(Params.model_validate(values)) == [
        "params.yaml: backbones.A.onnx: found 'dinov2.onnx', but there is no weights/dinov2.onnx; accepted: a path "
        "relative to weights/ or absolute (did you mean dino.onnx?); there: dino.onnx"
    ]


def test_a_copy_of_the_repository_reads_the_files_of_the_original(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC runs queued experiments in copies, which have only what git knows."""
    copy = tmp_path / ".dvc/tmp/exps/tmp1"
    (copy / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(copy)
    params = params_with(A="xception.weights.h5")
    assert not missing_inputs(params)
    link_files(Path("linked"), params.backbones["A"])
    assert Path("linked/file").resolve() == weights / "xception.weights.h5"
    assert "there is no" in missing_inputs(params_with(A="other.weights.h5"))[0]


def test_weights_that_a_finetune_entry_writes_need_not_be_there() -> None:
    Path("data/raw").mkdir(parents=True)
    assert not missing_inputs(params_with(finetune="T", A="tuned/T.weights.h5"))
    (line,) = missing_inputs(params_with(finetune="T", A="tuned/Other.weights.h5"))
    assert "backbones.A.weights: found 'tuned/Other.weights.h5'" in line


def test_what_ran_before_need_not_be_there() -> None:
    """A second machine has features and no pictures, no weights: it may leave a network out, not name a new file."""
    write_lock(params_with("/first/machine", A="mine.weights.h5", B="imagenet"))
    assert not missing_inputs(params_with("/first/machine", A="mine.weights.h5"))
    (line,) = missing_inputs(params_with("/second/machine", A="mine.weights.h5"))
    assert "data.raw: found '/second/machine'" in line
    (line,) = missing_inputs(params_with("/first/machine", A="other.weights.h5"))
    assert "backbones.A.weights: found 'other.weights.h5'" in line


def test_an_empty_lock_file() -> None:
    Path("dvc.lock").touch()
    assert len(missing_inputs(params_with())) == 1


def test_only_what_has_not_run_with_its_values_is_new() -> None:
    write_lock(params_with(A="imagenet", B="random"))
    backbones = params_with(A="imagenet", B="imagenet", C="random").backbones
    assert list(new_entries(backbones)) == ["B", "C"]
