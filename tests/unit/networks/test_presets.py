"""Presets of KerasHub: tiny networks of random weights, saved as folders and read as backbones."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_ensemble.extraction.openvino_engine import OpenVinoEngine
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_network import KerasNetwork
from gap_ensemble.networks.keras_setup import held_back, keras
from gap_ensemble.networks.network import open_network
from gap_ensemble.networks.presets import resized_positions
from gap_ensemble.params import Backbone

with held_back():
    import keras_hub

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRANSFORMER = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 16}


def save(folder: Path, backbone: Any, size: int) -> Path:
    """Save a backbone and its ImageConverter, as Kaggle Models has them."""
    backbone.save_to_preset(str(folder))
    name = type(backbone).__name__.replace("Backbone", "ImageConverter")
    scale = [1 / 255 / value for value in STD]
    offset = [-m / s for m, s in zip(MEAN, STD, strict=True)]
    getattr(keras_hub.layers, name)(image_size=(size, size), scale=scale, offset=offset).save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of preset folders."""
    root = tmp_path_factory.mktemp("presets")
    keras.utils.set_random_seed(3)
    models = keras_hub.models
    options: dict[str, Any] = {"patch_size": 7, "num_register_tokens": 3, "position_embedding_shape": (35, 35, 3)}
    save(root / "dinov2", models.DINOV2Backbone(image_shape=(28, 28, 3), **options, **TRANSFORMER), 28)
    vit = models.ViTBackbone((16, 16, 3), 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)
    save(root / "vit", vit, 16)
    src = keras_hub.src.models.siglip
    vision = src.siglip_vision_encoder.SigLIPVisionEncoder(8, 8, 1, 2, 16, image_shape=(16, 16, 3))
    text = src.siglip_text_encoder.SigLIPTextEncoder(20, 8, 8, 1, 2, 16, max_sequence_length=4)
    save(root / "siglip", models.SigLIPBackbone(vision, text), 16)
    return root


def preset(folder: Path, **values: Any) -> KerasNetwork:
    network = open_network("Entry", Backbone(preset=str(folder), **values))
    assert isinstance(network, KerasNetwork)
    return network


