"""Which device computes a network, with which engine, in which precision.

| device | engine | precisions that `auto` takes |
| --- | --- | --- |
| processor | OpenVINO | bfloat16 with AMX or AVX-512 BF16, else float32 |
| NVIDIA GPU | JAX | bfloat16 from compute capability 8.0 on (Ampere), float16 from 7.0 on, else float32 |
"""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.gpus import Gpu, cuda_plugin, found_gpus

Precision = Literal["float32", "bfloat16", "float16"]

# What OpenVINO calls them: as a hint, and among the capabilities of a processor.
OPENVINO_NAMES = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}

# Sets of instructions for which the libraries have code of their own, so that the last digits of features may differ.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


@dataclass(frozen=True)
class Device:
    """What computes a network.

    Attributes
    ----------
    kind : {"cpu", "gpu"}
    name : str
        For people.
    engine : {"openvino", "jax"}
    precision : {"float32", "bfloat16", "float16"}
        In which convolutions and products of matrices are computed. Features are float32 always.
    units : str
        What the device has to compute with: its sets of instructions, or its compute capability.
    warning : str
        What the user should know, in one line; empty if there is nothing.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    engine: Literal["openvino", "jax"]
    precision: Precision
    units: str
    warning: str = ""

    def identity(self) -> tuple[str, ...]:
        """Return what decides the bytes of features. How many cores there are does not."""
        names = {"openvino": ("openvino",), "jax": ("jax", "jaxlib")}[self.engine]
        versions = [f"{name} {_version(name)}" for name in (*names, "numpy", "pillow")]
        if self.engine == "jax":
            versions.append(cuda_plugin())
        return (self.kind, self.engine, self.precision, self.units, *versions)

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}, {'OpenVINO' if self.engine == 'openvino' else 'JAX'}"


def find_device(precision: str, kind: str = "keras") -> Device:
    """Return the device on which this process computes a network; no network is loaded for it.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "float16", "auto"}
        What `extract.precision` says.
    kind : {"keras", "onnx"}
        The kind of network. Those of ONNX files are computed on the processor.

    Raises
    ------
    UserError
        If the device can't compute in that precision at all.
    """
    warning, gpus = "", found_gpus()
    if kind == "keras":
        if gpus and cuda_plugin():
            return gpu_device(precision, gpus[0], len(gpus))
        if gpus:
            warning = (
                f"this machine has a GPU ({gpus[0].name}), for which the environment lacks JAX's plugin, so that the "
                "processor computes; install the extra cuda (make setup EXTRA=cuda)"
            )
        elif cuda_plugin():
            warning = (
                "this environment is made for NVIDIA GPUs, and the driver shows none, so that the processor computes; "
                "see `nvidia-smi`"
            )
    return cpu_device(precision, warning)


def cpu_device(precision: str, warning: str = "") -> Device:
    """Return the processor as a device, as OpenVINO describes it."""
    from gap_ensemble.networks.openvino_setup import openvino

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    fast = {name for name, (_, capability) in OPENVINO_NAMES.items() if capability in able}
    if precision == "auto":
        precision = "bfloat16" if "bfloat16" in fast else "float32"
    elif precision not in fast:
        if not _computes_in(core, precision):
            raise UserError(
                f"params.yaml: extract.precision: found {precision}; this processor can't compute in it; accepted: "
                f"auto, {', '.join(name for name in OPENVINO_NAMES if _computes_in(core, name))}"
            )
        warning = warning or f"this processor has no units for {precision}, which is slower here than float32"
    n_cores = usable_cores()
    name = f"{core.get_property('CPU', 'FULL_DEVICE_NAME').strip()} ({n_cores} core{'s' if n_cores > 1 else ''})"
    return Device("cpu", name, "openvino", precision, _instructions(), warning)  # type: ignore[arg-type]


def gpu_device(precision: str, gpu: Gpu, n_gpus: int = 1) -> Device:
    """Return a GPU as a device.

    Parameters
    ----------
    precision : str
        As for `find_device`.
    gpu : Gpu
        Which one.
    n_gpus : int
        How many there are, of which this process uses the first.
    """
    fast = {"float32": True, "bfloat16": gpu.capability >= (8, 0), "float16": gpu.capability >= (7, 0)}
    warning = ""
    if precision == "auto":
        precision = "bfloat16" if fast["bfloat16"] else "float16" if fast["float16"] else "float32"
    elif not fast[precision]:
        warning = f"this GPU has no units for {precision}, which is slower here than float32"
    name = gpu.name + (f" (the first of {n_gpus})" if n_gpus > 1 else "")
    units = "compute capability {}.{}".format(*gpu.capability)
    return Device("gpu", name, "jax", precision, units, warning)  # type: ignore[arg-type]


def _computes_in(core: Any, precision: str) -> bool:
    """Return whether OpenVINO computes in a precision here; where it can't, it takes float32 without a word."""
    from gap_ensemble.networks.openvino_setup import openvino

    ops = openvino.opset13
    parameter = ops.parameter([1, 1], openvino.Type.f32)
    model = openvino.Model([ops.relu(parameter)], [parameter], "one")
    hint = OPENVINO_NAMES[precision][0]
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return bool(compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == hint)


def _instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the kind of processor: its architecture, and the sets of instructions that libraries have code for."""
    try:
        line = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):  # Not Linux, or not x86.
        return platform.machine()
    # OpenVINO's own limit, for whoever sets it.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return " ".join([platform.machine(), *(name for name in INSTRUCTIONS if name in line.split()), limit]).strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
