"""Stages on disks that are full or read-only: one line, and what was there is still there."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.paths import ENSEMBLE, FEATURES
from gap_ensemble.storage.features import create_features
from gap_ensemble.storage.hdf5 import atomic_hdf5, text_array
from gap_ensemble.storage.manifest import whole_pictures
from tools.sample import draw_competition
from tools.workspace import change_params

RAW = Path("pictures")
WIDTH = 10_000
# Mount an empty disk over the folder, fill it with what was there, and give it the options; then run the program.
SCRIPT = """
cp -a "$1" before && mount -t tmpfs none "$1" && cp -a before/. "$1" && rm -r before && mount -o "remount,$2" "$1" &&
folder=$1 && shift 2 && "$@"
status=$?
mkdir after && cp -a "$folder"/. after
exit $status
"""


def on_a_disk_of_its_own(folder: str, options: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module while `folder` is a disk of its own with these options; what it leaves there is copied back."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", folder, options]
    if subprocess.run([*command[:3], "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("needs to mount a small disk, which this system forbids")
    result = subprocess.run([*command, sys.executable, "-m", *arguments], capture_output=True, text=True)
    shutil.rmtree(folder)
    Path("after").rename(folder)
    return result


def contents(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def raw(project: Path) -> None:
    """Draw a competition beside data/, and name it and one network in params.yaml."""
    draw_competition(RAW, n_train=4, n_test=2)

    def change(params: Any) -> None:
        params["data"]["raw"] = str(RAW)
        params["backbones"] = {"Made": {"weights": "random"}}

    change_params(project / PARAMS_FILE, change)


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("ERROR: ")
    assert all(part in line for part in parts), line


def test_link_on_a_read_only_disk() -> None:
    Path("data/manifest.csv").write_text("of an earlier run")
    before = contents("data")
    result = on_a_disk_of_its_own("data", "ro", "stages.link")
    assert_one_line(result, "data/", "Read-only file system", "make it writable")
    assert contents("data") == before


def test_ensemble_on_a_full_disk(run_stage: Any) -> None:
    run_stage("link")
    files = {split: whole_pictures(split)["file"].tolist() for split in ("train", "test")}
    rows = {f"{split}_file": text_array(names) for split, names in files.items()}
    with atomic_hdf5(FEATURES / "Made.h5") as file:
        create_features(file, WIDTH, rows, {"backbone": "made"})
        file["train"][:] = np.arange(4)[:, None]
    ENSEMBLE.write_text("of an earlier run")
    before = contents("features")
    n_kilobytes = sum(map(len, before.values())) // 1024 + 100
    result = on_a_disk_of_its_own("features", f"size={n_kilobytes}k", "stages.ensemble")
    assert_one_line(result, "features/ensemble.h5", "make room")
    assert contents("features") == before
