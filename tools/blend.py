"""Blend several experiments: scores on the rows that all of them have, and the blend's submission.

    make experiments                                               # their names
    python -m tools.blend frosty-gnat sonic-wisp                   # weights fitted out of fold
    python -m tools.blend --how mean workspace frosty-gnat --to submissions/blend.csv
    python -m tools.blend --compare frosty-gnat sonic-wisp         # only the scores; nothing is written

An experiment is anything that DVC takes as a revision (an experiment's name, a branch, a commit), or `workspace`. The
score is the competition's metric on what would be submitted, out of fold; weights and decision (clip, thresholds, cut
points: those of `predict` in params.yaml) are fitted without the fold that they are scored on.
"""

import argparse
from pathlib import Path

from gap_ensemble.experiments.blending import HOW
from gap_ensemble.experiments.comparison import blend_experiments, compare_experiments
from gap_ensemble.messages.errors import UserError, run


def main() -> None:
    """Blend what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.blend", description="Blend experiments' predictions.")
    parser.add_argument("experiments", nargs="+", help="names of experiments, branches or commits, or `workspace`")
    parser.add_argument("--how", choices=HOW, default="fitted", help="default: weights fitted out of fold")
    parser.add_argument("--to", type=Path, default=Path("submissions/blend.csv"), help="default: %(default)s")
    parser.add_argument("--compare", action="store_true", help="only print the scores on common rows")
    arguments = parser.parse_args()
    experiments = list(dict.fromkeys(arguments.experiments))
    if len(experiments) < 2:
        raise UserError(f"tools.blend: found {len(experiments)} experiment; give two or more different ones")
    if arguments.compare:
        compare_experiments(experiments)
    else:
        blend_experiments(experiments, arguments.how, arguments.to)


if __name__ == "__main__":
    run(main)
