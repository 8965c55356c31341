"""PyTorch state dicts, read without PyTorch, as weights of EfficientNet-Lite.

A state dict is a pickle, which could run any code. Only tensors are let in.
"""

import collections
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.networks.efficientnet_lite import BUILDERS
from gap_ensemble.storage.files import atomic_path

DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# torch/serialization.py: the first object of a file in the older format.
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def convert_weights(state_dict: Path, out: Path, network: str) -> None:
    """Write the tensors of a PyTorch file as a weights file of Keras, whole or not at all.

    Parameters
    ----------
    state_dict : Path
        What `torch.save` wrote.
    out : Path
        The file to write; its name ends in .weights.h5.
    network : str
        One of `BUILDERS`.

    Raises
    ------
    UserError
        If the file holds no state dict of the network, or the name is another.
    """
    if not out.name.endswith(".weights.h5"):
        raise UserError(f"{out}: the name must end in .weights.h5")
    model = converted(read_state_dict(state_dict), network, str(state_dict))
    with atomic_path(out) as partial:
        with_suffix = partial.with_suffix(".weights.h5")
        model.save_weights(with_suffix)
        with_suffix.rename(partial)
    print(f"{out}: {model.count_params():,} weights of {network}, without its classifier")


def converted(tensors: dict[str, np.ndarray], network: str, source: str, include_top: bool = False) -> Any:
    """Build a network and fill it with the tensors of a state dict, in their order.

    Parameters
    ----------
    tensors : dict of str to ndarray
        As `read_state_dict` returns it.
    network : str
        One of `BUILDERS`.
    source : str
        The file, for messages.
    include_top : bool
        Whether to build the classifier, too.

    Returns
    -------
    keras.Model

    Raises
    ------
    UserError
        If a shape is another than the network's, or tensors are left over or missing.
    """
    model = BUILDERS[network][0](include_top=include_top)
    left = collections.deque((name, value) for name, value in tensors.items() if "num_batches_tracked" not in name)
    for layer in model.layers:
        arrays = []
        for weight in layer.weights:
            if not left:
                raise UserError(f"{source}: ends before layer {layer.name} of {network}; accepted: a whole state dict")
            name, value = left.popleft()
            array = _for_keras(value, "depthwise" in type(layer).__name__.lower())
            if array.shape != tuple(weight.shape):
                raise UserError(
                    f"{source}: {name} has the shape {array.shape} for Keras, layer {layer.name} of {network} has "
                    f"{tuple(weight.shape)}; accepted: a state dict of {network}"
                )
            arrays.append(array)
        layer.set_weights(arrays)
    classifier = [name for name, value in left if value.ndim <= 2]
    if len(classifier) != len(left) or len(left) > 2:
        raise UserError(f"{source}: {len(left)} tensors are left over, from {left[0][0]} on; is it {network}?")
    return model


def _for_keras(value: np.ndarray, depthwise: bool) -> np.ndarray:
    """Bring a tensor's axes into Keras's order: (out, in, height, width) becomes (height, width, in, out)."""
    value = value.astype(np.float32)
    if value.ndim == 4:
        # PyTorch keeps a filter a channel as (channels, 1, …), Keras as (…, channels, 1).
        return value.transpose(2, 3, 0, 1) if depthwise else value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 else value


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch file.

    Parameters
    ----------
    path : Path
        What `torch.save` wrote.

    Returns
    -------
    dict of str to ndarray
        In the order of the file.

    Raises
    ------
    UserError
        If the file is not there, is damaged, or holds anything but tensors.
    """
    try:
        tensors = _read_zip(path) if zipfile.is_zipfile(path) else _read_older(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # Pickle and zipfile raise many types on damaged content.
        raise UserError(
            f"{path}: can't be read: {one_line(error, 150)}; accepted: a state dict as torch.save writes it"
        ) from None
    tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else {}
    if not tensors or not all(isinstance(value, np.ndarray) for value in tensors.values()):
        raise UserError(f"{path}: holds no state dict; accepted: torch.save(model.state_dict(), FILE)")
    return dict(tensors)


class _TensorPickle(pickle.Unpickler):
    """A pickle of tensors; whatever else it names is refused.

    Parameters
    ----------
    file : file
        The pickle.
    storage : callable
        Takes the key of a storage, its type and its length, and returns an array.
    """

    def __init__(self, file: BinaryIO, storage: Callable[[str, str, int], np.ndarray]):
        super().__init__(file)
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return {"_rebuild_tensor_v2": _strided, "_rebuild_parameter": lambda tensor, *_: tensor}[name]
        if module in ("torch", "torch.storage") and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, kind, key, _, length, *_ = pid
        return self.storage(key, str(kind), length)


def _strided(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    """Return the tensor that lies in a storage, as torch._utils._rebuild_tensor_v2 does."""
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if min(shape, default=1) > 0 and last >= len(storage):
        raise ValueError(f"a tensor of shape {shape} does not fit its storage of {len(storage)} numbers")
    in_bytes = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, in_bytes)


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (index,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        root = index.removesuffix("data.pkl")

        def storage(key: str, kind: str, length: int) -> np.ndarray:
            return np.frombuffer(archive.read(f"{root}data/{key}"), DTYPES[kind], length)

        return _TensorPickle(io.BytesIO(archive.read(index)), storage).load()


def _read_older(path: Path) -> Any:
    """Read the format before PyTorch 1.6: some pickles, of which the fourth holds the tensors, then their bytes."""
    storages: dict[str, np.ndarray] = {}

    def storage(key: str, kind: str, length: int) -> np.ndarray:
        # Its bytes come later.
        return storages.setdefault(key, np.zeros(length, DTYPES[kind]))

    with path.open("rb") as file:
        magic_number, *_ = [_TensorPickle(file, storage).load() for _ in range(3)]
        if magic_number != MAGIC_NUMBER:
            raise ValueError("its first bytes are not those of a PyTorch file")
        tensors = _TensorPickle(file, storage).load()
        for key in _TensorPickle(file, storage).load():
            length = int.from_bytes(file.read(8), "little")
            values = storages[key]
            content = file.read(length * values.itemsize)
            if length != len(values) or len(content) != values.nbytes:
                raise ValueError("it ends too early")
            values[:] = np.frombuffer(content, values.dtype)
    return tensors
