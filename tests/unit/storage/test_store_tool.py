"""`python -m tools.store`: a line a network, and what is deleted."""

import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gap_ensemble.storage.store import open_store
from tools import store as tool
from tools.workspace import ROOT


def add(name: str, fingerprint: str) -> Path:
    store = open_store(Path("features/store"), fingerprint * 64, {"network": name, "precision": "float32"})
    with store.writing() as writer:
        writer.append(["00" * 16], np.zeros((1, 3), np.float32))
        writer.save()
    return store.folder


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Return a store of three networks: one of params.yaml, one of another repository, one of nobody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAP_ENSEMBLE_STORE", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    folders = {name: add(name, name[0].lower()) for name in ("Xception", "Another", "Nobodys")}
    Path("features/gap").mkdir()
    with h5py.File("features/gap/Xception.h5", "w") as file:
        file.attrs["fingerprint"] = "x" * 64
    (tmp_path / "clone").mkdir()
    about = folders["Another"] / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"used_by": [str(tmp_path), str(tmp_path / "clone")]}))
    return folders


def test_list_names_users(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tools.store"])
    tool.main()
    another, nobodys, xception = capsys.readouterr().out.splitlines()
    assert xception.endswith("1 rows, 0.0 MB, used by this repository")
    assert another.endswith(f"used by {Path.cwd() / 'clone'}")
    assert nobodys.endswith("used by nobody")
    assert all(path.is_dir() for path in stores.values())


def test_prune_deletes_what_nobody_uses(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tools.store", "prune"])
    tool.main()
    assert {name for name, path in stores.items() if path.exists()} == {"Xception", "Another"}
    (Path.cwd() / "clone").rmdir()
    tool.main()
    assert {name for name, path in stores.items() if path.exists()} == {"Xception"}
