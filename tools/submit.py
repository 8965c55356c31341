"""Send a submission to Kaggle, wait for its score, and keep it beside the score out of fold.

    python -m tools.submit dogs-vs-cats-redux-kernels-edition                       # submissions/submission.csv
    python -m tools.submit dogs-vs-cats-redux-kernels-edition frosty-gnat           # an experiment's
    python -m tools.submit dogs-vs-cats-redux-kernels-edition submissions/blend.csv # what tools.blend has written
    python -m tools.submit dogs-vs-cats-redux-kernels-edition --update              # scores that have appeared since

Needs Kaggle's client (`pip install kaggle`) and your API key. Scores stand in `submissions/leaderboard.csv`, which git
keeps; `dvc plots show` and the report show the leaderboard against the scores out of fold.
"""

import argparse

from gap_ensemble.experiments.revisions import WORKSPACE
from gap_ensemble.experiments.submitting import submit, update
from gap_ensemble.messages.errors import run


def main() -> None:
    """Submit what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.submit", description="Submit to Kaggle and keep the score.")
    parser.add_argument("competition", help="the last part of the competition's address")
    parser.add_argument("what", nargs="?", default=WORKSPACE, help="an experiment or a blend; default: %(default)s")
    parser.add_argument("--update", action="store_true", help="send nothing; ask for scores of what was sent")
    arguments = parser.parse_args()
    if arguments.update:
        update(arguments.competition)
    else:
        submit(arguments.competition, arguments.what)


if __name__ == "__main__":
    run(main)
