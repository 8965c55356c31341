"""The NVIDIA GPUs that this process may use, and whether there is a JAX that computes on them.

They are asked for through the driver, which takes none of their memory: whoever only gives work out (the driver of a
cluster) leaves them to the workers.
"""

import ctypes
import importlib.metadata
from functools import cache
from typing import NamedTuple

# What `jax[cuda13]` or `jax[cuda12]` installs beside JAX itself.
PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin")

# Numbers of attributes in CUDA's driver API.
_MAJOR, _MINOR = 75, 76


class Gpu(NamedTuple):
    """A GPU: its name, and its compute capability, such as (8, 0)."""

    name: str
    capability: tuple[int, int]


@cache
def found_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that the driver shows to this process; `CUDA_VISIBLE_DEVICES` counts."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:  # No driver.
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    gpus = []
    for number in range(count.value):
        name, value = ctypes.create_string_buffer(256), ctypes.c_int()
        cuda.cuDeviceGetName(name, len(name), number)
        capability = []
        for attribute in (_MAJOR, _MINOR):
            cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, number)
            capability.append(value.value)
        gpus.append(Gpu(name.value.decode(errors="replace"), (capability[0], capability[1])))
    return tuple(gpus)


@cache
def cuda_plugin() -> str:
    """Return the name and the version of JAX's plugin for NVIDIA GPUs, or an empty string."""
    for name in PLUGINS:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def computes_on_gpus() -> bool:
    """Return whether Keras computes on a GPU in this process."""
    return bool(cuda_plugin() and found_gpus())
