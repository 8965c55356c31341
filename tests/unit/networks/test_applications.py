"""Networks by their names: sizes, arguments, weights files, and that both ways of building EfficientNet are one."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks import keras_applications as applications
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.keras_network import KerasNetwork
from gap_ensemble.networks.keras_setup import keras, weights_folder
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone

SMALL: dict[str, Any] = {"backbone": "SmallConvNet", "input_size": 16}


def network(name: str = "Entry", **values: Any) -> Application:
    opened = open_network(name, Backbone(**values))
    assert isinstance(opened, Application)
    return opened


def test_nothing_is_built_for_name_size_and_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(Application, "_build", fail)
    monkeypatch.setattr(keras, "Model", fail)
    sizes = {"NASNetLarge": 331, "EfficientNetB7": 600, "Xception": 299, "MobileNetV3Small": 224, "SmallConvNet": 150}
    for name, size in sizes.items():
        opened = network(name, weights="random")
        assert opened.input_size == size
        assert len(opened.fingerprint()) == 64


def test_the_fingerprint_follows_bytes_and_values_not_names(tmp_path: Path) -> None:
    network(weights="random", **SMALL).base.save_weights(tmp_path / "a.weights.h5")
    (tmp_path / "b.weights.h5").write_bytes((tmp_path / "a.weights.h5").read_bytes())
    first = network(weights=str(tmp_path / "a.weights.h5"), **SMALL).fingerprint()
    assert network("Other", weights=str(tmp_path / "b.weights.h5"), **SMALL).fingerprint() == first
    with (tmp_path / "b.weights.h5").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    others = [
        network(weights=str(tmp_path / "b.weights.h5"), **SMALL),
        network(weights=str(tmp_path / "a.weights.h5"), **{**SMALL, "input_size": 24}),
        network(weights=str(tmp_path / "a.weights.h5"), pooling="max", **SMALL),
    ]
    assert len({first, *(other.fingerprint() for other in others)}) == 4


@pytest.mark.parametrize(("line", "changes"), [("# A better comment.", False), ("A_CONSTANT = 1", True)])
def test_the_fingerprint_follows_the_code_and_not_its_comments(
    line: str, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = network(weights="random", **SMALL)
    before, source = small.fingerprint(), inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda thing: f"{source(thing)}\n{line}\n")
    assert (small.fingerprint() != before) == changes


def test_features_are_the_networks_own_for_preprocessed_pictures() -> None:
    import tensorflow as tf

    small = network(weights="random", **SMALL)
    batch = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    assert small.n_features == 128  # Builds it, as an engine does first.
    traced = tf.function(small.forward, input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.uint8)])
    features = np.asarray(traced(batch))
    assert features.dtype == np.float32
    expected = np.asarray(small.model(batch.astype(np.float32) / 127.5 - 1))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    flat = network(weights="random", pooling="flatten", **SMALL)
    assert flat.n_features == 2 * 2 * 128
    np.testing.assert_allclose(
        np.asarray(flat.forward(batch)).reshape(3, 4, 128).mean(axis=1), features, rtol=1e-4, atol=1e-5
    )


def test_arguments_reach_the_builder(tmp_path: Path) -> None:
    quarter: dict[str, Any] = {"backbone": "MobileNet", "input_size": 32, "arguments": {"alpha": 0.25}}
    small = network(weights="random", **quarter)
    assert small.n_features == 256
    small.base.save_weights(tmp_path / "quarter.weights.h5")
    again = network(weights=str(tmp_path / "quarter.weights.h5"), **quarter)
    assert all(map(np.array_equal, small.base.get_weights(), again.base.get_weights()))
    whole = network(weights="random", backbone="MobileNet", input_size=32)
    assert small.fingerprint() != whole.fingerprint()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"backbone": "Xseption"},
            "unknown network 'Xseption'; accepted: any name in keras.applications (near",
        ),
        (
            {"backbone": "MobileNet", "arguments": {"alhpa": 1}},
            "arguments.alhpa: MobileNet has no such argument; acc",
        ),
        ({"backbone": "MobileNet", "arguments": {"weights": "x"}}, "arguments.weights: MobileNet has no such argument"),
        ({"backbone": "VGG16", "arguments": {"alpha": 1}}, "VGG16 has no such argument; it takes none"),
        ({"backbone": "Xception", "input_size": 20}, "input_size: found 20; Xception takes 71 or more: set one"),
        (
            {"backbone": "SmallConvNet", "weights": "imagenet"},
            "weights: found imagenet, of which SmallConvNet has",
        ),
        (
            {"backbone": "VGG16", "pooling": "cls"},
            "pooling: found cls; VGG16 has no tokens; accepted: avg",
        ),
        (
            {"backbone": "VGG16", "weights": "none.h5"},
            "weights/none.h5: no such file; accepted: imagenet, ran",
        ),
    ],
)
def test_what_is_wrong_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        _ = network(**{"weights": "random", **values}).n_features
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: network(weights="random", backbone="MobileNet", input_size=32, arguments={"alpha": 0.25}),
            "shape",
        ),
        (lambda: network(weights="random", backbone="VGG16", input_size=32), "arrays of weights, the file"),
    ],
)
def test_weights_that_do_not_fit_are_named_with_both_shapes(
    tmp_path: Path, make: Callable[[], Application], message: str
) -> None:
    file = tmp_path / "other.weights.h5"
    make().base.save_weights(file)
    with pytest.raises(UserError, match=r"does not fit MobileNet \(backbones.Entry.weights\)") as error:
        _ = network(weights=str(file), backbone="MobileNet", input_size=32).base
    assert message in str(error.value)
    assert any(character.isdigit() for character in str(error.value).split("does not fit")[1])


def test_a_fine_tuned_file_brings_its_input_size_and_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tuned.weights.h5"
    network(weights="random", **SMALL).save_weights(file, {"b" * 32, "a" * 32})
    tuned = network(weights=str(file), backbone="SmallConvNet")
    assert tuned.input_size == 16
    assert tuned.fine_tuned_on == {"a" * 32, "b" * 32}
    assert not capsys.readouterr().out
    other = network(weights=str(file), backbone="SmallConvNet", input_size=24)
    assert other.input_size == 24
    assert "was fine-tuned with pictures of 16 pixels: leave input_size out" in capsys.readouterr().out
    assert all(map(np.array_equal, tuned.base.get_weights(), other.base.get_weights()))


def layers_of(model: Any) -> list[tuple[str, str, Any]]:
    """Return what every layer is, but for its name."""
    described = []
    for layer in model.layers:
        config = {key: value for key, value in layer.get_config().items() if key not in ("name", "build_config")}
        described.append((type(layer).__name__, repr(layer.output.shape), repr(config)))
    return described


def both_routes(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Return a network as `imagenet` and as `random` build it; the download is replaced by nothing."""
    size = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}.get(name, 32)
    if name.startswith("NASNet"):
        size = Application("backbones.N", Backbone(weights="random"), name).input_size  # Its top is checked.
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *_, **__: "weights.h5")
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
        by_download = network(name, weights="imagenet", input_size=size).base
    return by_download, network(name, weights="random", input_size=size).base


