"""Run the whole pipeline on a drawn sample competition with untrained networks, offline, in minutes.

    make demo        # or, in the project's environment: python -m tools.demo

Works in the folder `demo/`: a git and DVC repository of its own, with this checkout's stages. Nothing else is touched.
"""

import json
from pathlib import Path
from typing import Any

from gap_ensemble.messages.errors import run
from tools.sample import draw_competition
from tools.workspace import dvc, lay_out

DEMO = Path("demo")


def main() -> None:
    """Lay out the folder, run `dvc repro` in it, and show what came out."""
    print("The pictures of this demo are drawn and its networks are untrained: it shows that everything works, not how")
    print("well the recipe does on photographs (see the table in README.md).\n", flush=True)
    lay_out(DEMO, use_untrained_networks)
    if not (DEMO / "data/raw/sample_submission.csv").exists():
        draw_competition(DEMO / "data/raw")
    dvc("repro", cwd=DEMO)
    dvc("metrics", "show", cwd=DEMO)
    metrics = json.loads((DEMO / "results/metrics.json").read_text())
    print(
        f"\nOf {metrics['val_n_samples']} drawn pictures, {metrics['val_accuracy']:.1%} are told apart by untrained "
        "networks."
    )
    print(f"submission: {DEMO / 'submissions/submission.csv'}")
    print(f"plots:      {DEMO / 'results/training/plots/images/overview.png'}")
    print(f"report:     {DEMO / 'results/report.html'}")


def use_untrained_networks(params: dict[str, Any]) -> None:
    """Change params.yaml so that it needs no download, and trains long enough on few pictures."""
    params["train"]["batch_size"] = 32
    params["data"]["raw"] = "data/raw"
    for entry in params["backbones"].values():
        entry["weights"] = "random"


if __name__ == "__main__":
    run(main)
