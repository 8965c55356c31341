"""What only DVC can show: outputs edited behind its back, a machine without pictures, a folder of a larger repository.

The project is a folder of a larger git repository, and no environment is activated: DVC is called by its path.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gap_ensemble.params import PARAMS_FILE
from gap_ensemble.paths import REPORT, SUBMISSION
from tools.sample import draw_competition
from tools.workspace import COPIED, ROOT, change_params

PROGRAMS = Path(sys.executable).parent
pytestmark = [pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to find DVC's Python")]


@dataclass
class Project:
    """The folder of a project, in which programs are run without its environment on the PATH."""

    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != PROGRAMS]
        environment = {**os.environ, "PATH": os.pathsep.join(path), "DVC_NO_ANALYTICS": "true", "COLUMNS": "120"}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def git(self, *arguments: str | Path) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        done = self.run("git", *identity, *arguments)
        assert done.returncode == 0, done.stderr

    def dvc(self, *arguments: str | Path) -> str:
        """Run `dvc`, which must succeed, and return what it printed."""
        done = self.run(PROGRAMS / "dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        return YAML(typ="safe").load(self.dvc("status", "--json"))


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':$", output, re.MULTILINE)


def use_one_quick_network(params: Any) -> None:
    params["backbones"] = {"Mine": {"onnx": "mine.onnx", "mean": 127.5, "std": 127.5, "input_size": 32}}
    params["ensemble"]["duplicates"] = None
    params["train"].update(head="logistic", folds=2)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, save_onnx: Callable[[Path, int], int]) -> Project:
    """Return the first machine's project after `dvc repro`, a commit and `dvc push`."""
    larger = tmp_path_factory.mktemp("larger")
    project = Project(larger / "kaggle/dogs")
    project.folder.mkdir(parents=True)
    project.git("init", "--quiet", larger)
    project.dvc("init", "--quiet", "--subdir")
    for name in (*COPIED, PARAMS_FILE):
        source, target = ROOT / name, project.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
        else:
            shutil.copy(source, target)
    change_params(project.folder / PARAMS_FILE, use_one_quick_network)
    project.dvc("remote", "add", "--quiet", "--default", "store", tmp_path_factory.mktemp("store"))
    draw_competition(project.folder / "data/raw", 24, 6)
    save_onnx(project.folder / "weights/mine.onnx", 1)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "The pipeline")
    project.dvc("repro")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "first")
    project.dvc("push", "--quiet")
    return project


@pytest.fixture
def second(first: Project, tmp_path: Path) -> Project:
    """Return a clone on a machine without the pictures, after `dvc pull`."""
    first.git("clone", "--quiet", first.folder.parents[1], tmp_path / "clone")
    project = Project(tmp_path / "clone/kaggle/dogs")
    project.dvc("pull", "--quiet")
    return project


def test_an_edited_output_never_reaches_the_cache(first: Project) -> None:
    path = first.folder / SUBMISSION
    right = path.read_bytes()
    for command in (["repro"], ["checkout", "--force"], ["repro", "--force", "--single-item", "predict"]):
        path.chmod(0o644)  # As root, who may write anyway.
        path.write_bytes(b"id,label\n1,0.123\n")
        assert first.status().keys() == {"predict"}
        first.dvc(*command)
        assert path.read_bytes() == right
    assert not first.status()


def test_a_head_is_tried_without_the_pictures(second: Project) -> None:
    # Pictures, and links to the networks' files, are of the first machine.
    assert second.status() == {
        "link": [{"changed deps": {"data/raw": "deleted"}}],
        "networks": [{"changed outs": {"data/networks": "deleted"}}],
        "extract@Mine": [{"changed deps": {"data/networks/Mine": "deleted"}}],
    }
    before = (second.folder / SUBMISSION).read_bytes()
    assert not ran(second.dvc("repro", "--allow-missing"))
    output = second.dvc("exp", "run", "--allow-missing", "--name", "three", "--set-param", "train.folds=3")
    assert ran(output) == ["check", "train", "predict", "report"]
    assert (second.folder / SUBMISSION).read_bytes() != before
    assert "<figure>" in (second.folder / REPORT).read_text(encoding="utf-8")


def name_what_is_not_there(params: Any) -> None:
    params["data"]["raw"] = "data/rwa"
    params["backbones"]["Other"] = {"weights": "other.h5", "backbone": "SmallConvNet"}


def test_names_that_lead_nowhere_are_said_together_with_what_to_do(second: Project) -> None:
    change_params(second.folder / PARAMS_FILE, name_what_is_not_there)
    done = second.run(PROGRAMS / "dvc", "repro")
    assert done.returncode
    raw, weights = [line for line in done.stderr.splitlines() if line.startswith("ERROR: params.yaml: ")]
    assert "data.raw: found 'data/rwa', which is no folder; put the competition's files " in raw
    assert "backbones.Other.weights: found 'other.h5', but there is no weights/other.h5" in weights


def test_raw_pictures_are_shared_by_dvc_add(tmp_path: Path) -> None:
    folder = tmp_path / "dogs"
    folder.mkdir()
    shutil.copy(ROOT / ".gitignore", folder)
    draw_competition(folder / "data/raw", 4, 2)
    (folder / "weights").mkdir()
    (folder / "weights/mine.h5").write_bytes(b"weights")
    project = Project(folder)
    project.git("init", "--quiet")
    project.dvc("init", "--quiet")
    project.dvc("add", "data/raw", "weights/mine.h5")
    project.git("add", "--all")
    done = project.run("git", "ls-files", "data", "weights")
    assert done.stdout.split() == [
        "data/.gitignore",
        "data/raw.dvc",
        "weights/mine.h5.dvc",
    ]


def test_without_git(first: Project, tmp_path: Path) -> None:
    shutil.copytree(first.folder, tmp_path / "dogs", symlinks=True)
    project = Project(tmp_path / "dogs")
    project.dvc("config", "core.no_scm", "true")
    assert not project.status()
    change_params(project.folder / PARAMS_FILE, lambda params: params["predict"].update(clip=[0.1, 0.9]))
    assert ran(project.dvc("repro")) == ["check", "predict", "report"]
