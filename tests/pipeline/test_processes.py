"""What holds in a process of its own, which starts with other settings of Keras or on other cores."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.picture_features import ExtractJob
from gap_ensemble.extraction.reading import Picture, Readers, read_batch
from gap_ensemble.images.decoding import check_picture
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Backbone
from tools.workspace import ROOT

N_PICTURES = 50


SETTINGS = {"floatx": "float16", "backend": "theano", "image_data_format": "channels_first", "epsilon": 0.1}


def test_a_users_keras_json_and_variables_change_nothing(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(json.dumps(SETTINGS))
    code = """
from gap_ensemble.networks.keras_setup import keras, weights_folder
print(keras.config.backend(), keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon())
print(weights_folder())
"""
    environment = {**os.environ, "HOME": str(tmp_path), "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1"}
    environment.pop("KERAS_HOME", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["tensorflow float32 channels_last 1e-07", str(tmp_path / ".keras/models")], (
        done.stderr
    )
    assert json.loads((tmp_path / ".keras/keras.json").read_text()) == SETTINGS


ON_ONE_CORE = """
import os, pickle, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
from pathlib import Path
job, pictures = pickle.load(open(sys.argv[2], "rb"))
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.picture_features import extract_features
print(usable_cores(), flush=True)
rows = extract_features(job, pictures, Path(sys.argv[3]))
sys.stdout.buffer.write(rows.read(0, rows.n_rows).tobytes().hex().encode())
"""


@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_one_and_two_cores_give_the_same_bytes(tmp_path: Path, save_onnx: Callable[[Path, int], int]) -> None:
    n_features = save_onnx(tmp_path / "network.onnx", 1)
    (tmp_path / "raw").mkdir()
    pictures = []
    for number in range(N_PICTURES):
        path = tmp_path / f"raw/{number}.png"
        pixels = np.random.default_rng(number).integers(256, size=(20, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        pictures.append(Picture(path.name, check_picture(path).md5))
    entry = Backbone(onnx=str(tmp_path / "network.onnx"), mean=127.5, std=127.5, input_size=16)
    job = ExtractJob("FromFile", entry, tmp_path / "raw", find_device("float32"))
    (tmp_path / "job").write_bytes(pickle.dumps((job, pictures)))
    results = [
        subprocess.run(
            [sys.executable, "-c", ON_ONE_CORE, str(n_cores), tmp_path / "job", tmp_path / f"store{n_cores}"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout.splitlines()
        for n_cores in (1, 2)
    ]
    assert [result[0] for result in results] == ["1", "2"]
    assert results[0][-1] == results[1][-1]
    assert len(results[0][-1]) == 2 * 4 * n_features * N_PICTURES


@pytest.fixture
def drawn(tmp_path: Path) -> list[Picture]:
    pictures = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(256, size=(20, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        pictures.append(Picture(f"{number}.png", check_picture(tmp_path / f"{number}.png").md5))
    return pictures


def test_processes_read_what_this_one_reads_and_name_what_they_can_not(tmp_path: Path, drawn: list[Picture]) -> None:
    readers = Readers()
    assert np.array_equal(readers(tmp_path, drawn, 8, None), read_batch(tmp_path, drawn, 8, None))
    with pytest.raises(UserError, match=r"2\.png: is not the picture that stage link has checked"):
        readers(tmp_path, [*drawn[:2], drawn[2]._replace(md5="0" * 32)], 8, None)
    readers.close()


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from gap_ensemble.extraction.reading import Readers

if __name__ == "__main__":
    readers = Readers()
    readers(*pickle.load(open(sys.argv[1], "rb")))
    print(*readers.pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_no_reading_process_outlives_a_kill(tmp_path: Path, drawn: list[Picture]) -> None:
    (tmp_path / "job").write_bytes(pickle.dumps((tmp_path, drawn, 8, None)))
    (tmp_path / "killed.py").write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "job")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    processes = done.stdout.split()
    assert processes, done.stderr
    for _ in range(100):
        left = [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        if not left:
            break
        time.sleep(0.1)
    assert left == []
