"""The engine of GPUs. Here it runs on the processor, in a process whose Keras computes on JAX."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_ensemble.networks import gpus
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone
from tools.workspace import ROOT

SIZE = 32
PRECISIONS = {"float32": 1e-5, "bfloat16": 0.1, "float16": 0.02}

# What a machine with a T4 finds. JAX itself computes on the processor.
SCRIPT = """
import sys
import numpy as np
from gap_ensemble.networks import gpus
gpus.found_gpus = lambda: (gpus.Gpu("Tesla T4", (7, 5)),)
gpus.cuda_plugin = lambda: "jax-cuda13-plugin 0"
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.engines import open_engine
from gap_ensemble.extraction.jax_engine import JaxEngine
from gap_ensemble.finetuning.model import training_model
from gap_ensemble.messages.errors import UserError
from gap_ensemble.networks.keras_setup import keras, make_deterministic
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Backbone, Finetune

assert keras.config.backend() == "jax"
make_deterministic(0)
pictures = np.load(sys.argv[1])
network = lambda: open_network("SmallConvNet", Backbone(weights=sys.argv[3], input_size=32))
print(find_device("auto"))
results = {}
for precision in ("float32", "bfloat16", "float16"):
    engine = open_engine(network(), find_device(precision), 6)
    assert isinstance(engine, JaxEngine)
    results[precision] = engine(pictures)
    results[precision + " reversed"] = engine(pictures[::-1])[::-1]

class Full(JaxEngine):
    room = 5

    def _compute(self, pictures):
        if len(pictures) > self.room:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")
        return super()._compute(pictures)

engine = Full(network(), "float32", 12)
for number in range(2):
    results[f"halved {number}"] = engine(np.concatenate([pictures, pictures]))[:6]
Full.room = 0
try:
    Full(network(), "float32", 2)(pictures[:2])
except UserError as error:
    print(error)

entry = Finetune(weights=sys.argv[3], input_size=32)
model = training_model(network(), entry, 0, None, 2)
results["compiled"] = model.jit_compile
results["losses"] = [model.train_on_batch(pictures.astype(np.float32), np.arange(6) % 2)[0] for _ in range(2)]
np.savez(sys.argv[2], **results)
"""


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(6, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a network with its weights in a file: each of TensorFlow and JAX draws others."""
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    drawn: Any = open_network("SmallConvNet", Backbone(weights="random", input_size=SIZE))
    drawn.save_weights(path, set())
    return open_network("SmallConvNet", Backbone(weights=str(path), input_size=SIZE))


@pytest.fixture(scope="module")
def expected(network: Any, pictures: np.ndarray) -> np.ndarray:
    """Return what Keras gives for the same pixels on TensorFlow."""
    return network.model.predict_on_batch(network.preprocess(pictures.astype(np.float32)))


@pytest.fixture(scope="module")
def on_jax(
    network: Any, pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the features that the engine gives, and what it prints."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("jax")
    np.save(folder / "pictures.npy", pictures)
    files = [str(folder / "pictures.npy"), str(folder / "features.npz"), network.entry.weights]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    with np.load(files[1]) as features:
        return dict(features), done.stdout.splitlines()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision(precision: str, on_jax: tuple[dict[str, np.ndarray], list[str]], expected: np.ndarray) -> None:
    features = on_jax[0][precision]
    assert features.dtype == np.float32
    difference = np.abs(features - expected).max() / np.abs(expected).max()
    assert difference < PRECISIONS[precision]
    assert (difference > 1e-4) == (precision != "float32")  # Else it would be float32 under another name.
    assert on_jax[0][f"{precision} reversed"].tobytes() == features.tobytes()


def test_the_line_names_the_gpu(on_jax: tuple[dict[str, np.ndarray], list[str]]) -> None:
    assert on_jax[1][0] == "Tesla T4, float16, JAX"


def test_a_batch_that_does_not_fit_is_halved(
    on_jax: tuple[dict[str, np.ndarray], list[str]], expected: np.ndarray
) -> None:
    for number in range(2):
        np.testing.assert_allclose(on_jax[0][f"halved {number}"], expected, rtol=1e-4, atol=1e-5)
    assert on_jax[1][1:3] == [
        f"WARNING: SmallConvNet: out of memory with {n} pictures at a time; going on with {n // 2} "
        "(extract.batch_size says how many)"
        for n in (12, 6)
    ]
    assert "out of memory with one picture of 32 pixels" in on_jax[1][-1]


def test_a_fine_tuning_is_compiled_as_a_whole(on_jax: tuple[dict[str, np.ndarray], list[str]]) -> None:
    """With augmentation, whose layers Keras would not compile: each operation would be started on its own."""
    assert on_jax[0]["compiled"]
    assert np.isfinite(on_jax[0]["losses"]).all()


def test_the_driver_is_asked_for_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A driver that shows one GPU, as CUDA's interface has it."""
    source = tmp_path / "cuda.c"
    source.write_text(
        """
        #include <string.h>
        int cuInit(unsigned flags) { return 0; }
        int cuDeviceGetCount(int *count) { *count = 1; return 0; }
        int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Tesla T4", length); return 0; }
        int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute - 68; return 0; }
        """
    )
    library = tmp_path / "libcuda.so.1"
    compiled = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=False)
    if compiled.returncode:
        pytest.skip("needs a C compiler")
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name: load(str(library) if name == "libcuda.so.1" else name))
    assert gpus.found_gpus.__wrapped__() == (gpus.Gpu("Tesla T4", (7, 8)),)
