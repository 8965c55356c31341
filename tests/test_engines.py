"""Every engine computes what the Keras model itself computes, and a batch that is too large is halved."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gap_ensemble.extraction.engines import OutOfMemory
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.backbones import Network
from gap_ensemble.params import Backbone

# Plain, residual, separable, with branches, with squeeze-and-excitation, with layer normalisation.
SIZES = {"VGG16": 32, "ResNet50": 64, "Xception": 96, "InceptionV3": 96, "EfficientNetV2B0": 64, "ConvNeXtTiny": 64}


def random_network(name: str) -> Network:
    return Network(name, Backbone(weights="random", input_size=SIZES[name]))


def pictures(network: Network, n: int) -> np.ndarray:
    size = network.input_size
    return np.random.default_rng(0).integers(256, size=(n, size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("engine", ["tensorflow", "onnxruntime"])
def test_features_are_those_of_the_keras_model(engine: str, name: str) -> None:
    if engine == "onnxruntime" and name not in ("VGG16", "ResNet50"):
        pytest.skip("the exporter takes half a minute for each, or does not know it")
    network = random_network(name)
    batch = pictures(network, 3)
    expected = network.model.predict_on_batch(network.preprocess(batch.astype(np.float32)))
    network.compile(engine)
    features = network.features(batch)
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_network_that_the_exporter_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Unsupported ops:\nErfc")

    network = random_network("VGG16")
    monkeypatch.setattr(type(network.model), "export", fail)
    with pytest.raises(UserError, match=r"extract\.engine: onnxruntime can't take vgg16: Unsupported ops: Erfc; set"):
        network.compile("onnxruntime")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(UserError, match=r"extract\.engine: onnxruntime: No module named 'onnxruntime'; .*tensorflow"):
        random_network("VGG16").compile("onnxruntime")


def with_room_for(forward: Callable[[np.ndarray], np.ndarray], n: int) -> Callable[[np.ndarray], np.ndarray]:
    def compute(inputs: np.ndarray) -> np.ndarray:
        if len(inputs) > n:
            raise OutOfMemory
        return forward(inputs)

    return compute


def test_a_batch_that_does_not_fit_is_halved(capsys: pytest.CaptureFixture[str]) -> None:
    network = random_network("VGG16")
    network.compile()
    batch = pictures(network, 16)
    expected = network.features(batch)
    network.forward = with_room_for(network.forward, 5)
    np.testing.assert_allclose(network.features(batch), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.features(batch), expected, rtol=1e-5, atol=1e-6)
    warnings = capsys.readouterr().out.splitlines()
    assert warnings == [
        "WARNING: vgg16: out of memory with 16 pictures at a time; going on with 8 (extract.batch_size says how many)",
        "WARNING: vgg16: out of memory with 8 pictures at a time; going on with 4 (extract.batch_size says how many)",
    ]


def test_one_picture_that_does_not_fit_is_an_error() -> None:
    network = random_network("VGG16")
    network.forward = with_room_for(lambda inputs: inputs, 0)
    with pytest.raises(UserError, match="out of memory with one picture of 32 pixels"):
        network.features(pictures(network, 4))
