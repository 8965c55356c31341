"""A folder of Hugging Face as a preset: DINOv2 in the layout of `transformers`, tiny and of random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_network import KerasNetwork
from gap_ensemble.networks.keras_setup import held_back
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone

with held_back():
    import keras_hub

MEAN, STD = (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)
PIXELS: dict[str, Any] = {"mean": MEAN, "std": STD, "input_size": 28}
WIDTH, N_HEADS = 8, 2
# What transformers' Dinov2Config writes, as far as KerasHub reads it.
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "patch_size": 7,
    "image_size": 28,
    "num_hidden_layers": 1,
    "hidden_size": WIDTH,
    "num_attention_heads": N_HEADS,
    "mlp_ratio": 2,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
    "hidden_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
}


def tensors() -> dict[str, np.ndarray]:
    """Return random weights by the names and in the shapes that PyTorch has them: outputs first."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.mask_token": (1, WIDTH),
        "embeddings.position_embeddings": (1, 1 + 4 * 4, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, 7, 7),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    layer = "encoder.layer.0."
    for name in ("attention.query", "attention.key", "attention.value", "output.dense"):
        shapes |= {f"{layer}attention.{name}.weight": (WIDTH, WIDTH), f"{layer}attention.{name}.bias": (WIDTH,)}
    for name, n_out, n_in in (("fc1", 2 * WIDTH, WIDTH), ("fc2", WIDTH, 2 * WIDTH)):
        shapes |= {f"{layer}mlp.{name}.weight": (n_out, n_in), f"{layer}mlp.{name}.bias": (n_out,)}
    for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
        shapes[layer + name] = (WIDTH,)
    shapes |= {f"{layer}layer_scale{number}.lambda1": (WIDTH,) for number in (1, 2)}
    return {name: 0.3 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hugging") / "dinov2-tiny"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    # What says how pixels are scaled there; KerasHub does not read it for DINOv2.
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.485, 0.456, 0.406]}))
    save_file(tensors(), path / "model.safetensors", metadata={"format": "pt"})
    return path


def opened(folder: Path, **values: Any) -> KerasNetwork:
    network = open_network("Entry", Backbone(preset=str(folder), **values))
    assert isinstance(network, KerasNetwork)
    return network


@pytest.mark.parametrize("size", [28, 42])
def test_its_features_are_those_of_kerashub(folder: Path, size: int) -> None:
    network = opened(folder, **{**PIXELS, "input_size": size})
    batch = np.random.default_rng(1).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    backbone = keras_hub.models.Backbone.from_preset(str(folder), image_shape=(size, size, 3))
    tokens = np.asarray(backbone((batch - np.array(MEAN, np.float32)) / np.array(STD, np.float32)))
    expected = np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1)
    np.testing.assert_allclose(np.asarray(network.forward(batch)), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3  # The pictures differ.


def test_every_weight_of_the_file_is_read(folder: Path) -> None:
    weights = keras_hub.models.Backbone.from_preset(str(folder)).weights
    found = np.concatenate([np.sort(np.abs(np.asarray(weight)).ravel()) for weight in weights])
    for name, tensor in tensors().items():
        assert np.isin(np.abs(tensor).ravel(), found).all(), name


def test_without_mean_and_std_the_line_says_what_to_add(folder: Path) -> None:
    with pytest.raises(UserError, match=r"backbones\.Entry: the preset .*dinov2-tiny .* add mean and std to the entry"):
        opened(folder)
    with pytest.raises(UserError, match=r"add input_size to the entry \(DINOv2: mean: "):
        opened(folder, mean=MEAN, std=STD)


def test_a_folder_without_its_weights_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(UserError, match=r"backbones\.Entry\.preset: .*can't be read by KerasHub.*model\.safetensors"):
        _ = opened(tmp_path, **PIXELS).n_features


def test_a_network_that_kerashub_cannot_convert_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "model_type": "convnextv2"}))
    with pytest.raises(UserError, match=r"backbones\.Entry\.preset: .*convnextv2"):
        _ = opened(tmp_path, **PIXELS).n_features
