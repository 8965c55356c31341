"""Which device computes, in which precision, and what a user is told."""

from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.extraction import devices
from gap_ensemble.extraction.devices import cpu_device, find_device, gpu_device
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.gpus import Gpu

T4, A100, P100 = Gpu("Tesla T4", (7, 5)), Gpu("NVIDIA A100", (8, 0)), Gpu("Tesla P100", (6, 0))


class Core:
    """OpenVINO on a processor with some units."""

    def __init__(self, *capabilities: str):
        self.capabilities = ["WINOGRAD", "FP32", *capabilities]

    def get_property(self, _: str, name: str) -> Any:
        return self.capabilities if name == "OPTIMIZATION_CAPABILITIES" else "A processor "


def on(monkeypatch: pytest.MonkeyPatch, *capabilities: str, emulated: tuple[str, ...] = ()) -> None:
    from gap_ensemble.networks.openvino_setup import openvino

    monkeypatch.setattr(openvino, "Core", lambda: Core(*capabilities))
    monkeypatch.setattr(devices, "_computes_in", lambda _, precision: precision in ("float32", *emulated))


def test_auto_takes_bfloat16_where_the_processor_has_units(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "BF16")
    assert cpu_device("auto").precision == "bfloat16"
    on(monkeypatch)
    assert cpu_device("auto").precision == "float32"


def test_a_precision_without_units_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, emulated=("bfloat16",))
    device = cpu_device("bfloat16")
    assert device.precision == "bfloat16"
    assert "slower here than float32" in device.warning
    assert cpu_device("float32").warning == ""


def test_a_precision_that_the_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, emulated=("bfloat16",))
    with pytest.raises(UserError, match=r"extract\.precision: found float16; .* accepted: auto, float32, bfloat16$"):
        cpu_device("float16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_this_processor_computes_in_a_precision_or_refuses_it(precision: str) -> None:
    """What OpenVINO says of itself, asked for real."""
    from gap_ensemble.networks.openvino_setup import openvino

    core = openvino.Core()
    if devices._computes_in(core, precision):
        assert cpu_device(precision).precision == precision
    else:
        assert precision != "float32"
        with pytest.raises(UserError, match=f"found {precision}; this processor can't compute in it"):
            cpu_device(precision)


@pytest.mark.parametrize(("gpu", "precision"), [(A100, "bfloat16"), (T4, "float16"), (P100, "float32")])
def test_auto_on_gpus(gpu: Gpu, precision: str) -> None:
    device = gpu_device("auto", gpu)
    assert (device.precision, device.warning, device.engine) == (precision, "", "jax")


def test_bfloat16_on_an_old_gpu_warns() -> None:
    assert "slower here than float32" in gpu_device("bfloat16", T4).warning


def test_the_line_names_device_precision_and_engine() -> None:
    assert str(gpu_device("auto", T4, n_gpus=2)) == "Tesla T4 (the first of 2), float16, JAX"
    assert str(find_device("float32")).endswith("), float32, OpenVINO")


def test_identity_tells_precisions_and_devices_apart_but_not_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_device("float16", T4).identity() != gpu_device("float32", T4).identity()
    assert gpu_device("float16", T4).identity() != gpu_device("float16", A100).identity()
    one = find_device("float32").identity()
    monkeypatch.setattr(devices, "usable_cores", lambda: 7)
    assert find_device("float32").identity() == one


@pytest.mark.parametrize(
    ("gpus", "plugin", "message"),
    [
        ((T4,), "jax-cuda13-plugin 1", ""),
        ((), "jax-cuda13-plugin 1", "made for NVIDIA GPUs, and the driver shows none"),
        ((T4,), "", "this machine has a GPU (Tesla T4), for which the environment lacks JAX's plugin"),
        ((), "", ""),
    ],
)
def test_a_gpu_or_a_plugin_without_the_other_warns(
    gpus: tuple[Gpu, ...], plugin: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "found_gpus", lambda: gpus)
    monkeypatch.setattr(devices, "cuda_plugin", lambda: plugin)
    device = find_device("auto")
    assert (message in device.warning) if message else not device.warning
    assert device.kind == ("gpu" if gpus and plugin else "cpu")
    onnx = find_device("auto", "onnx")
    assert (onnx.kind, onnx.warning) == ("cpu", "")


def test_instructions_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nflags\t\t: fpu sse avx2 avx512f amx_bf16\nflags\t\t: fpu\n")
    assert devices._instructions(path).split()[1:] == ["avx2", "avx512f", "amx_bf16"]
    assert devices._instructions(tmp_path / "none")  # No Linux.
