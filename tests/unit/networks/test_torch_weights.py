"""PyTorch state dicts without PyTorch: both formats, the order of axes, and that no other code is let in."""

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.efficientnet_lite import BUILDERS
from gap_ensemble.networks.network import open_network
from gap_ensemble.networks.torch_weights import DTYPES, MAGIC_NUMBER, converted, read_state_dict
from gap_ensemble.params import Backbone

TENSORS: dict[str, np.ndarray] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": np.array(7, np.int64),
    "bn.bias": np.array([1.5, 2.5], np.float16),
}


class Global:
    """A name that is pickled as it stands, without importing it."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


# Written in Python, so that its steps can be replaced.
PYTHON_PICKLER: Any = vars(pickle)["_Pickler"]


class Pickler(PYTHON_PICKLER):  # type: ignore[misc]
    """What torch.save does, without torch: names of torch's functions, and storages by their keys."""

    def save(self, value: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(value, Global):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Storage):
            self.save(("storage", Global("torch", value.kind), value.key, "cpu", value.length))
            self.write(pickle.BINPERSID)
        elif isinstance(value, Tensor):
            strides = tuple(step // value.array.itemsize for step in value.array.strides)
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save((value.storage, 0, value.array.shape, strides, False, collections.OrderedDict()))
            self.write(pickle.REDUCE)
        else:
            super().save(value, *arguments, **options)


class Storage:
    def __init__(self, key: str, array: np.ndarray):
        (self.kind,) = (kind for kind, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
        self.key, self.length = key, array.size


class Tensor:
    def __init__(self, key: str, array: np.ndarray):
        self.array, self.storage = array, Storage(key, array)


def save(path: Path, tensors: dict[str, np.ndarray], older: bool) -> Path:
    values = {name: Tensor(str(number), value) for number, (name, value) in enumerate(tensors.items())}
    bytes_of = {value.storage.key: value.array.tobytes() for value in values.values()}
    if older:
        with path.open("wb") as file:
            for item in (MAGIC_NUMBER, 1001, {"little_endian": True}, values, list(bytes_of)):
                Pickler(file, 2).dump(item)
            for value in values.values():
                file.write(value.array.size.to_bytes(8, "little") + value.array.tobytes())
        return path
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, 2).dump(values)
        for key, content in bytes_of.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


@pytest.mark.parametrize("older", [False, True])
def test_both_formats_are_read(tmp_path: Path, older: bool) -> None:
    read = read_state_dict(save(tmp_path / "x.pth", TENSORS, older))
    assert list(read) == list(TENSORS)
    for name, value in TENSORS.items():
        assert read[name].dtype == value.dtype
        assert np.array_equal(read[name], value)


@pytest.mark.parametrize("older", [False, True])
def test_a_cut_file_is_one_line(tmp_path: Path, older: bool) -> None:
    path = save(tmp_path / "x.pth", TENSORS, older)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"x\.pth: can't be read: .*accepted: a state dict") as error:
        read_state_dict(path)
    assert "\n" not in str(error.value)


def test_no_other_code_is_let_in(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"weight": Evil()}))
    with pytest.raises(UserError, match=r"it names builtins\.print, which is no tensor"):
        read_state_dict(tmp_path / "x.pth")


def pytorch_order(network: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return random tensors with the shapes that PyTorch has for a network, and its classifier."""
    tensors = {}
    for layer in BUILDERS[network][0](include_top=True).layers:
        for number, weight in enumerate(layer.weights):
            shape = tuple(weight.shape)
            if len(shape) == 4:
                shape = (*shape[2:], *shape[:2]) if "Depthwise" in type(layer).__name__ else (*shape[:1:-1], *shape[:2])
            tensors[f"{layer.name}.{number}"] = rng.uniform(0.1, 1, shape[::-1] if len(shape) == 2 else shape)
    return tensors


@pytest.mark.slow
def test_a_converted_file_is_a_backbone(tmp_path: Path) -> None:
    tensors = pytorch_order("EfficientNetLite0", np.random.default_rng(0))
    assert tensors["block1a_dwconv.0"].shape == (32, 1, 3, 3)
    assert tensors["block1a_project_conv.0"].shape == (16, 32, 1, 1)
    model = converted(tensors, "EfficientNetLite0", "x.pth")
    kernel = model.get_layer("block2a_project_conv").get_weights()[0]
    np.testing.assert_allclose(kernel[0, 0, 5, 7], tensors["block2a_project_conv.0"][7, 5, 0, 0], rtol=1e-6)
    kernel = model.get_layer("block3a_dwconv").get_weights()[0]
    np.testing.assert_allclose(kernel[1, 4, 9, 0], tensors["block3a_dwconv.0"][9, 0, 1, 4], rtol=1e-6)
    model.save_weights(tmp_path / "lite.weights.h5")
    opened = open_network("EfficientNetLite0", Backbone(weights=str(tmp_path / "lite.weights.h5")))
    assert (opened.input_size, opened.n_features) == (224, 1280)
    short = dict(list(tensors.items())[:-10])
    with pytest.raises(UserError, match=r"x\.pth: ends before layer .* of EfficientNetLite0"):
        converted(short, "EfficientNetLite0", "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: .* has the shape .* for Keras, layer .* of EfficientNetLite1 has"):
        converted(tensors, "EfficientNetLite1", "x.pth")
