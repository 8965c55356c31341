"""An extraction that is killed goes on where it was, and gives the same bytes as one that went through."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import link
from stages.common.features import PartialRows
from stages.common.params import PARAMS_FILE
from tools.sample import draw_competition

N_TRAIN, N_TEST, BATCH = 120, 40, 8
STATE = Path("features/partial/MobileNet.json")
OUTPUT = Path("features/gap/MobileNet.h5")
# Saves after every batch, and is slow enough to be hit between two of them.
SLOWLY = """
import sys, time
from stages import extract
from stages.common.backbones import Network
from stages.common.errors import run

extract.SECONDS_BETWEEN_SAVES = -1
features = Network.features
Network.features = lambda *arguments: (time.sleep({seconds}), features(*arguments))[1]
sys.argv = ["stages.extract", "MobileNet"]
run(extract.main)
"""


@pytest.fixture
def linked(project: Path) -> Path:
    """Return a project in which link has run, with one small network."""
    draw_competition(project / "data/raw", N_TRAIN, N_TEST)
    yaml = YAML()
    params = yaml.load(PARAMS_FILE.read_text(encoding="utf-8"))
    params["backbones"] = {"MobileNet": {"weights": "random", "input_size": 32}}
    params["extract"]["batch_size"] = BATCH
    yaml.dump(params, PARAMS_FILE)
    link.main()
    return project


def start(seconds: float) -> subprocess.Popen[str]:
    code = SLOWLY.format(seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def n_saved() -> int:
    try:
        return int(json.loads(STATE.read_text())["n_rows"])
    except FileNotFoundError:
        return 0


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_a_killed_extraction_goes_on_to_the_same_bytes(how: signal.Signals) -> None:
    killed = start(seconds=0.2)
    while n_saved() < 5 * BATCH:
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.05)
    killed.send_signal(how)
    _, errors = killed.communicate()
    assert killed.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in errors
    assert not OUTPUT.exists()
    saved = n_saved()
    assert 5 * BATCH <= saved < N_TRAIN + N_TEST

    resumed = start(seconds=0)
    output, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert f"going on after {saved} of {N_TRAIN + N_TEST} pictures" in output
    assert not list(Path("features/partial").iterdir())
    bytes_of_both = OUTPUT.read_bytes()

    shutil.rmtree("features")
    through = start(seconds=0)
    output, errors = through.communicate()
    assert through.returncode == 0, errors
    assert "going on" not in output
    assert OUTPUT.read_bytes() == bytes_of_both


def filled(path: Path, fingerprint: str, n_rows: int = 5) -> PartialRows:
    partial = PartialRows(path, 3, fingerprint)
    partial.append(np.arange(3 * n_rows, dtype=np.float32).reshape(n_rows, 3))
    partial.save()
    return partial


def test_rows_added_since_the_last_save_are_not_taken_over(tmp_path: Path) -> None:
    partial = filled(tmp_path / "a.rows", "one")
    partial.append(np.full((2, 3), 7, np.float32))
    partial.file.flush()  # On the disk, perhaps torn, and not counted.
    again = PartialRows(tmp_path / "a.rows", 3, "one")
    assert again.n_rows == 5
    assert again.read(0, 5).tolist() == np.arange(15).reshape(5, 3).tolist()


@pytest.mark.parametrize("spoil", ["fingerprint", "state", "rows"])
def test_what_is_not_surely_whole_and_the_same_is_thrown_away(spoil: str, tmp_path: Path) -> None:
    filled(tmp_path / "a.rows", "one").close()
    if spoil == "state":
        (tmp_path / "a.json").write_text('{"fingerprint": "one", "n_r')
    if spoil == "rows":
        (tmp_path / "a.rows").write_bytes(b"short")
    assert PartialRows(tmp_path / "a.rows", 3, "other" if spoil == "fingerprint" else "one").n_rows == 0
