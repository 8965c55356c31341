"""Every bad entry of `backbones` is said at once, before any network runs, and without their files."""

import pytest

from gap_ensemble.networks.entries import bad_entries
from gap_ensemble.networks.keras_applications import Application
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


def test_nothing_is_built_for_a_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Application, "_build", lambda _: pytest.fail("a network was built"))
    assert bad_entries({name: Backbone(weights="imagenet") for name in ("NASNetLarge", "VGG16")}) == []


def test_files_of_other_sources_are_not_opened() -> None:
    assert bad_entries({"A": Backbone(onnx="gone.onnx"), "B": Backbone(preset="dinov2_small")}) == []


def test_a_single_entry_is_checked_too() -> None:
    (line,) = bad_entries({"Xcepton": Backbone(weights="random")})
    assert (
        "backbones.Xcepton: unknown network 'Xcepton'; accepted: any name in keras.applications (nearest: Xcep" in line
    )
