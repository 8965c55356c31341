"""Weights files of a user: one that fits is loaded, one that does not is refused in one line, Keras's own unsaid."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.network import open_network
from gap_ensemble.networks.own_weights import load_file
from gap_ensemble.params import Backbone


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file of SmallConvNet, every value moved by a quarter."""
    model = open_network("SmallConvNet", Backbone(weights="random", input_size=16)).base  # type: ignore[attr-defined]
    model.set_weights([array + 0.25 for array in model.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "good.weights.h5"
    model.save_weights(path)
    return path


def test_a_file_that_fits_is_loaded(good: Path) -> None:
    loaded, untrained = (
        open_network("SmallConvNet", Backbone(weights=weights, input_size=16)).base  # type: ignore[attr-defined]
        for weights in (str(good), "random")
    )
    for one, other in zip(loaded.get_weights(), untrained.get_weights(), strict=True):
        np.testing.assert_allclose(one, other + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a_layer_is_gone.weights.h5", ""),
        ("truncated.weights.h5", "truncated file"),
        ("features.weights.h5", ""),
        ("empty.h5", "file signature not found"),
        ("text.h5", "file signature not found"),
        ("good.pt", "its suffix is '.pt' instead of .weights.h5 or .h5"),
        ("folder.h5", "it is a folder"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(good: Path, tmp_path: Path, name: str, reason: str) -> None:
    path, content = tmp_path / name, good.read_bytes()
    if name == "folder.h5":
        path.mkdir()
    else:
        path.write_bytes({"empty.h5": b"", "text.h5": b"<html>404</html>"}.get(name, content))
    if name.startswith("truncated"):
        path.write_bytes(content[: len(content) // 2])
    if name.startswith(("a_layer", "features")):
        with h5py.File(path, "a") as file:
            layer = next(iter(file["layers"]))
            del file[f"layers/{layer}" if name.startswith("a_layer") else "layers"]
    model = open_network("SmallConvNet", Backbone(weights="random", input_size=16)).base  # type: ignore[attr-defined]
    with warnings.catch_warnings(record=True) as warned, pytest.raises(UserError) as caught:
        load_file(model, path, "backbones.Mine.weights", "SmallConvNet")
    # Keras warns of every layer by itself; no more than the one line must reach the user.
    assert not [warning for warning in warned if issubclass(warning.category, UserWarning)]
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: does not fit SmallConvNet (backbones.Mine.weights): ")
    assert reason in line
    assert "accepted: a whole file of this network's weights without its top" in line
    assert "\n" not in line
