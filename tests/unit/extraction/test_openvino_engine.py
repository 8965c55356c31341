"""OpenVINO computes what Keras computes, and a row depends on its picture alone."""

from typing import Any

import numpy as np
import pytest

from gap_ensemble.extraction.openvino_engine import OpenVinoEngine
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone

SIZE = 32


def network(name: str = "SmallConvNet", size: int = SIZE) -> Any:
    return open_network(name, Backbone(weights="random", input_size=size))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(6, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(pictures: np.ndarray) -> np.ndarray:
    """Return what Keras gives for the same pixels."""
    keras_network = network()
    return keras_network.model.predict_on_batch(keras_network.preprocess(pictures.astype(np.float32)))


def one_by_one(engine: Any, pictures: np.ndarray) -> np.ndarray:
    return np.concatenate([engine(picture[None]) for picture in pictures])


def test_openvino_in_float32(pictures: np.ndarray, expected: np.ndarray) -> None:
    features = one_by_one(OpenVinoEngine(network(), "float32", 2), pictures)
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_the_number_of_streams_changes_no_bit(pictures: np.ndarray) -> None:
    one, many = (one_by_one(OpenVinoEngine(network(), "float32", n), pictures) for n in (1, 5))
    assert one.tobytes() == many.tobytes()


# Plain, residual, separable, with branches, with squeeze-and-excitation, with layer normalisation.
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("VGG16", 32),
        ("ResNet50", 64),
        ("Xception", 96),
        ("InceptionV3", 96),
        ("EfficientNetV2B0", 64),
        ("ConvNeXtTiny", 64),
        ("NASNetMobile", 224),
        ("MobileNetV3Small", 64),
        ("DenseNet121", 64),
    ],
)
def test_kinds_of_networks(name: str, size: int) -> None:
    one = network(name, size)
    pictures = np.random.default_rng(0).integers(256, size=(2, size, size, 3)).astype(np.uint8)
    expected = one.model.predict_on_batch(one.preprocess(pictures.astype(np.float32)))
    features = one_by_one(OpenVinoEngine(one, "float32", 1), pictures)
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_network_that_openvino_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from gap_ensemble.networks.openvino_setup import openvino

    def refuse(_: Any) -> None:
        raise RuntimeError("No conversion rule for\nErfcinv")

    monkeypatch.setattr(openvino, "convert_model", refuse)
    with pytest.raises(
        UserError, match=r"backbones\.SmallConvNet: OpenVINO.* can't take SmallConvNet: No conversion rule"
    ):
        OpenVinoEngine(network(), "float32", 1)


def test_ctrl_c_while_openvino_reads_the_network_is_no_fault_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO calls Python for each node, and wraps what that raises."""
    from gap_ensemble.networks.openvino_setup import openvino

    def interrupted(_: Any) -> None:
        raise RuntimeError("Check failed at decoder.cpp:1: KeyboardInterrupt: <EMPTY MESSAGE>")

    monkeypatch.setattr(openvino, "convert_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        OpenVinoEngine(network(), "float32", 1)


def test_nothing_is_reported_over_the_network() -> None:
    from gap_ensemble.networks.openvino_setup import openvino

    _ = openvino.convert_model
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
