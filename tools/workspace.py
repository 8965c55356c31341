"""A repository of its own with this checkout's stages, in which the pipeline can run without touching anything else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gap_ensemble.messages.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "gap_ensemble",
    "stages",
    "tools",
    "weights",
    "features/.gitkeep",
    "submissions/leaderboard.csv",
)


def lay_out(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Make a git and DVC repository with this checkout's stages, or bring it up to date.

    Parameters
    ----------
    folder : Path
        Where; what an earlier run made there is used again.
    change : callable
        Changes the values of this checkout's params.yaml in place; the result becomes the repository's.
    """
    is_new = not (folder / ".git").exists()
    if is_new:
        folder.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", ".", cwd=folder)
        dvc("init", "--quiet", cwd=folder)
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
        else:
            shutil.copy(source, target)
    shutil.copy(ROOT / "params.yaml", folder)
    change_params(folder / "params.yaml", change)
    if is_new:
        git("add", "--all", cwd=folder)
        git("commit", "--quiet", "--message", "The pipeline", cwd=folder)


def change_params(path: Path, change: Callable[[Any], object]) -> None:
    """Change the values of a params.yaml in place; its comments stay."""
    yaml = YAML()
    params = yaml.load(path.read_text(encoding="utf-8"))
    change(params)
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(params, file)


def git(*arguments: str, cwd: Path) -> None:
    """Run git, also for somebody who never told it a name.

    Raises
    ------
    UserError
        If it fails, what it printed stands above, or if there is none.
    """
    identity = ("-c", "user.name=pipeline", "-c", "user.email=pipeline@localhost", "-c", "commit.gpgsign=false")
    try:
        status = subprocess.run(["git", *identity, *arguments], cwd=cwd, check=False).returncode
    except FileNotFoundError:
        raise UserError("git: not found; install it, then run this again") from None
    if status:
        raise UserError(f"git {' '.join(arguments)}: failed in {cwd}/ with exit status {status}; see above")


def dvc(*arguments: str, cwd: Path) -> None:
    """Run the `dvc` of this environment, so that its stages use this environment's Python.

    Raises
    ------
    UserError
        If it fails; what it printed stands above.
    """
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
    status = subprocess.run([programs / "dvc", *arguments], cwd=cwd, env=environment, check=False).returncode
    if status:
        raise UserError(f"dvc {' '.join(arguments)}: failed in {cwd}/ with exit status {status}; see above")