def names() -> list[str]:
    return [name for name in dir(keras.applications) if name[0].isupper()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNet", "EfficientNetV2B0", "ResNet50"])
def test_files_go_into_the_layers_that_imagenet_weights_get(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_download, from_file = both_routes(name, monkeypatch)
    assert layers_of(by_download) == layers_of(from_file)
    assert sum("Rescaling" in kind for kind, *_ in layers_of(from_file)) == {
        "EfficientNetB0": 2,
        "EfficientNetV2B0": 1,
    }.get(name, 0)


@pytest.mark.long
@pytest.mark.parametrize("name", names())
def test_both_routes_build_the_same_layers_of_every_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_download, from_file = both_routes(name, monkeypatch)
    assert layers_of(by_download) == layers_of(from_file)


def test_the_folder_that_is_named_is_the_one_where_keras_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "mine"))
    assert weights_folder() == tmp_path / "mine/models"
    # A folder that can't be written sends Keras to the temporary files.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert weights_folder() == Path("/tmp/.keras/models")
    looked = []
    file_utils = keras.src.utils.file_utils
    monkeypatch.setattr(file_utils.os, "makedirs", lambda path, **_: looked.append(path))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(file_utils, "urlretrieve", refuse)
    with pytest.raises(UserError) as error:
        _ = network("MobileNet", weights="imagenet", input_size=128).base
    assert looked[0] in str(error.value)
    assert "mobilenet_1_0_128_tf_no_top.h5" in str(error.value)


def test_a_download_that_is_refused_says_file_address_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "weights_folder", lambda: tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("URL fetch failure on https://x -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", refuse)
    with pytest.raises(UserError) as error:
        _ = network("ResNet50", weights="imagenet", input_size=32).base
    text = str(error.value)
    assert text.startswith("backbones.ResNet50: the ImageNet weights can't be loaded: [Errno -2] Name or service not ")
    assert "fetch https://storage.googleapis.com/tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_" in text
    assert "_notop.h5 (hash 4d473c1dd8becc155b73f8504c6f6626) elsewhere" in text
    assert f"put it at {tmp_path}/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in text


def test_a_truncated_weights_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cut.weights.h5"
    network(weights="random", **SMALL).base.save_weights(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"cut\.weights\.h5: does not fit SmallConvNet"):
        _ = network(weights=str(file), **SMALL).base
    with h5py.File(tmp_path / "empty.weights.h5", "w"):
        pass
    with pytest.raises(UserError, match=r"empty\.weights\.h5: does not fit"):
        _ = network(weights=str(tmp_path / "empty.weights.h5"), **SMALL).base


def test_keras_networks_are_one_kind() -> None:
    assert isinstance(network(weights="random", **SMALL), KerasNetwork)
    assert network(weights="random", **SMALL).kind == "keras"
