"""ONNX files: what Keras exports gives the network's own features; what a file does not say, the entry must."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import open_network
from gap_ensemble.networks.onnx_file import OnnxNetwork
from gap_ensemble.networks.openvino_setup import openvino
from gap_ensemble.params import Backbone

SIZE = 4
KERNEL = np.random.default_rng(1).normal(size=(5, 3, 1, 1)).astype(np.float32)


def save(path: Path, output: str = "map", shape: list[Any] | None = None) -> Path:
    """Save a convolution of one pixel; its output is a map, pooled features, or tokens; or both of the first two."""
    steps = {
        "map": [helper.make_node("Identity", ["conv"], ["map"])],
        "features": [helper.make_node("ReduceMean", ["conv", "axes"], ["features"], keepdims=0)],
        "tokens": [
            helper.make_node("Reshape", ["conv", "as_tokens"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        ],
    }
    shapes: dict[str, list[Any]] = {"map": ["n", 5, SIZE, SIZE], "features": ["n", 5], "tokens": ["n", SIZE * SIZE, 5]}
    names = ["map", "features"] if output == "both" else [output]
    constants = {"kernel": KERNEL, "axes": np.array([2, 3]), "as_tokens": np.array([0, 5, -1])}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixels", "kernel"], ["conv"]), *(step for name in names for step in steps[name])],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape or ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in names],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def network(path: Path, **values: Any) -> OnnxNetwork:
    opened = open_network("Entry", Backbone(**{"onnx": str(path), "mean": 127.5, "std": 127.5, **values}))
    assert isinstance(opened, OnnxNetwork)
    return opened


def features(opened: OnnxNetwork, batch: np.ndarray) -> np.ndarray:
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(openvino.Core().compile_model(opened.openvino_model(), "CPU", options)(batch)[0])


PICTURES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)


def own(mean: Any, std: Any) -> np.ndarray:
    """Return the map of features, channels last."""
    return ((PICTURES - np.float64(mean)) / std) @ KERNEL[:, :, 0, 0].T.astype(np.float64)


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
def test_a_map_is_pooled(tmp_path: Path, pooling: str) -> None:
    expected = own(127.5, 127.5)
    pooled = {
        "avg": expected.mean(axis=(1, 2)),
        "max": expected.max(axis=(1, 2)),
        "flatten": expected.transpose(0, 3, 1, 2).reshape(3, -1),
    }[pooling]
    opened = network(save(tmp_path / "map.onnx"), pooling=pooling)
    assert (opened.input_size, opened.n_features, opened.title) == (SIZE, pooled.shape[1], "map")
    np.testing.assert_allclose(features(opened, PICTURES), pooled, atol=1e-5)


def test_tokens_are_pooled_as_the_entry_says(tmp_path: Path) -> None:
    path = save(tmp_path / "tokens.onnx", "tokens")
    tokens = own(127.5, 127.5).reshape(3, SIZE * SIZE, 5)
    cls, mean = tokens[:, 0], tokens[:, 1:].mean(axis=1)
    for pooling, expected in {"cls": cls, "mean": mean, "cls+mean": np.concatenate([cls, mean], axis=1)}.items():
        np.testing.assert_allclose(features(network(path, pooling=pooling), PICTURES), expected, atol=1e-5)
    with pytest.raises(UserError, match=r"Entry\.pooling: found none; .*accepted: cls, mean, cls\+mean"):
        _ = network(path).n_features


def test_mean_and_std_count_from_0_to_1_or_to_255(tmp_path: Path) -> None:
    path = save(tmp_path / "features.onnx", "features")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = own(255 * mean, 255 * std).mean(axis=(1, 2))
    for factor in (1, 255):
        opened = network(path, mean=tuple(factor * mean), std=tuple(factor * std))
        np.testing.assert_allclose(features(opened, PICTURES), expected, atol=1e-5)
    raw = network(path, mean=0, std=1)
    np.testing.assert_allclose(features(raw, PICTURES), own(0, 1).mean(axis=(1, 2)), rtol=1e-5)
    with pytest.raises(UserError, match="mean is for pixels from 0 to 255 and std for pixels from 0 to 1"):
        network(path, mean=127.5, std=0.5)


def test_one_of_several_outputs_is_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "both.onnx", "both")
    expected = own(127.5, 127.5).mean(axis=(1, 2))
    np.testing.assert_allclose(features(network(path, output="features"), PICTURES), expected, atol=1e-5)
    np.testing.assert_allclose(features(network(path, output="map"), PICTURES), expected, atol=1e-5)
    for values, found in (({}, "missing"), ({"output": "logits"}, "found 'logits'")):
        with pytest.raises(UserError, match=rf"Entry\.output: {found}; accepted: one of .*: map, features"):
            _ = network(path, **values).n_features


def test_the_bytes_count_and_the_values(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx")
    copy = tmp_path / "b.onnx"
    copy.write_bytes(path.read_bytes())
    assert network(copy).fingerprint() == network(path).fingerprint()
    assert network(path, std=128).fingerprint() != network(path).fingerprint()
    model = onnx.load(path)
    model.doc_string = "another file"
    onnx.save(model, copy)
    assert network(copy).fingerprint() != network(path).fingerprint()


@pytest.mark.parametrize(
    ("shape", "values", "message"),
    [
        (
            None,
            {"mean": None, "std": None},
            "mean and std are missing, and an ONNX file does not say how pixels",
        ),
        (None, {"std": None}, "backbones.Entry.std: missing; mean and std go together"),
        (["n", 3, "h", "w"], {}, "input_size: missing, and "),
        (["n", "c", SIZE, SIZE], {}, "accepted: one input of pictures with three channels"),
        ([1, 3, SIZE, SIZE], {"input_size": 8}, "does not take pictures of 8 pixels"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, shape: list[Any], values: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "other.onnx", shape=shape)
    if shape and shape[1] == 3 and values:
        # A reshape inside of the network holds it to one size.
        path = save(tmp_path / "other.onnx", "tokens", shape)
        values = {**values, "pooling": "avg"}
        message = "pooling"
    with pytest.raises(UserError) as error:
        _ = network(path, **values).n_features
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"bad\.onnx: not readable as ONNX \(backbones\.Entry\.onnx\)"):
        _ = network(tmp_path / "bad.onnx", input_size=4).n_features
    with pytest.raises(UserError, match=r"none\.onnx: no such file; accepted: an ONNX file"):
        network(tmp_path / "none.onnx")


def test_an_export_of_keras_gives_the_networks_own_features(tmp_path: Path) -> None:
    from gap_ensemble.networks.keras_network import KerasNetwork

    small = open_network("SmallConvNet", Backbone(weights="random", input_size=16))
    assert isinstance(small, KerasNetwork)
    small.model.predict_on_batch(np.zeros((1, 16, 16, 3), np.float32))  # Keras exports what has run once.
    small.model.export(tmp_path / "small.onnx", format="onnx", verbose=False)
    opened = network(tmp_path / "small.onnx")
    batch = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    assert opened.input_size == 16
    np.testing.assert_allclose(features(opened, batch), np.asarray(small.forward(batch)), atol=1e-5)