def pictures(network: KerasNetwork) -> np.ndarray:
    shape = (2, network.input_size, network.input_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def own_tokens(folder: Path, batch: np.ndarray, **options: Any) -> np.ndarray:
    """Return what KerasHub's own pipeline gives for pictures of the right size."""
    converter = keras_hub.layers.ImageConverter.from_preset(str(folder), image_size=batch.shape[1:3])
    backbone = keras_hub.models.Backbone.from_preset(str(folder), **options)
    return np.asarray(backbone(converter(batch)))


@pytest.mark.parametrize("size", [28, 42])
def test_dinov2_gives_kerashubs_own_features_in_every_pooling(presets: Path, size: int) -> None:
    folder = presets / "dinov2"
    networks = {pooling: preset(folder, pooling=pooling, input_size=size) for pooling in ("cls", "mean", "cls+mean")}
    batch = pictures(networks["cls"])
    tokens = own_tokens(folder, batch, image_shape=(size, size, 3))
    assert tokens.shape == (2, 1 + 3 + (size // 7) ** 2, 8)
    # The registers, tokens 1 to 3, belong to no patch.
    cls, mean = tokens[:, 0], tokens[:, 4:].mean(axis=1)
    expected = {"cls": cls, "mean": mean, "cls+mean": np.concatenate([cls, mean], axis=1)}
    for pooling, network in networks.items():
        np.testing.assert_allclose(np.asarray(network.forward(batch)), expected[pooling], rtol=0, atol=1e-5)
        assert network.n_features == expected[pooling].shape[1]


def test_the_default_is_what_the_authors_classify_on(presets: Path) -> None:
    assert preset(presets / "dinov2").n_features == 16  # Class token and mean of the patches.
    network = preset(presets / "vit")
    batch = pictures(network)
    np.testing.assert_allclose(np.asarray(network.forward(batch)), own_tokens(presets / "vit", batch)[:, 0], atol=1e-5)
    network = preset(presets / "siglip")
    batch = pictures(network)
    hub = keras_hub.models.Backbone.from_preset(str(presets / "siglip"))
    converted = keras_hub.layers.ImageConverter.from_preset(str(presets / "siglip"))(batch)
    expected = hub.get_vision_embeddings(converted)
    np.testing.assert_allclose(np.asarray(network.forward(batch)), np.asarray(expected), atol=1e-5)


def test_another_size_keeps_the_class_token_and_interpolates_the_rest() -> None:
    grid = np.add.outer(np.arange(4.0), 10 * np.arange(4.0))[..., None]
    positions = np.concatenate([[[-1.0]], grid.reshape(-1, 1)])
    larger = resized_positions(positions, (65, 1))
    assert larger[0] == -1
    # A cubic through a plane is the plane; row 3 of 8 lies at 1.25 of 4.
    assert np.allclose(larger[1:].reshape(8, 8)[3:5, 3:5], [[13.75, 18.75], [14.25, 19.25]])
    with pytest.raises(ValueError, match="can't become"):
        resized_positions(positions, (60, 1))


@pytest.mark.parametrize("name", ["vit", "siglip"])
def test_networks_with_fixed_positions_take_other_sizes(presets: Path, name: str) -> None:
    small, large = preset(presets / name), preset(presets / name, input_size=32)
    assert large.input_size == 32
    assert small.n_features == large.n_features
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    # All patches of a grey picture are alike, and their positions are interpolated: nearly the same features.
    of_large, of_small = np.asarray(large.forward(grey)), np.asarray(small.forward(grey[:, :16, :16]))
    assert np.corrcoef(of_large.ravel(), of_small.ravel())[0, 1] > 0.9


def test_the_content_of_the_folder_counts_not_its_place(presets: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(presets / "vit", copy)
    fingerprint = preset(presets / "vit").fingerprint()
    (copy / "README.md").write_text("said later")
    assert preset(copy).fingerprint() == fingerprint
    assert preset(copy, pooling="mean").fingerprint() != fingerprint
    assert preset(copy, input_size=32).fingerprint() != fingerprint
    content = bytearray((copy / "model.weights.h5").read_bytes())
    content[-1] ^= 1
    (copy / "model.weights.h5").write_bytes(content)
    assert preset(copy).fingerprint() != fingerprint


def test_a_preset_that_says_nothing_about_pixels_needs_the_entry_to_say_it(presets: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bare"
    shutil.copytree(presets / "vit", copy)
    (copy / "image_converter.json").unlink()
    with pytest.raises(
        UserError, match=r"backbones\.Entry: the preset .*bare has no image_converter.json.* add mean and"
    ):
        preset(copy)
    with pytest.raises(UserError, match=r"backbones\.Entry: the preset .* add input_size to the entry"):
        preset(copy, mean=MEAN, std=STD)
    network, whole = preset(copy, mean=MEAN, std=STD, input_size=16), preset(presets / "vit")
    batch = pictures(whole)
    np.testing.assert_allclose(np.asarray(network.forward(batch)), np.asarray(whole.forward(batch)), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "dinov2_smal"}, "no such folder in weights/, and no preset of KerasHub (nearest: dinov2_small"),
        ({"preset": "/nowhere/dinov2"}, "/nowhere/dinov2: no such folder; accepted: a preset folder"),
        ({"preset": "FOLDER"}, "has no config.json; accepted: the folder that holds it"),
        (
            {"preset": "FOLDER/vit", "pooling": "avg"},
            "backbones.Entry.pooling: found avg; vit is a ViTBackbone; accepted: ",
        ),
        ({"preset": "FOLDER/vit", "input_size": 20}, "patches of 8 pixels: set a multiple, such as 16 or 24"),
        ({"preset": "FOLDER/siglip", "pooling": "cls"}, "siglip is a SigLIPBackbone; accepted: own, mean"),
    ],
)
def test_what_is_wrong_is_one_line(presets: Path, values: dict[str, Any], message: str) -> None:
    values["preset"] = values["preset"].replace("FOLDER", str(presets))
    with pytest.raises(UserError) as error:
        _ = open_network("Entry", Backbone(**values)).n_features
    assert message in str(error.value)
    assert str(error.value).startswith("params.yaml: backbones.Entry.")
    assert "\n" not in str(error.value)


def test_a_folder_of_other_weights_says_which_layer_and_both_shapes(presets: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mixed"
    shutil.copytree(presets / "vit", copy)
    keras_hub.models.ViTBackbone((16, 16, 3), 8, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=16).save_weights(
        copy / "model.weights.h5"
    )
    with pytest.raises(UserError, match=r"can't be read by KerasHub .* has weights of shape \(.*8\), the file \(.*4\)"):
        _ = preset(copy).n_features


def test_tensorflow_text_is_never_imported(presets: Path) -> None:
    """KerasHub asks for it; it would bring a TensorFlow of its own, and the lock file leaves it out."""
    assert preset(presets / "siglip").n_features == 8
    assert "tensorflow_text" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dinov2", "vit", "siglip"])
def test_the_engine_of_processors_computes_them(presets: Path, name: str) -> None:
    network = preset(presets / name)
    batch = pictures(network)[:1]
    engine = OpenVinoEngine(network, "float32", 1)
    np.testing.assert_allclose(engine(batch), np.asarray(network.forward(batch)), atol=1e-5)
