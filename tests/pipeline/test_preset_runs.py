"""A preset folder keeps the contract of every source of networks: the same bytes after a kill and on a cluster."""

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.extraction import picture_features
from gap_ensemble.extraction.devices import Device, cpu_device, find_device
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.images.decoding import check_picture
from gap_ensemble.messages.errors import UserError
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.keras_setup import held_back, keras
from gap_ensemble.params import Backbone
from tools.workspace import ROOT

with held_back():
    import keras_hub

N_PICTURES, SIZE = 24, 28


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the preset `dinov2`, a tiny DINOv2 of random weights, and pictures in `raw`."""
    folder = tmp_path_factory.mktemp("presets")
    keras.utils.set_random_seed(3)
    backbone = keras_hub.models.DINOV2Backbone(
        patch_size=7,
        num_register_tokens=1,
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
        position_embedding_shape=(SIZE, SIZE, 3),
        image_shape=(SIZE, SIZE, 3),
    )
    backbone.save_to_preset(str(folder / "dinov2"))
    converter = keras_hub.layers.DINOV2ImageConverter(image_size=(SIZE, SIZE), scale=1 / 58, offset=-2)
    converter.save_to_preset(str(folder / "dinov2"))
    (folder / "raw").mkdir()
    for number in range(N_PICTURES):
        pixels = np.random.default_rng(number).integers(256, size=(40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"raw/{number}.png")
    return folder


def job_of(folder: Path, device: Device, pooling: str) -> tuple[ExtractJob, list[Picture]]:
    files = sorted((folder / "raw").iterdir())
    pictures = [Picture(path.name, check_picture(path).md5) for path in files]
    entry = Backbone.model_validate({"preset": str(folder / "dinov2"), "pooling": pooling})
    return ExtractJob("DINOv2", entry, folder / "raw", device), pictures


def features(job: ExtractJob, pictures: list[Picture], store: Path) -> bytes:
    rows = extract_features(job, pictures, store)
    return rows.read(0, rows.n_rows).tobytes()


class Killed(BaseException):
    """What nothing catches, as nothing catches `kill -9`."""


class KillingProgress(Progress):
    """Stops the run in the fifth chunk, of which nothing is kept."""

    def add(self, n: int) -> None:
        super().add(n)
        if self.done == 20:
            raise Killed


@pytest.mark.parametrize(
    ("precision", "pooling"), [("float32", "cls"), pytest.param("bfloat16", "mean", marks=pytest.mark.long)]
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    precision: str,
    pooling: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        device = cpu_device(precision)
    except UserError:
        pytest.skip(f"this processor can't compute in {precision}")
    job, pictures = job_of(folder, device, pooling)
    with monkeypatch.context() as patched:
        patched.setattr(picture_features, "CHUNK", 4)
        patched.setattr(picture_features, "SECONDS_BETWEEN_SAVES", -1)
        patched.setattr(picture_features, "Progress", KillingProgress)
        with pytest.raises(Killed):
            features(job, pictures, tmp_path / "store")
    capsys.readouterr()
    resumed = features(job, pictures, tmp_path / "store")
    assert "16 pictures are in the store; 8 are to be computed" in capsys.readouterr().out
    assert resumed == features(job, pictures, tmp_path / "other store")
    assert len(resumed) == N_PICTURES * 8 * 4


ON_CLUSTER = """
import pickle, sys
from dataclasses import replace
from pathlib import Path
from gap_ensemble.extraction.cluster import open_pool
from gap_ensemble.extraction import picture_features
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.picture_features import extract_features

job, pictures = pickle.load(open(sys.argv[1], "rb"))
pool = open_pool("local")
rows = extract_features(replace(job, device=pool.call(find_device, "auto")), pictures, Path(sys.argv[2]), pool)
Path(sys.argv[3]).write_bytes(rows.read(0, rows.n_rows).tobytes())
"""


@pytest.mark.long
def test_a_cluster_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray")
    job, pictures = job_of(folder, find_device("auto"), "cls+mean")
    (tmp_path / "job").write_bytes(pickle.dumps((job, pictures)))
    # A process of its own: Ray reads its settings when it is first imported.
    paths = [str(tmp_path / name) for name in ("job", "cluster", "rows")]
    done = subprocess.run([sys.executable, "-c", ON_CLUSTER, *paths], cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows").read_bytes() == features(job, pictures, tmp_path / "here")
