"""What the tests share: a place to work in, programs run as a user runs them, and random moments."""

import os
import random
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tools.workspace import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the stages, params.yaml and weights/ of this checkout, and make it the current one."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("gap_ensemble", "stages", "tools", "weights"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "features").mkdir()
    (tmp_path / "submissions").mkdir()
    shutil.copy(ROOT / "submissions/leaderboard.csv", tmp_path / "submissions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_stage(
    project: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Return a function that runs `python -m stages.NAME ARGUMENTS` in this process, and returns what it printed.

    It fails the test if the stage fails.
    """

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"stages.{name}", *arguments])
        try:
            runpy.run_module(f"stages.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as stopped:
            pytest.fail(f"stages.{name}: exit status {stopped.code}: {capsys.readouterr().err}")
        return capsys.readouterr().out

    return run


@pytest.fixture
def run_module(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `python -m MODULE ARGUMENTS` in the project's folder, as DVC does.

    `env` adds to the environment.
    """

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "120", **(env or {})}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def save_onnx() -> Callable[[Path, int], int]:
    """Return a function that saves an untrained network, from a path and a seed; it returns the number of features.

    Without TensorFlow, a stage in a process of its own starts in a fraction of the time. The network takes pictures of
    any size: a convolution, and the mean and the maximum of its map.
    """

    def save(path: Path, seed: int) -> int:
        n_channels = 8
        kernel = np.random.default_rng(seed).normal(size=(n_channels, 3, 5, 5)).astype(np.float32)
        make_node, make_tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [
                make_node("Conv", ["pixels", "kernel"], ["map"]),
                make_node("ReduceMean", ["map", "axes"], ["mean"], keepdims=0),
                make_node("ReduceMax", ["map", "axes"], ["largest"], keepdims=0),
                make_node("Concat", ["mean", "largest"], ["features"], axis=1),
            ],
            "untrained",
            [make_tensor("pixels", onnx.TensorProto.FLOAT, ["n", 3, "height", "width"])],
            [make_tensor("features", onnx.TensorProto.FLOAT, ["n", 2 * n_channels])],
            [onnx.numpy_helper.from_array(kernel, "kernel"), onnx.numpy_helper.from_array(np.array([2, 3]), "axes")],
        )
        opset = onnx.helper.make_opsetid("", 18)
        onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
        return 2 * n_channels

    return save


@pytest.fixture
def moments() -> random.Random:
    """Return random numbers for a test of moments. Their seed is printed where the test fails; TEST_SEED sets it."""
    seed = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"TEST_SEED={seed}")
    return random.Random(seed)
