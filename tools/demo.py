"""Run the whole pipeline on a drawn sample competition with untrained networks, offline, in minutes.

    make demo        # or, in the project's environment: python -m tools.demo

Works in the folder `demo/`: a git and DVC repository of its own, with this checkout's stages. Nothing else is touched.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from stages.common.errors import UserError, run
from stages.common.params import PARAMS_FILE
from tools.sample import draw_competition

DEMO = Path("demo")
SHARED_WITH_DEMO = (".dvc/config", "dvc.yaml", ".dvcignore", ".gitignore", "stages", "weights", "features/.gitkeep")


def main() -> None:
    """Lay out the folder, run `dvc repro` in it, and show what came out."""
    if not PARAMS_FILE.is_file():
        raise UserError(f"{PARAMS_FILE}: not found; run this from the repository's root")
    print("The pictures of this demo are drawn and its networks are untrained: it shows that everything works, not how")
    print("well the recipe does on photographs (see the table in README.md).\n", flush=True)
    lay_out(DEMO)
    dvc("repro", cwd=DEMO)
    dvc("metrics", "show", cwd=DEMO)
    metrics = json.loads((DEMO / "results/metrics.json").read_text())
    print(
        f"\nOf {metrics['n_val']} drawn pictures, {metrics['val_accuracy']:.1%} are told apart by untrained networks."
    )
    print(f"submission: {DEMO / 'submissions/submission.csv'}")
    print(f"plots:      {DEMO / 'results/plots/images/overview.png'}")


def lay_out(folder: Path) -> None:
    """Make the repository in which the demo runs, or bring it up to date.

    Parameters
    ----------
    folder : Path
        Where; what an earlier demo made there is used again.
    """
    is_new = not (folder / ".git").exists()
    if is_new:
        folder.mkdir(exist_ok=True)
        git("init", "--quiet", ".", cwd=folder)
        dvc("init", "--quiet", cwd=folder)
    for name in SHARED_WITH_DEMO:
        source, target = Path(name), folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
        else:
            shutil.copy(source, target)
    yaml = YAML()
    params = yaml.load(PARAMS_FILE.read_text(encoding="utf-8"))
    params["data"]["raw"] = "data/raw"
    for entry in params["backbones"].values():
        entry["weights"] = "random"
    with open(folder / PARAMS_FILE, "w", encoding="utf-8") as file:
        yaml.dump(params, file)
    if not (folder / "data/raw/sample_submission.csv").exists():
        draw_competition(folder / "data/raw")
    if is_new:
        git("add", "--all", cwd=folder)
        git("commit", "--quiet", "--message", "A demo of the pipeline", cwd=folder)


def git(*arguments: str, cwd: Path) -> None:
    """Run git, also for somebody who never told it a name."""
    identity = ("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True)


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


if __name__ == "__main__":
    run(main)
