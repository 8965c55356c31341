"""Every bad entry of `backbones` is said at once, before any network runs."""

from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.networks.entries import bad_entries
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone


def test_every_bad_entry_is_named_at_once() -> None:
    lines = bad_entries(
        {
            "Xcepton": Backbone(weights="random"),
            "Mine": Backbone(weights="gone.weights.h5", backbone="resnet50v3"),
            "ResNet50": Backbone(weights="random", input_size=16),
            "MobileNet": Backbone(weights="random", arguments={"alhpa": 1}),
            "VGG16": Backbone(weights="gone.weights.h5"),
            "SmallConvNet": Backbone(weights="imagenet"),
        }
    )
    expected = [
        ("backbones.Xcepton: unknown network 'Xcepton'", "keras.applications", "nearest: Xception"),
        ("backbones.Mine: unknown network 'resnet50v3'", "nearest: ResNet50V2"),
        ("backbones.ResNet50.input_size: found 16; ResNet50 takes 32 or more", "leave input_size out"),
        ("backbones.MobileNet.arguments.alhpa: MobileNet has no such argument", "alpha"),
        ("backbones.SmallConvNet.weights: found imagenet", "accepted: random, or a file"),
    ]
    assert len(lines) == len(expected)
    for line, parts in zip(lines, expected, strict=True):
        assert line.startswith("params.yaml: ")
        assert all(part in line for part in parts), line


def test_weights_that_do_not_fit_or_can_not_be_had_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_connection)
    drawn: Any = open_network("SmallConvNet", Backbone(weights="random", input_size=32))
    drawn.save_weights(tmp_path / "small.weights.h5", set())
    (tmp_path / "network.onnx").write_bytes(b"no ONNX")
    lines = bad_entries(
        {
            "MobileNet": Backbone(weights="imagenet"),
            "MobileNetV2": Backbone(weights="imagenet"),
            "Mine": Backbone(weights=str(tmp_path / "small.weights.h5"), backbone="MobileNet"),
            "FromFile": Backbone(onnx=str(tmp_path / "network.onnx"), mean=0, std=1),
        }
    )
    expected = [
        ("MobileNet: the ImageNet weights can't be loaded: no connection; fetch https://", "MobileNet.weights: FILE"),
        ("MobileNetV2: the ImageNet weights can't be loaded", "MobileNetV2.weights: FILE"),
        ("small.weights.h5: does not fit MobileNet (backbones.Mine.weights)",),
        ("network.onnx",),
    ]
    assert len(lines) == len(expected)
    assert all(part in line for line, parts in zip(lines, expected, strict=True) for part in parts), lines


def no_connection(*_: Any, **__: Any) -> str:
    raise OSError("no connection")


def test_a_file_that_is_written_later_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Application, "_build", lambda _: pytest.fail("a network was built"))
    entries = {"VGG16": Backbone(weights="tuned/VGG16.weights.h5"), "NASNetLarge": Backbone(weights="random")}
    assert bad_entries({**entries, "A": Backbone(onnx="gone.onnx")}) == []


def test_a_single_entry_is_checked_too() -> None:
    (line,) = bad_entries({"Xcepton": Backbone(weights="random")})
    assert (
        "backbones.Xcepton: unknown network 'Xcepton'; accepted: any name in keras.applications (nearest: Xcep" in line
    )
